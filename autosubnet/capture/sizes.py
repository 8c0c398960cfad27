"""Numbers that remember where in the graph they came from, so that arithmetic on sizes is recorded."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx


class TracedNumber:
    """Mixin of an ``int`` or ``float`` that can emit the node that computes it.

    The node is emitted on first use, so that sizes that nobody uses leave nothing in the graph.
    """

    _emit: Callable[[], fx.Node]
    _node: fx.Node | None
    _on_freeze: Callable[[str], None]

    @property
    def node(self) -> fx.Node:
        """The node that computes this number."""
        if self._node is None:
            self._node = self._emit()
        return self._node


class TracedInt(TracedNumber, int):
    """A size of a traced tensor, or the result of integer arithmetic on sizes."""

    def __int__(self) -> int:
        self._on_freeze("int(size)")
        return int.__int__(self)

    def __float__(self) -> float:
        self._on_freeze("float(size)")
        return int.__float__(self)


class TracedFloat(TracedNumber, float):
    """The result of a division of sizes."""

    def __float__(self) -> float:
        self._on_freeze("float(size)")
        return float.__float__(self)

    def __int__(self) -> int:
        self._on_freeze("int(size)")
        return float.__int__(self)


def traced(value: float, emit: Callable[[], fx.Node], on_freeze: Callable[[str], None]) -> Any:
    """Return ``value`` as a number that emits its node by ``emit`` and reports a loss by ``on_freeze``."""
    number: Any = TracedInt(value) if isinstance(value, int) else TracedFloat(value)
    number._emit, number._node, number._on_freeze = emit, None, on_freeze
    return number


def _divmod(self: Any, other: Any) -> tuple[Any, Any]:
    return self // other, self % other


def plain(value: float) -> float:
    """Return the number without its memory."""
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def _arithmetic(function: Callable[..., Any], swap: bool) -> Callable[..., Any]:
    def method(self: TracedNumber, *others: Any) -> Any:
        operands = (*others, self) if swap else (self, *others)
        if not all(isinstance(each, (int, float)) for each in operands):
            return NotImplemented
        value = function(*(plain(each) for each in operands))

        def emit() -> fx.Node:
            args = tuple(each.node if isinstance(each, TracedNumber) else each for each in operands)
            return self.node.graph.call_function(function, args)

        return traced(value, emit, self._on_freeze)

    return method


for _class in (TracedInt, TracedFloat):
    for _name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "lshift", "rshift", "and_", "or_", "xor"):
        setattr(_class, f"__{_name.strip('_')}__", _arithmetic(getattr(operator, _name), swap=False))
        setattr(_class, f"__r{_name.strip('_')}__", _arithmetic(getattr(operator, _name), swap=True))
    _class.__divmod__ = _divmod  # type: ignore[method-assign]  # a pair of the two recorded operations
    for _name in ("neg", "abs"):
        setattr(_class, f"__{_name}__", _arithmetic(getattr(operator, _name), swap=False))
    for _name, _function in (("floor", math.floor), ("ceil", math.ceil), ("trunc", math.trunc), ("round", round)):
        setattr(_class, f"__{_name}__", _arithmetic(_function, swap=False))


def sizes_of(tensor: torch.Tensor, node: fx.Node, on_freeze: Callable[[str], None]) -> torch.Size:
    """Return the shape of ``tensor``, each size emitting ``node.size(dim)`` on first use."""

    def size(dim: int, value: int) -> TracedInt:
        number: TracedInt = traced(value, lambda: node.graph.call_method("size", (node, dim)), on_freeze)
        return number

    return torch.Size([size(dim, value) for dim, value in enumerate(tensor.shape)])
