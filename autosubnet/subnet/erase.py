"""First pass of construction: which values are zero, which stand for others, which are still needed.

A wholly zero operand is dropped where the operator's rule says that the result is exactly the same without
it. Where a zero is still read, it stays as an explicit zero whose sizes follow tensors that are live anyway
(batch, height, width and length symbolic). What has no parameters and no formula for its sizes is computed as
before, from explicit zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import fx
from torch.fx.node import map_arg

from autosubnet.capture.trace import MODES, TensorInfo, output_of, outputs_of
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation
from autosubnet.ops.rule import Alias, Replace
from autosubnet.ops.sizes import Expression, Size, is_size, leaves, sizes_of
from autosubnet.subnet.effects import Effects

Place = tuple[fx.Node, fx.Node]
"""A zero block, and the concat that reads it."""


@dataclass
class Erasure:
    """The result of the pass, and the questions that later passes ask of it.

    Attributes:
        view: the graph.
        zero: nodes whose value is zero for every input.
        alias: nodes that another node stands for.
        replace: nodes computed by another call.
        explicit: zeros that stay, with the expressions of their sizes.
        numbers: nodes that compute a size of a tensor that is not live, with the expression that does.
        returned: where the memory of the outputs begins.
        cut: zero blocks of concats that are to be cut out rather than filled with zeros.
        live: every node that is still computed.
    """

    view: GraphView
    zero: set[fx.Node] = field(default_factory=set)
    alias: dict[fx.Node, fx.Node] = field(default_factory=dict)
    replace: dict[fx.Node, Replace] = field(default_factory=dict)
    explicit: dict[fx.Node, list[Expression]] = field(default_factory=dict)
    numbers: dict[fx.Node, Expression] = field(default_factory=dict)
    returned: set[fx.Node] = field(default_factory=set)
    cut: set[Place] = field(default_factory=set)
    live: set[fx.Node] = field(default_factory=set)

    def resolve(self, node: fx.Node) -> fx.Node:
        """Return the node that stands for ``node``."""
        while node in self.alias:
            node = self.alias[node]
        return node

    def root(self, node: fx.Node) -> fx.Node:
        """Return where the memory begins that stands for that of ``node``."""
        root: fx.Node = self.resolve(node).meta["root"]
        while (other := self.resolve(root)) is not root:
            root = other.meta["root"]
        return root

    def sources(self, node: fx.Node) -> list[fx.Node]:
        """Return what a live node reads, aliases resolved."""
        if node in self.replace:
            found: list[fx.Node] = []
            map_arg((self.replace[node].args, self.replace[node].kwargs), found.append)
        else:
            found = node.all_input_nodes
        return [self.resolve(each) for each in found]

    def sizes_read(self) -> set[tuple[fx.Node, int]]:
        """Return the sizes of live tensors that explicit zeros and numbers follow."""
        expressions = [*(size for sizes in self.explicit.values() for size in sizes), *self.numbers.values()]
        return {(leaf.node, leaf.dim) for leaf in leaves(expressions) if isinstance(leaf, Size)}


def erase(propagation: Propagation, uncuttable: set[Place]) -> Erasure:
    """Decide what is dropped, what stays, and what is live.

    Args:
        propagation: zero masks from the real values of the parameters.
        uncuttable: zero blocks of concats that must be filled with explicit zeros.
    """
    erasure = Erasure(propagation.view)
    graph = erasure.view.trace.graph
    erasure.returned |= {node.meta["root"] for mode in MODES for node in outputs_of(graph, mode)}
    for node in erasure.view.nodes:
        if propagation.is_zero(node) and not node.meta.get("effect"):
            erasure.zero.add(node)
        elif node in erasure.view.calls:
            _drop_operands(erasure, node)
    _Liveness(erasure, uncuttable).run()
    return erasure


def _drop_operands(erasure: Erasure, node: fx.Node) -> None:
    call, rule = erasure.view.calls[node], erasure.view.rules[node]
    zero = frozenset(operand for operand in call.operands if operand in erasure.zero)
    if not zero or rule.absorbs(call) or node.meta["mutated"]:
        return
    result = rule.drops(call, zero)
    if isinstance(result, Alias) and result.operand.meta["mutated"]:
        result = Replace(torch.clone, (result.operand,), {})  # as it is now: later writes are not for these readers
    elif isinstance(result, Alias) and node.meta["root"] in erasure.returned:
        if (root := erasure.root(result.operand)) in erasure.returned or root.op in ("placeholder", "get_attr"):
            result = Replace(torch.clone, (result.operand,), {})  # who writes to an output writes to that one alone
        erasure.returned.add(root)
    if isinstance(result, Alias):
        erasure.alias[node] = erasure.resolve(result.operand)  # a short cut: chains of these can be long
    elif isinstance(result, Replace):
        erasure.replace[node] = result


class _Liveness:
    """Marks what the outputs need; then what the explicit zeros' sizes need; then what effects need."""

    def __init__(self, erasure: Erasure, uncuttable: set[Place]) -> None:
        self.erasure = erasure
        self.view = erasure.view
        self.uncuttable = uncuttable
        self.pending: list[fx.Node] = []
        self.postponed: list[fx.Node] = []  # zeros and sizes: decided when all else that is live is known

    def run(self) -> None:
        for mode in MODES:
            map_arg(output_of(self.view.trace.graph, mode), self.pending.append)
        self.pending += [node for node in self.view.nodes if node.op == "placeholder"]
        for node in self.view.nodes:
            if node.meta["drew_in_eval"]:  # without it, all later draws were others in eval mode too
                self._keep(node)
        self._exhaust()
        effects = Effects(self.erasure)
        while more := effects.seen():
            for node in more:
                self._keep(node)
            self._exhaust()

    def _exhaust(self) -> None:
        while self.pending or self.postponed:
            if self.pending:
                self._follow(self.erasure.resolve(self.pending.pop()))
            else:
                self._express(self.postponed.pop())

    def _follow(self, node: fx.Node) -> None:
        if node in self.erasure.live:
            return
        if is_size(node) or (node in self.erasure.zero and node.meta["data"] and node.op != "placeholder"):
            self.postponed.append(node)
            return
        self._keep(node)

    def _keep(self, node: fx.Node) -> None:
        self.erasure.live.add(node)
        calls = self.view.calls
        absorbed = self.view.rules[node].absorbs(calls[node]) if node in calls else ()
        blocks = {self.erasure.resolve(block) for block in absorbed}
        for source in self.erasure.sources(node):
            if source in blocks and source in self.erasure.zero and (source, node) not in self.uncuttable:
                self.erasure.cut.add((source, node))
            else:
                self.pending.append(source)

    def _express(self, node: fx.Node) -> None:
        if node in self.erasure.live or node in self.erasure.explicit or node in self.erasure.numbers:
            return
        if is_size(node):
            expressions = [self._size(node)]
            self.erasure.numbers[node] = expressions[0]
        else:
            expressions = node.meta["sizes"]
            if not isinstance(node.meta["value"], TensorInfo) or not expressions or _own(node) & {*leaves(expressions)}:
                self._keep(node)  # no formula: computed as before
                return
            self.erasure.explicit[node] = expressions
        self.pending += [leaf.node for leaf in leaves(expressions)]

    def _size(self, node: fx.Node) -> Expression:
        """Return what reads a size off a live tensor, or else computes it from sizes of the inputs."""
        tensor, dim = node.args
        stands = self.erasure.resolve(tensor)  # type: ignore[arg-type]  # a node
        if stands in self.erasure.live:
            return Size(stands, dim)  # type: ignore[arg-type]  # an int
        return self.view.sizes.number(node)


def _own(node: fx.Node) -> set[Size]:
    return {Size(node, dim) for dim in range(len(sizes_of(node)))}
