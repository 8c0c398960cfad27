"""Zeros and constants in memory that is assigned piece by piece, and zeros that are made out of nothing.

Proofs do without both: what they claim, a construction acts on. The check of connectivity counts on them. A class
token that is assigned to its place depends on no input, though all around it does; and what is multiplied by
``torch.zeros`` is dead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import fx

from autosubnet.graph.dependence import Dependence
from autosubnet.graph.zeros import Propagation, nothing_known
from autosubnet.ops.masks import MaskTree, uniform
from autosubnet.ops.rule import filled


class WrittenZeros(Propagation):
    """Zero masks that tell the entries of written memory apart, as far as assignments say where they write."""

    def transfer(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask, as it is behind what was written so far."""
        if node in self.view.rules and self.view.rules[node].is_blank(self.view.calls[node]):
            return filled(nothing_known(node), True)
        if _is_told_apart(node, self.view.memory.hidden):
            return _assigned(self, node, changed, lambda number: number == 0)
        return super().transfer(node, changed)


class WrittenConstants(Dependence):
    """Constants that tell the entries of written memory apart, by the same assignments."""

    def transfer(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask, as it is behind what was written so far."""
        if _is_told_apart(node, self.view.memory.hidden):
            return _assigned(self, node, changed, lambda number: True)
        return super().transfer(node, changed)


def _is_told_apart(node: fx.Node, hidden: Collection[fx.Node]) -> bool:
    written = node.meta["mutated"] and node.meta["value"] is not None and node.op != "placeholder"
    return bool(written) and node not in hidden


def _assigned(
    analysis: Propagation | Dependence,
    node: fx.Node,
    changed: Collection[fx.Node] | None,
    of_number: Callable[[Any], bool],
) -> MaskTree:
    """Return the mask of a tensor behind an assignment, or as it was made."""
    assignment = analysis.view.memory.assigned.get(node)
    if assignment is None:
        return analysis.unwritten(node, changed)
    value = assignment.value
    mask = analysis.masks[value] if isinstance(value, fx.Node) else None
    return assignment.written(analysis.masks[assignment.tensor], uniform(0, of_number(value)) if mask is None else mask)
