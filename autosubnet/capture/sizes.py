"""Numbers that remember where in the graph they came from, so that arithmetic on sizes is recorded.

Where Python code leaves that arithmetic (``int(size)``) or decides by it (``if size > 24``), the graph loses the
size; that is reported, with the sizes in question. As a key of a table a size would bring back what was computed for
another tensor of the same size, or in an earlier run; so it is none where the model can do without.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

Source = tuple[fx.Node, int | None]
"""A size in the graph: the node of a tensor and a dimension of it, or ``None`` for its number of entries."""
KEY = "a size as a key"
OnLoss = Callable[[str, frozenset[Source]], None]
"""Told what was lost, and the sizes that it was computed from."""


class TracedNumber:
    """Mixin of an ``int`` or ``float`` that can emit the node that computes it.

    The node is emitted on first use, so that sizes that nobody uses leave nothing in the graph.
    """

    _emit: Callable[[], fx.Node]
    _graph: fx.Graph
    _node: fx.Node | None
    _sources: frozenset[Source]
    _on_loss: OnLoss

    def _lose(self, what: str, *others: Any) -> None:
        sources = self._sources.union(*(each._sources for each in others if isinstance(each, TracedNumber)))
        self._on_loss(what, sources)

    @property
    def node(self) -> fx.Node:
        """The node that computes this number."""
        if self._node is None:
            self._node = self._emit()
        return self._node

    def __reduce__(self) -> tuple[Any, ...]:
        return type(plain(self)), (plain(self),)  # type: ignore[arg-type]  # a number


class TracedInt(TracedNumber, int):
    """A size of a traced tensor, or the result of integer arithmetic on sizes."""

    def __int__(self) -> int:
        self._lose("int(size)")
        return int.__int__(self)

    def __float__(self) -> float:
        self._lose("float(size)")
        return int.__float__(self)


class TracedFloat(TracedNumber, float):
    """The result of a division of sizes."""

    def __float__(self) -> float:
        self._lose("float(size)")
        return float.__float__(self)

    def __int__(self) -> int:
        self._lose("int(size)")
        return float.__int__(self)


def traced(
    value: float, graph: fx.Graph, emit: Callable[[], fx.Node], sources: frozenset[Source], on_loss: OnLoss
) -> Any:
    """Return ``value`` as a number that emits its node into ``graph`` and reports a loss by ``on_loss``."""
    number: Any = TracedInt(value) if isinstance(value, int) else TracedFloat(value)
    number._emit, number._graph, number._node, number._sources, number._on_loss = emit, graph, None, sources, on_loss
    return number


def _divmod(self: Any, other: Any) -> tuple[Any, Any]:
    return self // other, self % other


def plain(value: float) -> float:
    """Return the number without its memory."""
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def in_graph(value: Any, graph: fx.Graph) -> Any:
    """Return the node that computes a number, if it is one of ``graph``; else the number."""
    if not isinstance(value, TracedNumber):
        return value
    return value.node if value._graph is graph else plain(value)  # type: ignore[arg-type]  # a number


def _hash(self: Any) -> int:
    self._lose(KEY)
    return hash(plain(self))


def _arithmetic(function: Callable[..., Any], swap: bool) -> Callable[..., Any]:
    def method(self: TracedNumber, *others: Any) -> Any:
        operands = (*others, self) if swap else (self, *others)
        if not all(isinstance(each, (int, float)) for each in operands):
            return NotImplemented
        value = function(*(plain(each) for each in operands))

        def emit() -> fx.Node:
            return self._graph.call_function(function, tuple(in_graph(each, self._graph) for each in operands))

        sources = self._sources.union(*(each._sources for each in others if isinstance(each, TracedNumber)))
        return traced(value, self._graph, emit, sources, self._on_loss)

    return method


def _decision(name: str) -> Callable[..., Any]:
    def method(self: TracedNumber, *others: Any) -> Any:
        self._lose("a decision by size", *others)
        kind = int if isinstance(self, int) else float
        return getattr(kind, name)(self, *others)

    return method


def _way_out(name: str) -> Callable[..., Any]:
    def method(self: TracedNumber, *others: Any) -> Any:
        self._lose(f"{name} of a size", *others)
        return getattr(int if isinstance(self, int) else float, name)(self, *others)

    return method


for _name in ("bit_length", "bit_count", "to_bytes", "as_integer_ratio"):
    setattr(TracedInt, _name, _way_out(_name))
for _name in ("is_integer", "as_integer_ratio", "hex"):
    setattr(TracedFloat, _name, _way_out(_name))
for _class in (TracedInt, TracedFloat):
    _class.__hash__ = _hash  # type: ignore[method-assign]  # a new __eq__ would take it away
    for _name in ("lt", "le", "gt", "ge", "eq", "ne", "bool"):
        setattr(_class, f"__{_name}__", _decision(f"__{_name}__"))
    for _name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "lshift", "rshift", "and_", "or_", "xor"):
        setattr(_class, f"__{_name.strip('_')}__", _arithmetic(getattr(operator, _name), swap=False))
        setattr(_class, f"__r{_name.strip('_')}__", _arithmetic(getattr(operator, _name), swap=True))
    _class.__divmod__ = _divmod  # type: ignore[method-assign]  # a pair of the two recorded operations
    for _name in ("neg", "abs"):
        setattr(_class, f"__{_name}__", _arithmetic(getattr(operator, _name), swap=False))
    for _name, _function in (("floor", math.floor), ("ceil", math.ceil), ("trunc", math.trunc), ("round", round)):
        setattr(_class, f"__{_name}__", _arithmetic(_function, swap=False))


def sizes_of(tensor: torch.Tensor, node: fx.Node, on_loss: OnLoss) -> torch.Size:
    """Return the shape of ``tensor``, each size emitting ``node.size(dim)`` on first use."""

    def size(dim: int, value: int) -> TracedInt:
        def emit() -> fx.Node:
            return node.graph.call_method("size", (node, dim))

        number: TracedInt = traced(value, node.graph, emit, frozenset({(node, dim)}), on_loss)
        return number

    return torch.Size([size(dim, value) for dim, value in enumerate(tensor.shape)])
