"""Operators over several tensors, entry by entry: sums, products, choices."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import fx

from autosubnet.ops.call import Call, is_tensor, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, uniform, varies, with_ndim
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Alias, Free, Replace, Rule, Tie, ZerosOf, known
from autosubnet.ops.sizes import Expression, Sizes, sizes_of


class Broadcast(Rule):
    """Entry by entry over operands that broadcast against each other."""

    def classify(self, call: Call) -> Kind:
        """A joint of two or more tensors that depend on the input, else an accessory."""
        return Kind.JOINT if sum(node.meta["data"] for node in call.operands) > 1 else Kind.ACCESSORY

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where all operands are."""
        if isinstance(call.nothing_known(), tuple):
            return Rule.constants(self, call, constants, zeros)
        return reduce(
            np.logical_and,
            (mask_of(call, operand, constants) for operand in call.operands),
            known(call, True),
        )

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Every index goes with the same index of each operand that has it."""
        if isinstance(call.nothing_known(), tuple):
            return
        for operand in call.operands:
            lead = len(call.shape) - len(shape_of(operand))
            for dim, size in enumerate(shape_of(operand)):
                same = size == call.shape[dim + lead]
                yield Tie(operand, dim, call.node, dim + lead) if same else Free(operand, dim)

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Dimension by dimension that of the operands that are not of size 1 there, if it is known which are."""
        if isinstance(call.nothing_known(), tuple):
            return None  # torch.where(condition) returns indices
        result: list[Any] = []
        for dim, seen in enumerate(call.shape):
            given = [_size_at(operand, dim - len(call.shape), sizes) for operand in call.operands]
            wide = [size for size, shown in given if shown == seen and size != 1]
            fixed = next((size for size in wide if isinstance(size, int)), None)
            if seen == 1 and len(set(wide)) > 1:
                result.append(None)  # at other sizes, one of them may be wider than the others
            else:
                result.append(fixed or next(iter(wide), 1))
        return result


def _size_at(operand: fx.Node, dim: int, sizes: Sizes) -> tuple[Expression, int]:
    """Return a size, counted from the last, as an expression and as it was seen; 1 ahead of the first."""
    shape = shape_of(operand)
    return (sizes.of(operand)[dim], shape[dim]) if -dim <= len(shape) else (1, 1)


def mask_of(call: Call, operand: Any, zeros: ZerosOf) -> Mask:
    """Return the mask of an operand that may be a number, seen by broadcasting against the output."""
    ndim = len(call.shape)
    if isinstance(operand, fx.Node):
        return with_ndim(zeros(operand), ndim) if is_tensor(operand) else uniform(ndim, False)
    return uniform(ndim, bool(operand == 0))


def passes_as(call: Call, operand: Any) -> bool:
    """Whether ``operand`` has the output's shape, dtype and memory layout, so that it can stand for it.

    At every size of the inputs: where it was seen with size 1, nothing else may ever be wider. A size that was seen
    larger is taken to be larger always.
    """
    if not isinstance(operand, fx.Node) or operand.meta["value"] != call.node.meta["value"]:
        return False
    own, sizes = sizes_of(operand), [sizes_of(each) for each in call.operands]
    narrow = [dim - len(own) for dim, seen in enumerate(call.shape) if seen == 1]
    return all(each[dim] in (1, own[dim]) for dim in narrow for each in sizes if -dim <= len(each))


