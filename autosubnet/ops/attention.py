"""Products of matrices, and attention."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from autosubnet.ops.call import Call, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, all_over, collapse, is_zero, with_ndim
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Rule, ZerosOf, known, leaves
from autosubnet.ops.sizes import Expression, Sizes


class MatMul(Rule):
    """(..., n, k) x (..., k, m)."""

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where the whole row and the whole column are."""
        masks = [constants(factor) for factor in call.operands]
        if len(masks) != 2 or min(mask.ndim for mask in masks) < 2:
            return super().constants(call, constants, zeros)
        ndim = len(call.shape)
        return with_ndim(collapse(masks[0], [-1]), ndim) & with_ndim(collapse(masks[1], [-2]), ndim)

    def classify(self, call: Call) -> Kind:
        """A joint of two tensors that depend on the input; a stem where one is a weight."""
        return Kind.JOINT if sum(node.meta["data"] for node in call.operands) > 1 else Kind.STEM

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where the row or the column is, or where for each k one of the two factors is."""
        factors = call.operands if len(call.operands) == 2 else (call.input, call.input)
        a, b = (zeros(factor) for factor in factors)
        if min(a.ndim, b.ndim) < 2:
            return known(call, is_zero(a) or is_zero(b))
        rows, columns = collapse(a, [-1]), collapse(b, [-2])
        terms = all_over(all_over(a, [-2])[..., None, :] | all_over(b, [-1])[..., None, :], [-1], keepdims=True)
        ndim = len(call.shape)
        return with_ndim(rows, ndim) | with_ndim(columns, ndim) | with_ndim(terms, ndim)

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """(..., n, m) of two factors with the same leading dimensions."""
        if len(call.operands) != 2:
            return None
        a, b = map(sizes.of, call.operands)
        if len(a) != len(b) or len(a) < 2 or call.shape[:-2] != shape_of(call.operands[0])[:-2]:
            return None
        if any(seen == 1 and one != other for seen, one, other in zip(call.shape[:-2], a, b, strict=False)):
            return None  # seen as 1, of which the other may be wider
        return [*a[:-1], b[-1]]

    def why_not_zero(self, call: Call) -> str:
        """No factor is zero."""
        return "none of its factors is zero"


class AddMatMul(Rule):
    """beta x + alpha (a b) (``addmm``, ``baddbmm``)."""

    def classify(self, call: Call) -> Kind:
        """A joint of two or more tensors that depend on the input, else a stem."""
        return Kind.JOINT if sum(node.meta["data"] for node in call.operands) > 1 else Kind.STEM

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where x is, and the row of a or the column of b."""
        if not (operands := self._operands(call)):
            return known(call, False)
        x, a, b = map(zeros, operands)
        return with_ndim(x, len(call.shape)) & (collapse(a, [-1]) | collapse(b, [-2]))

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where x is, and the row of a and the column of b are or one of them is zero."""
        if not (operands := self._operands(call)):
            return super().constants(call, constants, zeros)
        x, a, b = map(constants, operands)
        rows, columns = map(zeros, operands[1:])
        product = (collapse(a, [-1]) & collapse(b, [-2])) | collapse(rows, [-1]) | collapse(columns, [-2])
        return with_ndim(x, len(call.shape)) & product

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Rows of a, columns of b."""
        if not (operands := self._operands(call)):
            return None
        a, b = map(sizes.of, operands[1:])
        return [*a[:-1], b[-1]]

    def _operands(self, call: Call) -> list[fx.Node]:
        """Return the three tensors; none where they are named in an order that is not known."""
        names = ("mat1", "mat2") if call.name == "addmm" else ("batch1", "batch2")
        found = [call.argument(place, name) for place, name in enumerate(("input", *names))]
        return found if all(isinstance(each, fx.Node) for each in found) else []

    def why_not_zero(self, call: Call) -> str:
        """Another term remains."""
        return "another term of the sum is not zero"


class Einsum(Rule):
    """A sum of products, by an equation such as ``bij,bjk->bik``."""

    def classify(self, call: Call) -> Kind:
        """A joint of two tensors that depend on the input; a stem where all but one are weights."""
        return Kind.JOINT if sum(node.meta["data"] for node in call.operands) > 1 else Kind.STEM

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where all that is read of any operand is."""
        return reduce(np.logical_or, self._read(call, zeros), known(call, False))

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where all that is read of every operand is."""
        return reduce(np.logical_and, self._read(call, constants), known(call, True))

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the operands, by their letters."""
        terms = self._terms(call)
        if terms is None:
            return None
        found: dict[str, Expression] = {}
        for term, operand in zip(terms[:-1], self._operands(call), strict=True):
            for letter, size, width in zip(term, sizes.of(operand), shape_of(operand), strict=True):
                if width == 1 and found.get(letter, size) != size:
                    return None  # seen as 1, of which another may be wider
                if width > 1 or letter not in found:
                    found[letter] = size
        return [found[letter] for letter in terms[-1]]

    def why_not_zero(self, call: Call) -> str:
        """No factor is zero."""
        return "none of its factors is zero"

    def _read(self, call: Call, masks: ZerosOf) -> Iterator[Mask]:
        """Yield for each operand the mask, over the output's dimensions, of what is read of it for each entry."""
        terms = self._terms(call)
        for number, operand in enumerate(self._operands(call)):
            mask = masks(operand)
            if terms is None or len(set(terms[number])) < len(terms[number]):
                yield known(call, is_zero(mask))
                continue
            term, result = terms[number], terms[-1]
            mask = collapse(mask, [dim for dim, letter in enumerate(term) if letter not in result])
            order = [term.index(letter) for letter in result if letter in term]
            left = [dim for dim, letter in enumerate(term) if letter not in result]
            mask = mask.transpose(*order, *left).reshape([mask.shape[dim] for dim in order])
            yield mask[tuple(slice(None) if letter in term else None for letter in result)]

    def _operands(self, call: Call) -> list[fx.Node]:
        """Return the operands in the order of the equation; one may occur twice."""
        rest = call.node.args[1:]
        return list(rest[0] if len(rest) == 1 and isinstance(rest[0], (list, tuple)) else rest)

    def _terms(self, call: Call) -> list[list[str]] | None:
        """Return the letters of each operand's dimensions and of the output's; ``None`` for an equation unlike that."""
        equation = call.node.args[0]
        if not isinstance(equation, str) or "->" not in equation:
            return None
        inputs, result = equation.replace(" ", "").split("->")
        ndims = [*(len(shape_of(each)) for each in self._operands(call)), len(call.shape)]
        return [_letters(term, ndim) for term, ndim in zip([*inputs.split(","), result], ndims, strict=True)]


