"""The `objstress` command: each command parses its options, calls one function, prints the result.

Importing the commands loads typer and nothing else; each imports what it needs when it runs.
"""
