"""`python -m objstress` is the command `objstress`."""

from objstress.cli.entry import main

main()
