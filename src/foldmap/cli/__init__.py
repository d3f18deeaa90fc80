"""Level 8: the command line. Each verb is a module; heavy imports stay inside the commands."""

from foldmap.cli.app import app, main

__all__ = ["app", "main"]
