"""First pass of construction: which values are zero, which stand for others, which are still needed.

A wholly zero operand is dropped where the operator's rule says that the result is exactly the same without
it. Where a zero is still read, it stays as an explicit zero whose sizes follow tensors that are live anyway
(batch, height, width and length symbolic). What has no parameters and no formula for its sizes is computed as
before, from explicit zeros.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

from torch import fx
from torch.fx.node import map_arg

from autosubnet.capture.trace import MODES, TensorInfo, output_of
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation
from autosubnet.ops.call import Value
from autosubnet.ops.rule import Alias, Replace
from autosubnet.ops.sizes import Expression, Number, Size, apply, leaves


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
        cut: blocks of concats that are to be cut out rather than filled with zeros, as (block, concat).
        live: every node that is still computed.
    """

    view: GraphView
    zero: set[fx.Node] = field(default_factory=set)
    alias: dict[fx.Node, fx.Node] = field(default_factory=dict)
    replace: dict[fx.Node, Replace] = field(default_factory=dict)
    explicit: dict[fx.Node, list[Expression]] = field(default_factory=dict)
    numbers: dict[fx.Node, Expression] = field(default_factory=dict)
    cut: set[tuple[fx.Node, fx.Node]] = field(default_factory=set)
    live: set[fx.Node] = field(default_factory=set)

    def resolve(self, node: fx.Node) -> fx.Node:
        """Return the node that stands for ``node``."""
        while node in self.alias:
            node = self.alias[node]
        return node

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


def erase(propagation: Propagation, uncuttable: set[tuple[fx.Node, fx.Node]]) -> Erasure:
    """Decide what is dropped, what stays, and what is live.

    Args:
        propagation: zero masks from the real values of the parameters.
        uncuttable: pairs (block, concat) of zero blocks that must be filled with explicit zeros.
    """
    erasure = Erasure(propagation.view)
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
    if isinstance(result, Alias) and not result.operand.meta["mutated"]:
        erasure.alias[node] = result.operand
    elif isinstance(result, Replace):
        erasure.replace[node] = result


class _Liveness:
    """Marks what the outputs need; then what the explicit zeros' sizes need; then what effects need."""

    def __init__(self, erasure: Erasure, uncuttable: set[tuple[fx.Node, fx.Node]]) -> None:
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
        effects = [node for node in self.view.nodes if node.meta.get("effect")]
        while self.pending or self.postponed:
            if self.pending:
                self._follow(self.erasure.resolve(self.pending.pop()))
            else:
                self._express(self.postponed.pop())
            if effects and not self.pending and not self.postponed:
                seen = _Seen(self.erasure)
                self.pending = [node for node in effects if node not in self.erasure.live and seen.is_seen(node)]

    def _follow(self, node: fx.Node) -> None:
        if node in self.erasure.live:
            return
        if self._is_size(node) or (node in self.erasure.zero and node.meta["data"] and node.op != "placeholder"):
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
        if self._is_size(node):
            expressions = [self.erasure.numbers.setdefault(node, self.number(node))]
        else:
            expressions = self.of(node)
            if not isinstance(node.meta["value"], TensorInfo) or Size(node, 0) in expressions[:1] or not expressions:
                self._keep(node)  # no formula: computed as before
                return
            self.erasure.explicit[node] = expressions
        self.pending += [leaf.node for leaf in leaves(expressions)]

    def of(self, value: Value) -> list[Expression]:
        """Return the sizes of a tensor, by those of live tensors as far as formulas reach."""
        assert isinstance(value, fx.Node)
        node = self.erasure.resolve(value)
        info = node.meta["value"]
        if node.op == "get_attr":
            return list(info.shape)
        own = [Size(node, dim) for dim in range(len(info.shape))] if isinstance(info, TensorInfo) else []
        if node in self.erasure.live or node.op == "placeholder":
            return own
        source, output = node.args[0] if node.args else None, 0
        if node.target is operator.getitem and isinstance(source, fx.Node) and isinstance(source.meta["value"], tuple):
            node, output = source, int(node.args[1])  # type: ignore[arg-type]  # the position of an output
        call = self.view.calls.get(node)
        sizes = None if call is None else self.view.rules[node].sizes(call, self, output)
        return own if sizes is None or any(each is None for each in sizes) else sizes

    def number(self, value: Any) -> Expression:
        """Return a number, or the arithmetic on sizes that computes it."""
        if not isinstance(value, fx.Node):
            return value
        if self._is_size(value):
            tensor, dim = value.args
            return self.of(tensor)[dim]  # type: ignore[arg-type,index]  # a tensor, an int
        if value.op == "call_function" and value.target in _ARITHMETIC and not value.kwargs:
            return apply(value.target, *(self.number(each) for each in value.args))
        return Number(value)

    def _is_size(self, node: fx.Node) -> bool:
        return node.op == "call_method" and node.target == "size" and len(node.args) == 2


_ARITHMETIC = frozenset({operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, operator.neg})


class _Seen:
    """Which effects somebody sees, given what is live."""

    def __init__(self, erasure: Erasure) -> None:
        self.roots = {node.meta["root"] for node in erasure.live}
        working = [node for node in erasure.view.nodes if node.meta["data"] and not node.meta.get("effect")]
        self.modules = {node.meta["module"] for node in working}
        self.live_modules = {node.meta["module"] for node in working if erasure.resolve(node) in erasure.live}

    def is_seen(self, node: fx.Node) -> bool:
        """Whether somebody reads the memory that ``node`` writes.

        A buffer is read by later calls of the model. But the counter of a module all of whose other operations
        are gone is read by nobody.
        """
        root = node.meta["root"]
        if root.op != "get_attr":
            return root in self.roots
        owner = str(root.target).rpartition(".")[0]
        return owner not in self.modules or owner in self.live_modules
