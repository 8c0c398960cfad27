"""Zero propagation for the check of connectivity: what cannot be looked into may hand zeros on.

A zero that is claimed too few is harmless where a claim removes something. Where the question is whether a group
has to stay, it is not: behind memory that is written in place, or an operator without a rule, a product may be zero
though no rule says so, and nothing depends on its other factor any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import fx

from autosubnet.graph.zeros import Propagation
from autosubnet.ops.masks import MaskTree, is_zero
from autosubnet.ops.rule import Unknown, filled, leaves


class Suspicion(Propagation):
    """Zero masks in which written memory and operators without a rule give zeros where they get nothing else."""

    def transfer(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask, wholly zero where nothing is known but that all it comes from is."""
        mask = super().transfer(node, changed)
        return filled(mask, True) if self._comes_of_zeros(node) else mask

    def followers(self, node: fx.Node) -> Iterable[fx.Node]:
        """Return the nodes that read ``node``, or memory that these write."""
        return self.view.memory.followers(node)

    def _comes_of_zeros(self, node: fx.Node) -> bool:
        if not node.meta["data"]:
            return False
        if node.meta["mutated"]:
            makers, sources = self.view.memory.so_far(node), self.view.memory.sources(node)
        elif isinstance(self.view.rules.get(node), Unknown):
            makers, sources = [node], set(node.all_input_nodes)
        else:
            return False
        if not all(maker in self.view.calls for maker in makers):
            return False  # an input or a buffer
        return all(is_zero(leaf) for source in sources for leaf in leaves(self.masks[source]))
