from objstress.cli.main import main

main()
