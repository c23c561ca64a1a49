"""`python -m objstress` is the command `objstress`."""

from objstress.cli.main import main

main()
