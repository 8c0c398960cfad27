"""Sizes of tensors as expressions: what a zero that replaces a computation must follow.

A size is an ``int``, a size of a tensor that is computed anyway, or arithmetic on such.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

from torch import fx

from autosubnet.ops.call import Value

Expression = Any  # int | Size | Number | Arithmetic


@dataclass(frozen=True)
class Size:
    """A size of a live tensor."""

    node: fx.Node
    dim: int


@dataclass(frozen=True)
class Number:
    """A number that a live node computes."""

    node: fx.Node


@dataclass(frozen=True)
class Arithmetic:
    """Arithmetic on sizes."""

    function: Callable[..., Any]
    operands: tuple[Expression, ...]


class Sizes(Protocol):
    """What a rule can ask for when it writes out the sizes of its output."""

    def of(self, value: Value) -> list[Expression]:
        """Return the sizes of an operand."""

    def number(self, value: Any) -> Expression:
        """Return a number among the arguments as an expression."""


def apply(function: Callable[..., Any], *operands: Expression) -> Expression:
    """Return arithmetic on sizes, computed where all are known."""
    if all(isinstance(each, int) for each in operands):
        return function(*operands)
    if function in (operator.add, operator.sub) and operands[1] == 0:
        return operands[0]
    if function in (operator.mul, operator.floordiv) and operands[1] == 1:
        return operands[0]
    return Arithmetic(function, operands)


def product(sizes: Sequence[Expression]) -> Expression:
    """Return the product of sizes; known ones first, so that they are multiplied here."""
    ordered = sorted(sizes, key=lambda each: not isinstance(each, int))
    return reduce(lambda a, b: apply(operator.mul, b, a), ordered, 1)


def windows(size: Expression, kernel: int, stride: int, padding: int, dilation: int) -> Expression:
    """Return how many windows fit: (n + 2 padding - dilation (kernel - 1) - 1) // stride + 1."""
    span = 2 * padding - dilation * (kernel - 1) - 1
    if stride == 1:
        return apply(operator.add, size, span + 1)
    return apply(operator.add, apply(operator.floordiv, apply(operator.add, size, span), stride), 1)


def leaves(expressions: Iterable[Expression]) -> Iterator[Size | Number]:
    """Yield what the expressions read off live nodes."""
    for each in expressions:
        if isinstance(each, (Size, Number)):
            yield each
        elif isinstance(each, Arithmetic):
            yield from leaves(each.operands)
