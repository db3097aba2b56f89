"""The command line: one module per noun; nothing heavy is imported before a command runs."""

from nest_tune.cli.app import main

__all__ = ["main"]
