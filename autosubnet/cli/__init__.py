"""The command line: each module adds its commands to the app."""

from autosubnet.cli.screen import app

from autosubnet.cli import search, train, inspect_model, runs, zoo  # isort: skip  # in the order of the help

__all__ = ["app", "inspect_model", "runs", "search", "train", "zoo"]
