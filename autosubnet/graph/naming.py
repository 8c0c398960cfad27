"""How a person finds a vertex of the graph in their own model."""

from __future__ import annotations

from torch import fx


def path_of(node: fx.Node) -> str:
    """Return where a vertex is: ``block.pool`` for a module, ``block.add_3`` for an operation in ``block``."""
    if node.op == "call_module":
        return str(node.target)
    module = node.meta["module"]
    return f"{module}.{node.name}" if module else node.name


def described(node: fx.Node) -> str:
    """Return the name of a vertex and the module that it belongs to, for a sentence."""
    where = f"in module {node.meta['module']!r}" if node.meta["module"] else "in the model's forward"
    return f"{node.name!r} ({where})"
