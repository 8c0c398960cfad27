"""Naive operators on one tensor: activations, norms, layers, and what moves entries about."""

from __future__ import annotations

import math
import operator

from autosubnet.ops import convolution, elementwise, layout, linear, normalization, reduction, reshape, slicing
from autosubnet.ops.call import shape_of
from autosubnet.ops.masks import is_zero, uniform
from autosubnet.ops.rule import Free, Tie, filled, tie_all
from autosubnet.ops.sizes import apply

from .joints import if_one_is, what_is_left, where_one_is
from .mutant import Mutant, nothing, of_the_input

item_zeros = slicing.GetItem.zeros
convolution_zeros = convolution.Convolution.zeros
affine_mask = normalization.Normalization.affine_mask


def to_the_input(rule, call):
    return tie_all(call, call.input)


def anything_goes(rule, call):
    """Whoever loses indices, the others follow by themselves."""
    for value in (call.input, call.node):
        for dim in range(len(shape_of(value))):
            yield Free(value, dim)


def unchanged_order(rule, call):
    return range(len(call.shape))


def of_a_whole(rule, call, zeros):
    """Zero if all of what is indexed is."""
    mask = zeros(call.node.args[0])
    return item_zeros(rule, call, zeros) if isinstance(mask, tuple) else filled(call.nothing_known(), is_zero(mask))


def unless_it_pads(rule, call, zeros):
    return call.nothing_known() if call.setting("padding", 4) else convolution_zeros(rule, call, zeros)


def without_bias(rule, call, zeros):
    bias = call.tensor("bias", 2)
    return convolution_zeros(rule, call, lambda value: uniform(1, True) if value == bias else zeros(value))


def of_all_channels(rule, call, zeros):
    """Zero if all of the image is; of several outputs, nothing."""
    nothing_known = call.nothing_known()
    return nothing_known if isinstance(nothing_known, tuple) else filled(nothing_known, is_zero(zeros(call.input)))


def weight_or_input(rule, call, zeros):
    """Zero where the weight is, or the input; whatever the bias."""
    weight, _ = rule.affine_mask(call, zeros)
    mask = zeros(call.input)
    if weight is None:
        return mask
    return mask | (weight if isinstance(rule, normalization.LayerNorm) else by_channel(call, weight))


def weight_alone(rule, call, zeros):
    """Zero where the weight is, whatever the bias."""
    weight, _ = rule.affine_mask(call, zeros)
    return uniform(len(call.shape), False) if weight is None else by_channel(call, weight)


def by_channel(call, mask):
    return mask.reshape(1, -1, *(1,) * (len(call.shape) - 2))


def without_the_weight(rule, call, zeros):
    """A zero weight is not seen."""
    weight, bias = affine_mask(rule, call, zeros)
    return None if weight is None else uniform(weight.ndim, False), bias


def without_the_input(zeros_of):
    """A zero input is not seen."""

    def found(rule, call, zeros):
        def of(value):
            return uniform(len(call.shape), False) if value is call.input else zeros(value)

        return zeros_of(rule, call, of)

    return found


def all_dims_and_parameters(rule, call):
    """Channels in front of the norm go with channels behind it, as if each had its own statistics."""
    yield from tie_all(call, call.input)
    channels = 1 if isinstance(rule, normalization.GroupNorm) else len(call.shape) - 1
    for value in rule.parameters(call):
        if value is not None:
            yield Tie(call.node, channels, value, 0)


# ------------------------------------------------------------------ sizes


def of_its_input(rule, call, sizes, output=0):
    return sizes.of(call.input)


def as_seen(rule, call, sizes, output=0):
    return list(call.shape)


def one_a_step(rule, call, sizes, output=0):
    """As many windows as steps."""
    *lead, height, width = sizes.of(call.input)
    step = call.setting("stride", 2)
    return [*lead, *(apply(operator.floordiv, size, step) for size in (height, width))]


def rounded_up(size, factor):
    return apply(math.ceil, apply(operator.mul, size, factor))


MUTANTS = [
    Mutant(
        "no activation keeps zero",
        tuple((rule, "zeros", nothing) for rule in (elementwise.KeepsZero, elementwise.Clamp, elementwise.Power)),
    ),
    Mutant("every activation keeps zero", ((elementwise.LosesZero, "zeros", of_the_input),)),
    Mutant("a clamp keeps zero whatever its bounds", ((elementwise.Clamp, "zeros", of_the_input),)),
    Mutant("a zero bound is no bound", ((elementwise.Clamp, "drops", what_is_left),)),
    Mutant("softmax keeps zero", ((elementwise.Softmax, "zeros", if_one_is),)),
    Mutant("a power is zero where one operand is", ((elementwise.Power, "zeros", where_one_is),)),
    Mutant(
        "what moves entries about may lose a zero",
        tuple(
            (rule, "zeros", nothing)
            for rule in (layout.Layout, layout.Permute, layout.Expand, layout.Pad, reshape.Reshape)
        ),
    ),
    Mutant(
        "channels stay where they are",
        (
            (layout.Permute, "order", unchanged_order),
            *((rule, "zeros", of_the_input) for rule in (layout.Moving, layout.Pad)),
            *((rule, "ties", to_the_input) for rule in (layout.Moving, layout.Pad)),
        ),
    ),
    Mutant("what moves entries about lets any index go", ((layout.Layout, "ties", anything_goes),)),
    Mutant("padding is zero", ((layout.Pad, "zeros", of_the_input),)),
    Mutant("padding adds nothing", ((layout.Pad, "sizes", of_its_input),)),
    Mutant("pooling mixes channels", ((reduction.Spatial, "zeros", of_all_channels),)),
    Mutant("there are as many windows as steps", ((reduction.Window, "sizes", one_a_step),)),
    Mutant("adaptive pooling gives what it gave", ((reduction.Adaptive, "sizes", as_seen),)),
    Mutant("interpolation rounds sizes up", ((reduction, "_scaled", rounded_up),)),
    Mutant("an index may take anything", ((slicing.GetItem, "zeros", of_a_whole),)),
    Mutant("a convolution that pads is not zero", ((convolution.Convolution, "zeros", unless_it_pads),)),
    Mutant("a convolution has no bias", ((convolution.Convolution, "zeros", without_bias),)),
    Mutant("a layer has one input", ((linear.Bilinear, "zeros", nothing),)),
    Mutant("BatchNorm keeps zero", ((normalization.BatchNorm, "zeros", weight_or_input),)),
    Mutant("BatchNorm has no bias", ((normalization.BatchNorm, "zeros", weight_alone),)),
    Mutant("GroupNorm has no bias", ((normalization.GroupNorm, "zeros", weight_or_input),)),
    Mutant("LayerNorm has no bias", ((normalization.LayerNorm, "zeros", weight_or_input),)),
    Mutant("no affine makes a norm zero", ((normalization.Normalization, "affine_mask", without_the_weight),)),
    Mutant(
        "no norm keeps zero",
        tuple(
            (rule, "zeros", without_the_input(rule.zeros))
            for rule in (normalization.BatchNorm, normalization.GroupNorm, normalization.LayerNorm)
        ),
    ),
    Mutant(
        "channels are normalised by themselves",
        tuple(
            patch
            for rule in (normalization.GroupNorm, normalization.LayerNorm)
            for patch in ((rule, "zeros", weight_or_input), (rule, "ties", all_dims_and_parameters))
        ),
    ),
]
