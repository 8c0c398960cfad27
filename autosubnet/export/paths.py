"""How the source file reaches a module: by attribute, or by key where a name is no Python name, such as ``"0"``."""

from __future__ import annotations

from collections.abc import Iterable

from autosubnet.export.values import is_identifier


class Paths:
    """The tree of modules of a document.

    A holder whose children are all Python names is an ``nn.Module``, any other is an ``nn.ModuleDict``.

    Args:
        paths: of all modules; what is inside a leaf is reached by attribute.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._keyed = {path.rpartition(".")[0] for path in paths if not is_identifier(path.rpartition(".")[2])}

    def holder(self, path: str) -> str:
        """Return the class that holds the children of ``path``."""
        return "nn.ModuleDict" if path in self._keyed else "nn.Module"

    def expression(self, path: str, *, tensor: bool = False) -> str:
        """Return how to reach ``path`` from ``self``; a ``tensor`` is always an attribute of its module.

        In an ``nn.ParameterList`` that attribute is a number.
        """
        parts = path.split(".")
        words = "self"
        for index, part in enumerate(parts):
            if tensor and index == len(parts) - 1 and not is_identifier(part):
                return f'getattr({words}, "{part}")'
            keyed = ".".join(parts[:index]) in self._keyed and not (tensor and index == len(parts) - 1)
            words += f'["{part}"]' if keyed else f".{part}"
        return words