class Sum(Broadcast):
    """a + alpha b, or a - alpha b; of ``rsub`` the operands are given the other way round."""

    def __init__(self, sign: int, *, swapped: bool = False) -> None:
        self.sign = sign
        self.swapped = swapped

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where both are."""
        first, second = self._terms(call)
        return mask_of(call, first, zeros) & mask_of(call, second, zeros)

    def _terms(self, call: Call) -> tuple[Any, Any]:
        terms = call.argument(0, "input"), call.argument(1, "other")
        return terms[::-1] if self.swapped else terms

    def why_not_zero(self, call: Call) -> str:
        """Another term remains."""
        return "another term of the sum is not zero"

    def drops(self, call: Call, zero: frozenset[fx.Node]) -> Alias | Replace | None:
        """The other term, if it alone has the shape, dtype and layout of the sum; with its sign."""
        first, second = self._terms(call)
        if second in zero and first not in zero and passes_as(call, first):
            return Alias(first)
        if first not in zero or second in zero or not passes_as(call, second):
            return None
        alpha = call.node.kwargs.get("alpha", 1)
        if isinstance(alpha, fx.Node):
            return Replace(operator.mul, (second, alpha), {}) if self.sign == 1 else None
        factor = self.sign * alpha  # type: ignore[operator]  # alpha is a number
        if factor == 1:
            return Alias(second)
        return Replace(operator.neg, (second,), {}) if factor == -1 else Replace(operator.mul, (second, factor), {})


class Product(Broadcast):
    """a * b."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where one of them is."""
        return mask_of(call, call.node.args[0], zeros) | mask_of(call, call.argument(1, "other"), zeros)

    def why_not_zero(self, call: Call) -> str:
        """No factor is zero."""
        return "none of its factors is zero"


class Quotient(Broadcast):
    """a / b."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where the numerator is: 0 / 0 is not finite, and nothing is claimed of inputs that lead there."""
        return mask_of(call, call.node.args[0], zeros) | known(call, False)

    def poles(self, call: Call) -> tuple[fx.Node, ...]:
        """The denominator."""
        denominator = call.argument(1, "other")
        return (denominator,) if isinstance(denominator, fx.Node) and is_tensor(denominator) else ()

    def why_not_zero(self, call: Call) -> str:
        """The numerator is not zero."""
        return "its numerator is not zero"


class Signed(Broadcast):
    """Tells minus zero from zero: arc tangent of two sides, copysign, signbit."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Nothing is zero."""
        return known(call, False)

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """None: what is always zero may change its sign."""
        return call.nothing_known()

    def poles(self, call: Call) -> tuple[fx.Node, ...]:
        """All operands."""
        return tuple(call.operands)

    def tells_sign(self, call: Call) -> bool:
        """Always."""
        return True

    def why_not_zero(self, call: Call) -> str:
        """It depends on the sign of a zero."""
        return "it tells minus zero from zero"


class Choice(Broadcast):
    """Takes each entry from one of its operands: maximum, minimum, where."""

    def __init__(self, first: int = 0) -> None:
        self.first = first

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """Zero where all that it may take are."""
        chosen = call.node.args[self.first : self.first + 2]
        if len(chosen) < 2:
            return call.nothing_known()  # torch.where(condition) returns indices
        return reduce(np.logical_and, (mask_of(call, each, zeros) for each in chosen))

    def chosen(self, call: Call) -> tuple[fx.Node, tuple[Any, ...]] | None:
        """By the condition of ``where``."""
        condition, *operands = (call.argument(*each) for each in ((0, "condition"), (1, "input"), (2, "other")))
        return (condition, tuple(operands)) if self.first and operands[1] is not None else None

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Where the condition may pass over all but what is claimed."""
        return passes_over(call, self.chosen(call), masks)

    def why_not_zero(self, call: Call) -> str:
        """Something else may be taken."""
        return "it may take an entry that is not zero"


class Lerp(Choice):
    """start + weight (end - start): a part of each."""

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where all three are; or the start is and the weight is zero; or both ends are zero."""
        ends = (call.input, call.argument(1, "end"))
        weight = call.argument(2, "weight")
        start, end = (mask_of(call, each, constants) for each in ends)
        part = mask_of(call, weight, constants) if isinstance(weight, fx.Node) else known(call, True)
        zero_start, zero_end, zero_part = (mask_of(call, each, zeros) for each in (*ends, weight))
        return (start & ((end & part) | zero_part)) | (zero_start & zero_end) | known(call, False)

    def drops(self, call: Call, zero: frozenset[fx.Node]) -> Replace | None:
        """The other operand's part. Under autocast an explicit zero may lack the other's dtype, which lerp asks for."""
        start, end, weight = call.input, call.argument(1, "end"), call.argument(2, "weight")
        if start in zero and end not in zero and passes_as(call, end):
            return Replace(torch.mul, (end, weight), {})
        if end in zero and start not in zero and passes_as(call, start) and not isinstance(weight, fx.Node):
            return Replace(torch.mul, (start, 1 - weight), {})
        return None


