"""Memory that in-place operations write: what each of the nodes that share it holds has come from."""

from __future__ import annotations

from collections.abc import Iterable

from torch import fx


class Memory:
    """The nodes over memory that is written in place, each after the one before it.

    Args:
        nodes: of the graph, in topological order.
    """

    def __init__(self, nodes: Iterable[fx.Node]) -> None:
        self._written: dict[fx.Node, list[fx.Node]] = {}  # since the one before, with it
        self._later: dict[fx.Node, list[fx.Node]] = {}
        pending: dict[fx.Node, list[fx.Node]] = {}  # by memory: who had it last, and what was written to it since
        for node in nodes:
            if not node.meta["mutated"]:
                continue
            sources = pending.setdefault(node.meta["root"], [])
            if node.meta["value"] is None:  # an assignment to an index
                sources += node.all_input_nodes
                continue
            self._written[node] = sources
            for source in sources:
                self._later.setdefault(source, []).append(node)
            pending[node.meta["root"]] = [node]

    def sources(self, node: fx.Node) -> list[fx.Node]:
        """Return what ``node`` reads, and what has come into its memory."""
        return [*node.all_input_nodes, *self._written.get(node, ())]

    def followers(self, node: fx.Node) -> list[fx.Node]:
        """Return the nodes of which ``node`` is a source."""
        return [*(user for user in node.users if user.op != "output"), *self._later.get(node, ())]
