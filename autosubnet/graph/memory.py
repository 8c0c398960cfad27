"""Memory that in-place operations write: what each of the nodes that share it holds has come from."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from torch import fx

from autosubnet.capture.trace import Mode
from autosubnet.ops.assignment import Assignment, assignment_of


class Memory:
    """The nodes over memory that is written in place, each after the one before it.

    Args:
        nodes: of the graph, in topological order.

    Attributes:
        assigned: nodes that hold what another did, but for the place that an assignment wrote.
        hidden: nodes that hold what was written in another way, so that their entries cannot be told apart.
    """

    def __init__(self, nodes: Iterable[fx.Node]) -> None:
        self.assigned: dict[fx.Node, Assignment] = {}
        self.hidden: set[fx.Node] = set()
        self._written: dict[fx.Node, list[fx.Node]] = {}  # since the one before, with it
        self._later: dict[fx.Node, list[fx.Node]] = {}
        pending: dict[fx.Node, list[fx.Node]] = {}  # by memory: who had it last, and what was written to it since
        writes: dict[tuple[fx.Node, Mode], fx.Node] = {}  # by memory and mode: the last operation that wrote to it
        for node in nodes:
            if not node.meta["mutated"]:
                continue
            root = node.meta["root"]
            if node.meta.get("effect"):
                writes.update(((root, mode), node) for mode in node.meta["modes"])
            sources = pending.setdefault(root, [])
            if node.meta["value"] is None:  # an assignment to an index
                sources += node.all_input_nodes
                continue
            if _is_behind_a_write(node) or node.meta.get("effect"):
                before = {writes.get((root, mode)) for mode in node.meta["modes"]}
                sources += self._note(node, before.pop() if len(before) == 1 else None)
            self._written[node] = sources
            for source in sources:
                self._later.setdefault(source, []).append(node)
            pending[root] = [node]

    def _note(self, node: fx.Node, write: fx.Node | None) -> list[fx.Node]:
        """Note what the write before a node, the same in all its modes, tells of it; return what is read for that."""
        assignment = None if write is None else assignment_of(write)
        if write is None or assignment is None or assignment.tensor is not node.args[0]:
            self.hidden.add(node)
            return []
        self.assigned[node] = assignment
        return write.all_input_nodes

    def sources(self, node: fx.Node) -> list[fx.Node]:
        """Return what ``node`` reads, and what has come into its memory."""
        return [*node.all_input_nodes, *self._written.get(node, ())]

    def followers(self, node: fx.Node) -> list[fx.Node]:
        """Return the nodes of which ``node`` is a source."""
        return [*(user for user in node.users if user.op != "output"), *self._later.get(node, ())]


def _is_behind_a_write(node: fx.Node) -> bool:
    """Whether a node stands for a tensor as it is once its memory was written; capture makes these of ``[...]``."""
    everything: Any = Ellipsis
    return node.target is operator.getitem and node.args[1] is everything
