"""Whether the place of a zero block behind concats can be cut out, all the way to what absorbs it.

Follows the channel transfer of the readers: each must either take the smaller number of channels in (a weight
that loses columns) or hand it on, zero at the same places.
"""

from __future__ import annotations

from torch import fx

from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation
from autosubnet.ops.masks import along
from autosubnet.ops.rule import Free, Tie


def can_be_cut(view: GraphView, propagation: Propagation, block: fx.Node) -> bool:
    """Whether every concat that reads ``block``, which is zero, can lose it."""
    pending = [key for reader in block.users for key in _places(view, reader, block)]
    seen = set(pending)
    while pending:
        node, dim = pending.pop()
        for reader in node.users:
            handed_on = _handed_on(view, propagation, reader, node, dim)
            if handed_on is None:
                return False
            pending += [key for key in handed_on if key not in seen]
            seen.update(handed_on)
    return True


def _places(view: GraphView, reader: fx.Node, block: fx.Node) -> list[tuple[fx.Node, int]]:
    """Return the concat and its dimension, where ``reader`` is one."""
    if reader not in view.calls or block not in view.rules[reader].absorbs(view.calls[reader]):
        return []
    shapes = block.meta["value"].shape, reader.meta["value"].shape
    return [(reader, dim) for dim, (part, whole) in enumerate(zip(*shapes, strict=True)) if part != whole]


def _handed_on(
    view: GraphView, propagation: Propagation, reader: fx.Node, node: fx.Node, dim: int
) -> list[tuple[fx.Node, int]] | None:
    """Return where the gap in ``node`` appears in ``reader``, or ``None`` if it cannot take one."""
    if reader not in view.calls:
        return None
    links = list(view.rules[reader].ties(view.calls[reader]))
    ends = [_other_end(link, node, dim) for link in links if isinstance(link, Tie)]
    found = [end for end in ends if end is not None]
    if not found and not any(isinstance(link, Free) and (link.value, link.dim) == (node, dim) for link in links):
        return None
    handed_on = [(value, at) for value, at in found if value is reader and isinstance(value, fx.Node)]
    zero = all(along(propagation.masks[value], at).any() for value, at in handed_on)
    return handed_on if zero else None


def _other_end(tie: Tie, node: fx.Node, dim: int) -> tuple[fx.Node | str, int] | None:
    if (tie.source, tie.source_dim) == (node, dim):
        return tie.target, tie.target_dim
    if (tie.target, tie.target_dim) == (node, dim):
        return tie.source, tie.source_dim
    return None
