"""Memory that in-place operations write: which nodes share it, and what has come into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import fx


class Memory:
    """The nodes over memory that is written in place, by its root.

    Args:
        nodes: of the graph, in topological order.
        index: position of each.
    """

    def __init__(self, nodes: Sequence[fx.Node], index: Mapping[fx.Node, int]) -> None:
        self._index = index
        self._nodes: dict[fx.Node, list[fx.Node]] = {}
        for node in nodes:
            if node.meta["mutated"]:
                self._nodes.setdefault(node.meta["root"], []).append(node)

    def so_far(self, node: fx.Node) -> list[fx.Node]:
        """Return the nodes over the memory of ``node``, up to and with it."""
        return [each for each in self._nodes[node.meta["root"]] if self._index[each] <= self._index[node]]

    def sources(self, node: fx.Node) -> set[fx.Node]:
        """Return what was read, from elsewhere, by all that has come into the memory of ``node`` so far."""
        shared = self.so_far(node)
        return {source for each in shared for source in each.all_input_nodes}.difference(shared)

    def followers(self, node: fx.Node) -> list[fx.Node]:
        """Return the nodes behind ``node`` that read it, or memory that it or these write."""
        users = [user for user in node.users if user.op != "output"]
        written = [user.meta["root"] for user in (node, *users) if user.meta["mutated"]]
        shared = [each for root in written for each in self._nodes[root] if self._index[each] > self._index[node]]
        return [*users, *shared]
