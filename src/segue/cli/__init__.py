"""The command line: parse the arguments, call the library, print the result."""

from segue.cli.commands import app, main

__all__ = ["app", "main"]
