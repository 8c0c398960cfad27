"""The check of connectivity doubts what cannot be looked into: zeros and constants may pass through it unseen.

A zero that is claimed too few is harmless where a claim removes something. Where the question is whether a group
has to stay, it is not: behind memory that is written in place, an operator without a rule, or a comparison, a
product may be zero though no rule says so, and nothing depends on its other factor any more. And what is left of a
sequence of which one entry no longer depends on an input may be that entry. What is moved to where no rule tells may
be the part that is zero. A choice by a condition that no longer depends on anything may be the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import reduce
from typing import Any

import numpy as np
from torch import fx

from autosubnet.graph.view import GraphView
from autosubnet.graph.written import WrittenConstants, WrittenZeros
from autosubnet.ops.arithmetic import Compare
from autosubnet.ops.masks import Mask, MaskTree, uniform, with_ndim
from autosubnet.ops.rule import Unknown, filled, leaves


class SuspectedZeros(WrittenZeros):
    """Zero masks in which written memory, operators without a rule and comparisons are zero once they read a zero.

    That is one that was not there before: what is zero whatever the parameters are does not count.

    Args:
        view: the graph.
        parameters: masks of parameters; those not named are taken for non-zero.
    """

    def __init__(self, view: GraphView, parameters: dict[str, Mask] | None = None) -> None:
        self.before = WrittenZeros(view)
        super().__init__(view, parameters)

    def transfer(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask, wholly zero where zeros came into what cannot be looked into."""
        mask = super().transfer(node, changed)
        return _suspected(self, node, mask, of_number=lambda number: bool(number == 0))

    def followers(self, node: fx.Node) -> Iterable[fx.Node]:
        """Return the nodes that read ``node``, and who has its memory next."""
        return self.view.memory.followers(node)


class SuspectedConstants(WrittenConstants):
    """Constants in which the same are constant once they read what has become so, though only an entry of it.

    Args:
        view: the graph.
        propagation: its zero masks.
        source: the placeholder in question.
    """

    def __init__(self, view: GraphView, propagation: SuspectedZeros, source: fx.Node) -> None:
        self.before = WrittenConstants(view, propagation.before, source)
        super().__init__(view, propagation, source)

    def transfer(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask, wholly constant where constants came into what cannot be looked into."""
        mask = super().transfer(node, changed)
        return _suspected(self, node, mask, of_number=lambda number: True)


def _suspected(
    analysis: SuspectedZeros | SuspectedConstants, node: fx.Node, mask: MaskTree, of_number: Callable[[Any], bool]
) -> MaskTree:
    """Return a node's mask, or one that claims all where a claim more than before came into it unseen."""
    view, now, before = analysis.view, analysis.masks, analysis.before.masks
    rule = view.rules.get(node)
    if rule is None or not node.meta["data"]:
        return mask

    def has_become(source: fx.Node) -> bool:
        return any(bool((a & ~b).any()) for a, b in zip(leaves(now[source]), leaves(before[source]), strict=True))

    call = view.calls[node]
    hidden = node in view.memory.hidden or isinstance(rule, Unknown | Compare)
    if (hidden or rule.blurs(call, analysis.of)) and any(map(has_become, view.memory.sources(node))):
        return filled(mask, True)
    chosen = rule.chosen(call)
    if chosen is None or not has_become(chosen[0]):
        return mask
    either = (now[each] if isinstance(each, fx.Node) else uniform(0, of_number(each)) for each in chosen[1])
    return reduce(np.logical_or, (with_ndim(each, mask.ndim) for each in either if each is not None), mask)
