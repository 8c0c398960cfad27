"""Sizes of tensors as expressions: what a zero that replaces a computation must follow.

A size is an ``int``, a size of a tensor that is computed anyway, or arithmetic on such.
"""

from __future__ import annotations

import math
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


ARITHMETIC = frozenset({operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, operator.neg})
"""Functions of numbers that can be written out as expressions."""


def is_size(node: fx.Node) -> bool:
    """Whether a node reads one size of a tensor."""
    return node.op == "call_method" and node.target == "size" and len(node.args) == 2


def sizes_of(node: fx.Node) -> list[Expression]:
    """Return the sizes of the tensor that a node computes, by those of the inputs."""
    sizes: list[Expression] = node.meta["sizes"]
    return sizes


def lead(size: Expression) -> int:
    """Return how many indices come first at every size: those of the first block of a concat, if it is fixed."""
    if isinstance(size, int):
        return size
    if not isinstance(size, Arithmetic):
        return 0
    first, rest = size.operands[0], size.operands[-1]
    if size.function is operator.mul and isinstance(rest, int):
        return lead(first) * max(rest, 0)
    if size.function is not operator.add:
        return 0
    less = rest < 0 if isinstance(rest, int) else getattr(rest, "function", None) in (operator.neg, operator.sub)
    return 0 if less else lead(first)


def reaches(size: Expression, other: Expression) -> bool:
    """Whether a size is known to be ``other`` or more: that, or that and what is never negative."""
    sums = isinstance(size, Arithmetic) and size.function is operator.add
    return bool(size == other or (sums and size.operands[0] == other and _is_natural(size.operands[1])))


def _is_natural(number: Expression) -> bool:
    if isinstance(number, int):
        return number >= 0
    if isinstance(number, Arithmetic) and number.function is operator.mod:
        return isinstance(number.operands[1], int) and number.operands[1] > 0
    if isinstance(number, Arithmetic) and number.function in (operator.add, operator.mul, operator.floordiv):
        return all(map(_is_natural, number.operands))
    return isinstance(number, Size)


def apply(function: Callable[..., Any], *operands: Expression) -> Expression:
    """Return arithmetic on sizes, computed where all are known."""
    if all(isinstance(each, int) for each in operands):
        return function(*operands)
    if function in (operator.add, operator.sub) and operands[1] == 0:
        return operands[0]
    if function is operator.add and isinstance(operands[1], int) and _adds_number(operands[0]):
        return apply(operator.add, operands[0].operands[0], operands[0].operands[1] + operands[1])
    if function in (operator.mul, operator.floordiv) and operands[1] == 1:
        return operands[0]
    return Arithmetic(function, operands)


def _adds_number(expression: Expression) -> bool:
    """Whether an expression is a sum whose last term is a number: such terms are added up here."""
    sums = isinstance(expression, Arithmetic) and expression.function is operator.add
    return sums and isinstance(expression.operands[1], int)


def product(sizes: Sequence[Expression]) -> Expression:
    """Return the product of sizes; known ones first, so that they are multiplied here."""
    ordered = sorted(sizes, key=lambda each: not isinstance(each, int))
    return reduce(lambda a, b: apply(operator.mul, b, a), ordered, 1)


def quotient(sizes: Sequence[Expression], divisors: Sequence[Expression]) -> Expression:
    """Return the product of sizes over that of others, which divides it; what is in both is left out."""
    left, over = [each for each in sizes if not isinstance(each, int)], []
    for each in (each for each in divisors if not isinstance(each, int)):
        if each in left:
            left.remove(each)
        else:
            over.append(each)
    above, below = (math.prod(each for each in group if isinstance(each, int)) for group in (sizes, divisors))
    if not over and below and above % below == 0:
        return product([above // below, *left])
    return apply(operator.floordiv, product([above, *left]), product([below, *over]))


def windows(
    size: Expression, kernel: int, stride: int, padding: int, dilation: int, *, ceil: bool = False
) -> Expression:
    """Return how many windows fit: (n + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down or up.

    ``None`` where rounded up the last window may begin behind the input and its padding: torch leaves that one out.
    """
    reach = dilation * (kernel - 1) + 1
    if ceil and stride + padding > reach:
        return None
    span = 2 * padding - reach
    if stride == 1:
        return apply(operator.add, size, span + 1)
    rounding = stride - 1 if ceil else 0
    return apply(operator.add, apply(operator.floordiv, apply(operator.add, size, span + rounding), stride), 1)


def reads_all(size: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    """Return whether each of ``size`` entries lies in some window."""
    starts = range(-padding, size + padding - dilation * (kernel - 1), stride)
    return {start + step * dilation for start in starts for step in range(kernel)} >= set(range(size))


def leaves(expressions: Iterable[Expression]) -> Iterator[Size | Number]:
    """Yield what the expressions read off live nodes."""
    for each in expressions:
        if isinstance(each, (Size, Number)):
            yield each
        elif isinstance(each, Arithmetic):
            yield from leaves(each.operands)


def has_fixed_shape(weight: Value | None, sizes: Sizes) -> bool:
    """Whether a weight has the same shape whatever the inputs: it is the model's, or computed from such alone."""
    if not isinstance(weight, fx.Node) or all(isinstance(size, int) for size in sizes.of(weight)):
        return True
    seen, pending = {weight}, [weight]
    while pending:
        node = pending.pop()
        if node.op == "placeholder":
            return False
        fresh = [source for source in node.all_input_nodes if source not in seen]
        seen.update(fresh)
        pending += fresh
    return True
