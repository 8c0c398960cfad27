"""The command line: ``search`` does the main job, ``train`` the cells that it found, ``inspect`` looks at a model."""

from autosubnet.cli.screen import app

from autosubnet.cli import inspect_model, search, train  # isort: skip  # each adds its command to the app

__all__ = ["app", "inspect_model", "search", "train"]
