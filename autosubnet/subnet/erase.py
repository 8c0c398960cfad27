"""First pass of construction: which values are zero, which stand for others, which are still needed.

A wholly zero operand is dropped where the operator's rule says that the result is exactly the same without
it. Where a zero is still read, it stays: as an explicit zero whose sizes follow the live tensors, or, where its
sizes cannot be written out, by being computed as before.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import fx
from torch.fx.node import map_arg

from autosubnet.capture.trace import MODES, output_of
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation
from autosubnet.ops.call import Value
from autosubnet.ops.rule import Alias, Replace


@dataclass(frozen=True)
class Size:
    """A size of a live tensor."""

    node: fx.Node
    dim: int


@dataclass(frozen=True)
class Arithmetic:
    """Arithmetic on sizes."""

    function: Any
    operands: tuple[Any, ...]


class NoSizes(Exception):  # noqa: N818  # control flow between two functions of this module
    """The sizes of a zero cannot be written out."""


@dataclass
class Erasure:
    """The result of the pass, and the questions that later passes ask of it.

    Attributes:
        zero: nodes whose value is zero for every input.
        alias: nodes that another node stands for.
        replace: nodes computed by another call.
        explicit: zeros that stay, with the expressions of their sizes.
        cut: blocks of concats that are to be cut out rather than filled with zeros.
        live: every node that is still computed.
    """

    view: GraphView
    zero: set[fx.Node] = field(default_factory=set)
    alias: dict[fx.Node, fx.Node] = field(default_factory=dict)
    replace: dict[fx.Node, Replace] = field(default_factory=dict)
    explicit: dict[fx.Node, list[Any]] = field(default_factory=dict)
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
    _mark_live(erasure, uncuttable)
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


def _mark_live(erasure: Erasure, uncuttable: set[tuple[fx.Node, fx.Node]]) -> None:
    pending: list[fx.Node] = []
    for mode in MODES:
        map_arg(output_of(erasure.view.trace.graph, mode), lambda node: pending.append(node))
    pending += [node for node in erasure.view.nodes if node.op == "placeholder"]
    while pending:
        _follow(erasure, pending, uncuttable)
        roots = {node.meta["root"] for node in erasure.live}
        pending = [node for node in erasure.view.nodes if node not in erasure.live and _is_seen(erasure, node, roots)]


def _follow(erasure: Erasure, pending: list[fx.Node], uncuttable: set[tuple[fx.Node, fx.Node]]) -> None:
    while pending:
        node = erasure.resolve(pending.pop())
        if node in erasure.live or node in erasure.explicit:
            continue
        if node in erasure.zero and node.meta["data"] and node.op != "placeholder":
            try:
                sizes = _sizes(erasure, node)
                erasure.explicit[node] = sizes
                pending += _nodes_of(sizes)
                continue
            except NoSizes:
                pass  # it is computed as before
        erasure.live.add(node)
        absorbed = erasure.view.rules[node].absorbs(erasure.view.calls[node]) if node in erasure.view.calls else ()
        blocks = {erasure.resolve(block) for block in absorbed}
        for source in erasure.sources(node):
            if source in blocks and source in erasure.zero and (source, node) not in uncuttable:
                erasure.cut.add((source, node))
            else:
                pending.append(source)


def _is_seen(erasure: Erasure, node: fx.Node, roots: set[fx.Node]) -> bool:
    """Whether a node must stay for what it does: it writes memory that somebody reads.

    A buffer is read by later calls of the model. But the counter of a module all of whose other operations are
    gone is read by nobody.
    """
    if not node.meta.get("effect"):
        return False
    root = node.meta["root"]
    if root.op != "get_attr":
        return root in roots
    owner = str(root.target).rpartition(".")[0]
    working = [
        each
        for each in erasure.view.nodes
        if each.meta["module"] == owner and each.meta["data"] and not each.meta.get("effect")
    ]
    return not working or any(erasure.resolve(each) in erasure.live for each in working)


def _sizes(erasure: Erasure, value: Value) -> list[Any]:
    assert isinstance(value, fx.Node)
    node = erasure.resolve(value)
    if node not in erasure.zero or not node.meta["data"] or node not in erasure.view.calls:
        return [Size(node, dim) for dim in range(len(node.meta["value"].shape))]
    if not hasattr(node.meta["value"], "shape") or not node.meta["value"].dtype.is_floating_point:
        raise NoSizes
    call, rule = erasure.view.calls[node], erasure.view.rules[node]
    result = rule.sizes(call, lambda operand: _sizes(erasure, operand), _arithmetic)
    if result is None:
        raise NoSizes
    return result


def _arithmetic(function: Any, *operands: Any) -> Any:
    if all(isinstance(each, int) for each in operands):
        return function(*operands)
    if function is operator.add and operands[1] == 0:
        return operands[0]
    return Arithmetic(function, operands)


def _nodes_of(sizes: Iterable[Any]) -> list[fx.Node]:
    found: list[fx.Node] = []
    for each in sizes:
        if isinstance(each, Size):
            found.append(each.node)
        elif isinstance(each, Arithmetic):
            found += _nodes_of(each.operands)
    return found


def sizes_read(erasure: Erasure) -> set[tuple[fx.Node, int]]:
    """Return the sizes of live tensors that explicit zeros follow."""
    found: set[tuple[fx.Node, int]] = set()

    def collect(expressions: Iterable[Any]) -> None:
        for each in expressions:
            if isinstance(each, Size):
                found.add((each.node, each.dim))
            elif isinstance(each, Arithmetic):
                collect(each.operands)

    for expressions in erasure.explicit.values():
        collect(expressions)
    return found