def _letters(term: str, ndim: int) -> list[str]:
    """Return the letter of each dimension; those behind the dots are counted from the last."""
    first, dots, last = term.partition("...")
    count = ndim - len(first) - len(last) if dots else 0
    return [*first, *(f"...{count - number}" for number in range(count)), *last]


class ScaledDotProductAttention(Rule):
    """Averages of V's rows: zero where V is; a zero Q or K gives the mean of V."""

    kind = Kind.JOINT

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Rows whose query is, if all other operands are wholly."""
        return rows_of_query(call, constants)

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Features of V that are zero in every row."""
        value = call.argument(2, "value")
        mask = zeros(value)
        same_heads = shape_of(value)[:-2] == call.shape[:-2]
        return with_ndim(collapse(mask, [-2] if same_heads else range(mask.ndim - 1)), len(call.shape))

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of Q, with the width of V; leading dimensions that Q does not have in full are those of V."""
        query, value = call.argument(0, "query"), call.argument(2, "value")
        if len(shape_of(query)) != len(call.shape) or len(shape_of(value)) != len(call.shape):
            return None
        leading = []
        for dim, (q, v) in enumerate(zip(sizes.of(query)[:-2], sizes.of(value)[:-2], strict=True)):
            leading.append(q if shape_of(query)[dim] == call.shape[dim] else v)
            unlike = call.shape[dim] == 1 and q != v  # seen as 1, of which the other may be wider
            if unlike or call.shape[dim] not in (shape_of(query)[dim], shape_of(value)[dim]):
                return None
        return [*leading, sizes.of(query)[-2], sizes.of(value)[-1]]

    def is_random(self, call: Call) -> bool:
        """Whether it drops weights."""
        return bool(call.argument(4, "dropout_p", 0.0) != 0.0)

    def why_not_zero(self, call: Call) -> str:
        """V is not zero."""
        return "its values V are not zero"


class MultiheadAttention(Rule):
    """Projections, attention and an output projection: zero where the last one is."""

    kind = Kind.STEM

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Rows whose query is, if all other operands are wholly."""
        rows, nothing = rows_of_query(call, constants), call.nothing_known()
        return (rows, *nothing[1:])

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """Features whose row and bias of the output projection are zero."""
        zero = zeros(call.tensors["out_proj.weight"]).all(axis=1)
        if "out_proj.bias" in call.tensors:
            zero = zero & zeros(call.tensors["out_proj.bias"])
        nothing = call.nothing_known()
        return (zero.reshape((1,) * (nothing[0].ndim - 1) + zero.shape), *nothing[1:])

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Of the attended values: those of the query; the weights' are not written out."""
        query = call.argument(0, "query")
        return sizes.of(query) if isinstance(query, fx.Node) and output == 0 else None

    def why_not_zero(self, call: Call) -> str:
        """Its output projection."""
        return "its output projection is not zero"

    def is_random(self, call: Call) -> bool:
        """Whether it drops weights."""
        return bool(call.setting("dropout", 9) != 0.0)


def rows_of_query(call: Call, constants: ZerosOf) -> Mask:
    """Return which rows of an attention are constant: those of constant queries, if all else is."""
    query = call.argument(0, "query")
    same = query in (call.argument(1, "key"), call.argument(2, "value"))
    others = [node for node in call.node.all_input_nodes if node is not query]
    fixed = all(is_zero(each) for node in others for each in leaves(constants(node)))
    mask = constants(query)
    return collapse(mask, range(mask.ndim) if same else [-1]) & fixed


register(MatMul(), functions=[torch.matmul, torch.bmm, torch.mm, operator.matmul], methods=["matmul", "bmm", "mm"])
register(AddMatMul(), functions=[torch.addmm, torch.baddbmm], methods=["addmm", "baddbmm"])
register(Einsum(), functions=[torch.einsum])
register(ScaledDotProductAttention(), functions=[F.scaled_dot_product_attention])
register(MultiheadAttention(), modules=[nn.MultiheadAttention])
