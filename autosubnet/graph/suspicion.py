"""The check of connectivity doubts what cannot be looked into: zeros and constants may pass through it unseen.

A zero that is claimed too few is harmless where a claim removes something. Where the question is whether a group
has to stay, it is not: behind memory that is written in place, an operator without a rule, or a comparison, a
product may be zero though no rule says so, and nothing depends on its other factor any more. And what is left of a
sequence of which one entry no longer depends on an input may be that entry.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from torch import fx

from autosubnet.graph.dependence import Dependence
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation
from autosubnet.ops.arithmetic import Compare
from autosubnet.ops.masks import Mask, MaskTree
from autosubnet.ops.rule import Unknown, filled, leaves

Masks = Mapping[fx.Node, MaskTree]


class SuspectedZeros(Propagation):
    """Zero masks in which written memory, operators without a rule and comparisons are zero once they read a zero.

    That is one that was not there before: what is zero whatever the parameters are does not count.

    Args:
        view: the graph.
        parameters: masks of parameters; those not named are taken for non-zero.
    """

    def __init__(self, view: GraphView, parameters: dict[str, Mask] | None = None) -> None:
        self.before = Propagation(view)
        super().__init__(view, parameters)

    def transfer(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask, wholly zero where zeros came into what cannot be looked into."""
        mask = super().transfer(node, changed)
        return _suspected(self.view, node, mask, self.masks, self.before.masks)

    def followers(self, node: fx.Node) -> Iterable[fx.Node]:
        """Return the nodes that read ``node``, and who has its memory next."""
        return self.view.memory.followers(node)


class SuspectedConstants(Dependence):
    """Constants in which the same are constant once they read what has become so, though only an entry of it.

    Args:
        view: the graph.
        propagation: its zero masks.
        source: the placeholder in question.
    """

    def __init__(self, view: GraphView, propagation: SuspectedZeros, source: fx.Node) -> None:
        self.before = Dependence(view, propagation.before, source)
        super().__init__(view, propagation, source)

    def transfer(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask, wholly constant where constants came into what cannot be looked into."""
        mask = super().transfer(node, changed)
        return _suspected(self.view, node, mask, self.masks, self.before.masks)


def _suspected(view: GraphView, node: fx.Node, mask: MaskTree, now: Masks, before: Masks) -> MaskTree:
    """Return a node's mask, or one that claims all where a claim more than before came into it unseen."""
    hidden = node.meta["mutated"] or isinstance(view.rules.get(node), Unknown | Compare)
    if hidden and node.meta["data"] and any(_more(now[each], before[each]) for each in view.memory.sources(node)):
        return filled(mask, True)
    return mask


def _more(now: MaskTree, before: MaskTree) -> bool:
    """Whether masks claim an entry that they did not claim before."""
    return any(bool((a & ~b).any()) for a, b in zip(leaves(now), leaves(before), strict=True))
