"""Naive joints: sums, products, choices, comparisons, concats."""

from __future__ import annotations

import operator
from functools import reduce

import numpy as np
from torch import fx

from autosubnet.ops import arithmetic, attention, concat, convolution, linear
from autosubnet.ops import call as calls
from autosubnet.ops.masks import is_zero, uniform
from autosubnet.ops.rule import Alias, Free, Replace, Rule, Tie, filled

from .mutant import Mutant, nothing

mask_of = arithmetic.mask_of
product_zeros = arithmetic.Product.zeros
concat_ties = concat.Concat.ties


def where_one_is(rule, call, zeros):
    """Zero where any operand is."""
    masks = [arithmetic.mask_of(call, each, zeros) for each in call.operands]
    return reduce(np.logical_or, masks, uniform(len(call.shape), False))


def if_one_is(rule, call, zeros):
    """Zero if any operand wholly is."""
    return filled(call.nothing_known(), any(is_zero(zeros(each)) for each in call.operands))


def what_is_left(rule, call, zero):
    """The first operand that is not zero stands for the result."""
    left = [each for each in call.operands if each not in zero]
    return Alias(left[0]) if left else None


def same_layout_or_none(rule, call, zero):
    left = what_is_left(rule, call, zero)
    return left if left and arithmetic.passes_as(call, left.operand) else None


def the_first(rule, call, zero):
    """As in a residual block, where the branch comes second."""
    first, _ = rule._terms(call)
    return Alias(first) if arithmetic.passes_as(call, first) else None


def scaled(rule, call, zero):
    """What is left, times alpha, whose ever it is."""
    left = same_layout_or_none(rule, call, zero)
    alpha = call.node.kwargs.get("alpha", 1)
    return left if left is None or alpha == 1 else Replace(operator.mul, (left.operand, alpha), {})


def same_shape(call, operand):
    return isinstance(operand, fx.Node) and calls.shape_of(operand) == call.shape


def same_dtype(call, operand):
    return isinstance(operand, fx.Node) and calls.dtype_of(operand) == calls.dtype_of(call.node)


def numbers_are_zero(call, operand, zeros):
    return mask_of(call, operand, zeros) if isinstance(operand, fx.Node) else uniform(len(call.shape), True)


def of_the_same_shape(call, operand, zeros):
    """What is zero as wide as the result; of narrower ones nothing is said."""
    narrow = isinstance(operand, fx.Node) and not same_shape(call, operand)
    return uniform(len(call.shape), False) if narrow else mask_of(call, operand, zeros)


def unless_it_may_overflow(rule, call, zeros):
    """Zero times infinity is not zero, and an exponential may become infinite on the way."""
    ahead = list(call.node.all_input_nodes)
    for node in ahead:
        ahead += [each for each in node.all_input_nodes if each not in ahead]
    return call.nothing_known() if any(each.target == "exp" for each in ahead) else product_zeros(rule, call, zeros)


def loses_its_zero(rule):
    return (rule, "zeros", nothing), (rule, "drops", what_is_left)


def blocks_left(rule, call, zero):
    """The same join of the blocks that are not zero."""
    left = [each for each in call.argument(0, "tensors") if each not in zero]
    return Replace(call.node.target, (left, *call.node.args[1:]), call.node.kwargs) if left else None


def at_the_front(rule, call):
    for tie in concat_ties(rule, call):
        yield Tie(tie.source, tie.source_dim, tie.target, tie.target_dim)


def input_and_weight_apart(ties):
    """The input's indices go without those of the weight."""

    def apart(rule, call):
        for tie in ties(rule, call):
            if isinstance(tie, Tie) and tie.source is call.input and isinstance(tie.target, str):
                yield Free(tie.source, tie.source_dim)
                yield Free(tie.target, tie.target_dim)
            else:
                yield tie

    return apart


MUTANTS = [
    Mutant("a sum is zero where one term is", ((arithmetic.Sum, "zeros", where_one_is),), coarse=True),
    Mutant("a sum is never zero", ((arithmetic.Sum, "zeros", nothing),)),
    Mutant("the first term of a sum stays", ((arithmetic.Sum, "drops", the_first),)),
    Mutant("a zero term goes whatever the sign", ((arithmetic.Sum, "drops", same_layout_or_none),)),
    Mutant("alpha scales what is left", ((arithmetic.Sum, "drops", scaled),)),
    Mutant("a zero term goes whatever its shape", ((arithmetic, "passes_as", same_dtype),)),
    Mutant("a zero term goes whatever its dtype", ((arithmetic, "passes_as", same_shape),)),
    Mutant("a number is zero", ((arithmetic, "mask_of", numbers_are_zero),)),
    Mutant("zeros do not broadcast", ((arithmetic, "mask_of", of_the_same_shape),)),
    Mutant("a product loses its zero factor", loses_its_zero(arithmetic.Product), coarse=True),
    Mutant("a quotient loses its zero numerator", loses_its_zero(arithmetic.Quotient)),
    Mutant("a matmul loses its zero factor", loses_its_zero(attention.MatMul)),
    Mutant("an einsum loses its zero factor", loses_its_zero(attention.Einsum)),
    Mutant("zero times what may overflow is not zero", ((arithmetic.Product, "zeros", unless_it_may_overflow),)),
    Mutant(
        "a choice loses its zero operand",
        ((arithmetic.Choice, "drops", what_is_left), (arithmetic.Lerp, "drops", what_is_left)),
    ),
    Mutant("a choice is zero where one operand is", ((arithmetic.Choice, "zeros", where_one_is),)),
    Mutant("a choice is never zero", ((arithmetic.Choice, "zeros", nothing),)),
    Mutant("addcmul loses its zero operand", ((arithmetic.AddProduct, "drops", what_is_left),)),
    Mutant("addcmul is zero where one operand is", ((arithmetic.AddProduct, "zeros", where_one_is),)),
    Mutant("a comparison with zero is false", ((arithmetic.Compare, "zeros", where_one_is),)),
    Mutant("a stack loses its zero blocks", ((concat.Stack, "drops", blocks_left),)),
    Mutant("a stack is zero where one block is", ((concat.Stack, "zeros", if_one_is),)),
    Mutant("a concat is zero where one block is", ((concat.Concat, "zeros", if_one_is),)),
    Mutant("blocks are cut at the front", ((concat.Concat, "ties", at_the_front),)),
    Mutant(
        "readers of a concat keep their columns",
        tuple((rule, "ties", input_and_weight_apart(rule.ties)) for rule in (linear.Linear, convolution.Convolution)),
    ),
    Mutant("unknown operators keep zero", ((Rule, "zeros", if_one_is),)),
    Mutant("a product that is added is zero where one operand is", ((attention.AddMatMul, "zeros", if_one_is),)),
]
