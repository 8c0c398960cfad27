"""Products of matrices, and attention."""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import fx, nn

from autosubnet.ops.call import Call, is_tensor, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, all_over, collapse, is_zero, with_ndim
from autosubnet.ops.registry import register_rule
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
        a, b = (sizes.of(factor) for factor in call.operands)
        return (
            [*a[:-1], b[-1]] if len(a) == len(b) >= 2 and call.shape[:-2] == shape_of(call.operands[0])[:-2] else None
        )

    def why_not_zero(self, call: Call) -> str:
        """No factor is zero."""
        return "none of its factors is zero"


class Einsum(Rule):
    """A sum of products: zero where a factor is wholly zero."""

    def classify(self, call: Call) -> Kind:
        """A joint of two tensors that depend on the input; a stem where all but one are weights."""
        return Kind.JOINT if sum(node.meta["data"] for node in call.operands) > 1 else Kind.STEM

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where any operand is wholly zero."""
        return known(call, any(is_zero(zeros(operand)) for operand in call.operands if is_tensor(operand)))


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
            if call.shape[dim] not in (shape_of(query)[dim], shape_of(value)[dim]):
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
        """Of the attended values: those of the query."""
        query = call.argument(0, "query")
        return sizes.of(query) if isinstance(query, fx.Node) else None

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


register_rule(MatMul(), functions=[torch.matmul, torch.bmm, torch.mm, operator.matmul], methods=["matmul", "bmm", "mm"])
register_rule(Einsum(), functions=[torch.einsum])
register_rule(ScaledDotProductAttention(), functions=[F.scaled_dot_product_attention])
register_rule(MultiheadAttention(), modules=[nn.MultiheadAttention])