class MaskedFill(Broadcast):
    """Replaces entries by a number."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where the input is, if the number is."""
        return mask_of(call, call.input, zeros) & mask_of(call, call.argument(2, "value"), zeros)

    def chosen(self, call: Call) -> tuple[fx.Node, tuple[Any, ...]]:
        """By the mask."""
        return call.argument(1, "mask"), (call.input, call.argument(2, "value"))

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Where the mask may fill all but what is claimed."""
        return passes_over(call, self.chosen(call), masks)


class AddProduct(Broadcast):
    """x + value a b (``addcmul``)."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where x is, and a or b."""
        x, a, b = (mask_of(call, each, zeros) for each in self._operands(call))
        return x & (a | b)

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> Mask:
        """Where x is, and a and b are or one of them is zero."""
        x, a, b = (mask_of(call, each, constants) for each in self._operands(call))
        zero_a, zero_b = (mask_of(call, each, zeros) for each in self._operands(call)[1:])
        return x & ((a & b) | zero_a | zero_b)

    def drops(self, call: Call, zero: frozenset[fx.Node]) -> Alias | Replace | None:
        """X alone where the product is zero."""
        x, a, b = self._operands(call)
        return Alias(x) if (a in zero or b in zero) and x not in zero and passes_as(call, x) else None

    def _operands(self, call: Call) -> tuple[Any, Any, Any]:
        return call.input, call.argument(1, "tensor1"), call.argument(2, "tensor2")


class Compare(Broadcast):
    """Comparisons and logic: ``False`` is zero."""

    def __init__(self, differs: bool) -> None:
        self.differs = differs

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """False where both operands are zero, if it asks in what they differ."""
        if not self.differs:
            return call.nothing_known()
        first, second = call.node.args[0], call.argument(1, "other")
        return mask_of(call, first, zeros) & mask_of(call, second, zeros)

    def why_not_zero(self, call: Call) -> str:
        """One of two zeros may be."""
        return "it compares, and what it finds of zeros may be true"


def passes_over(call: Call, chosen: tuple[fx.Node, tuple[Any, ...]] | None, masks: ZerosOf) -> bool:
    """Whether a part is claimed of an operand along dimensions in which a condition may take another part."""
    if chosen is None:
        return False
    condition, operands = chosen
    ndim = len(call.shape)
    told_apart = [ndim - back for back, size in enumerate(reversed(shape_of(condition)), 1) if size != 1]
    return any(varies(with_ndim(masks(each), ndim), told_apart) for each in operands if isinstance(each, fx.Node))


register(Sum(1), functions=[operator.add, torch.add], methods=["add"])
register(Sum(-1), functions=[operator.sub, torch.sub, torch.subtract], methods=["sub", "subtract"])
register(Sum(-1, swapped=True), functions=[torch.rsub])
register(Product(), functions=[operator.mul, torch.mul, torch.multiply], methods=["mul", "multiply"])
register(Quotient(), functions=[operator.truediv, torch.div], methods=["div", "true_divide"])
register(
    Signed(),
    functions=[torch.atan2, torch.arctan2, torch.copysign, torch.signbit],
    methods=["atan2", "arctan2", "copysign", "signbit"],
)
register(Choice(), functions=[torch.maximum, torch.minimum], methods=["maximum", "minimum"])
register(Lerp(), functions=[torch.lerp], methods=["lerp"])
register(Choice(1), functions=[torch.where])
register(MaskedFill(), functions=[torch.masked_fill], methods=["masked_fill"])
register(AddProduct(), functions=[torch.addcmul], methods=["addcmul"])
register(
    Compare(differs=True),
    functions=[torch.ne, torch.lt, torch.gt, torch.logical_or],
    methods=["ne", "lt", "gt", "logical_or"],
)
register(
    Compare(differs=False),
    functions=[torch.eq, torch.le, torch.ge],
    methods=["eq", "le", "ge"],
)
register(Product(), functions=[torch.logical_and], methods=["logical_and"])
