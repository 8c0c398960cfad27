"""Zero propagation: which entries of every tensor are zero for every input.

An abstract interpretation of the trace over the lattice of zero masks (``ops/masks.py``), ordered by claims.
Each operator's transfer function is monotone and sound: given claims that hold, it makes claims that hold,
for every input for which all intermediate values are finite, in train and in eval mode. The graph is acyclic,
so one pass in topological order gives the result; when parameters change, only what is downstream of them is
visited again, until nothing changes.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from typing import Any

from torch import fx

from autosubnet.capture.trace import TensorInfo
from autosubnet.graph.view import GraphView
from autosubnet.ops.call import Value
from autosubnet.ops.masks import Mask, MaskTree, is_zero, of_tensor, same, shared, uniform

Undo = list[tuple[dict[Any, Any], Any, Any]]


class Propagation:
    """Zero masks of all nodes, given those of the parameters, kept up to date as these change.

    Args:
        view: the graph.
        parameters: masks of parameters; those not named are taken for non-zero. Buffers always are, since
            training changes them.
    """

    def __init__(self, view: GraphView, parameters: dict[str, Mask] | None = None) -> None:
        self.view = view
        self.parameters = dict(parameters or {})
        self.masks: dict[fx.Node, MaskTree] = {}
        for node in view.nodes:
            self.masks[node] = self.transfer(node)

    def of(self, value: Value) -> Mask:
        """Return the mask of a tensor."""
        if isinstance(value, str):
            mask = self.parameters.get(value)
            return uniform(self._ndim(value), False) if mask is None else mask
        result: Mask = self.masks[value]
        return result

    def transfer(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask from those of what it reads, or from its old one and those that ``changed``."""
        if node.meta["value"] is None:
            return None
        if node.op == "placeholder" or node.meta["mutated"]:
            return nothing_known(node)
        return self.unwritten(node, changed)

    def unwritten(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask as its own operator has it, whatever is written to its memory."""
        if node.op == "get_attr":
            name = self.view.attribute_name(node)
            return self.of(name) if name in self.parameters else nothing_known(node)
        call, rule = self.view.calls[node], self.view.rules[node]
        patched = None if changed is None else rule.patched(call, self.of, self.masks[node], changed)
        return shared(rule.zeros(call, self.of) if patched is None else patched)

    def update(self, changes: dict[str, Mask], vital: Collection[fx.Node] = frozenset()) -> Undo:
        """Change masks of parameters and propagate; return what changed, as :meth:`undo` needs it.

        Ends where a ``vital`` node is wholly zero, which is then the last that changed.
        """
        undo: Undo = []
        queue: list[tuple[int, fx.Node]] = []
        changed: dict[fx.Node, list[fx.Node]] = {}  # what is queued, with the operands that changed

        def push(node: fx.Node, *operands: fx.Node) -> None:
            if node not in changed:
                changed[node] = []
                heapq.heappush(queue, (self.view.index[node], node))
            changed[node] += operands

        for name, mask in changes.items():
            undo.append((self.parameters, name, self.parameters.get(name)))
            self.parameters[name] = mask
            for node in self.view.readers_of.get(name, ()):
                push(node)
        while queue:
            _, node = heapq.heappop(queue)
            mask = self.transfer(node, changed.pop(node))
            if not same(mask, self.masks[node]):
                undo.append((self.masks, node, self.masks[node]))
                self.masks[node] = mask
                if node in vital and is_zero(mask):
                    break
                for follower in self.followers(node):
                    push(follower, node)
        return undo

    def followers(self, node: fx.Node) -> Iterable[fx.Node]:
        """Return the nodes whose masks may change with that of ``node``."""
        return (user for user in node.users if user.op != "output")

    def changed(self, undo: Undo) -> list[fx.Node]:
        """Return the nodes whose masks an update changed."""
        return [key for table, key, _ in undo if table is self.masks]

    def undo(self, log: Undo) -> None:
        """Take an update back."""
        for table, key, old in reversed(log):
            if old is None and table is self.parameters:
                del table[key]
            else:
                table[key] = old

    def is_zero(self, node: fx.Node) -> bool:
        """Whether the node's tensor is wholly zero."""
        return is_zero(self.masks[node])

    def _ndim(self, name: str) -> int:
        parameter = self.view.parameters.get(name)
        return 1 if parameter is None else parameter.ndim


def values_of(view: GraphView) -> dict[str, Mask]:
    """Return the masks of the parameters' present values, of those that have a zero."""
    masks = ((name, of_tensor(parameter)) for name, parameter in view.parameters.items())
    return {name: mask for name, mask in masks if mask is not uniform(mask.ndim, False)}


def nothing_known(node: fx.Node) -> MaskTree:
    """Return masks that claim nothing of a node's value, in its structure."""
    return _nothing(node.meta["value"])


def _nothing(info: Any) -> MaskTree:
    if isinstance(info, TensorInfo):
        return uniform(len(info.shape), False)
    if isinstance(info, tuple):
        return tuple(_nothing(each) for each in info)
    return None
