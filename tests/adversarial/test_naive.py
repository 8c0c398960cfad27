"""Every specimen of the zoo was seen failing: here are the naive implementations that it breaks, and what tells."""

from __future__ import annotations

import pytest

from autosubnet.errors import AutoSubnetError, AutoSubnetWarning

from . import test_adversarial as zoo
from .naive import MUTANTS, Mutant
from .specimen import Specimen

LIBRARY = (AutoSubnetError, AutoSubnetWarning)  # it sees for itself that the networks differ, or an output is constant
TESTS = AssertionError  # verification is content; the promises are not
OTHER_SIZES = RuntimeError  # verification is content; at a size that it did not try, the subnet does not run

# By mutant, which specimens must fail, and who tells.
CAUGHT = {
    "a sum is zero where one term is": (LIBRARY, ["a sum"]),
    "a sum is never zero": (TESTS, ["the difference of a zero with itself"]),
    "the first term of a sum stays": (LIBRARY, ["Python's sum", "in-place sum onto zero", "all but one path"]),
    "a zero term goes whatever the sign": (LIBRARY, ["zero minus a branch", "alpha on what stays", "rsub"]),
    "alpha scales what is left": (LIBRARY, ["alpha on what goes"]),
    "a zero term goes whatever its shape": (LIBRARY, ["a zero that widens"]),
    "a zero term goes whatever its dtype": (LIBRARY, ["a zero that promotes"]),
    "a number is zero": (
        LIBRARY,
        [
            "a number minus zero",
            "a number plus zero",
            "alpha on what stays",
            "a zero that promotes",
            "a reciprocal of zero is not zero",
            "masked_fill with -inf of zero scores",
        ],
    ),
    "zeros do not broadcast": (TESTS, ["a zero that is widened"]),
    "a product loses its zero factor": (LIBRARY, ["a gated zero", "a product of three"]),
    "a quotient loses its zero numerator": (LIBRARY, ["a quotient"]),
    "a matmul loses its zero factor": (
        LIBRARY,
        [
            "matmul",
            "matmul of a zero query",
            "masked_fill with -inf",
            "a mask of -inf that is added",
            "a mask of -inf that is added to zero scores",
        ],
    ),
    "an einsum loses its zero factor": (
        LIBRARY,
        ["einsum as a product", "einsum over channels", "attention by einsum"],
    ),
    "zero times what may overflow is not zero": (TESTS, ["an overflow that is clamped"]),
    "a choice loses its zero operand": (
        LIBRARY,
        ["where", "maximum", "lerp", "one branch read by four joints", "log(0) behind where"],
    ),
    "a choice is zero where one operand is": (LIBRARY, ["where", "maximum", "lerp"]),
    "a choice is never zero": (TESTS, ["where both are zero"]),
    "addcmul loses its zero operand": (LIBRARY, ["addcmul onto zero"]),
    "addcmul is zero where one operand is": (LIBRARY, ["addcmul", "addcmul onto zero"]),
    "a comparison with zero is false": (
        LIBRARY,
        ["a comparison with zero", "y <= 0 of zero is not zero", "a choice by a comparison of zeros"],
    ),
    "a stack loses its zero blocks": (LIBRARY, ["minimum with indices", "stack and mean"]),
    "a stack is zero where one block is": (
        LIBRARY,
        ["minimum with indices", "stack and sum", "stack and mean", "stack and max"],
    ),
    "a concat is zero where one block is": (LIBRARY, ["a zero between two in a concat", "a zero twice in a concat"]),
    "blocks are cut at the front": (
        LIBRARY,
        ["a zero between two in a concat", "two hundred in one concat", "a U-Net"],
    ),
    "readers of a concat keep their columns": (
        LIBRARY,
        [
            "a zero between two in a concat",
            "a U-Net",
            "a narrowed convolution padded with zeros",
            "a narrowed convolution padded with reflect",
            "a narrowed convolution padded with replicate",
            "a narrowed convolution padded with circular",
        ],
    ),
    "unknown operators keep zero": (
        LIBRARY,
        [
            "addcdiv",
            "a zero softmax",
            "matmul of a zero query",
            "softmax of zero is not zero",
            "log_softmax of zero is not zero",
            "logsumexp of zero is not zero",
            "acos of zero is not zero",
            "y == 0 of zero is not zero",
            "not y of zero is not zero",
            "one_hot of argmax of zero is not zero",
            "unpooling of zero",
            "real and imaginary parts",
            "bits",
        ],
    ),
    "a product that is added is zero where one operand is": (LIBRARY, ["baddbmm", "baddbmm onto zero"]),
    "no activation keeps zero": (
        TESTS,
        [
            "a negated zero",
            "elu of zero is zero",
            "selu of zero is zero",
            "celu of zero is zero",
            "mish of zero is zero",
            "hardswish of zero is zero",
            "gelu of zero is zero",
            "softsign of zero is zero",
            "expm1 of zero is zero",
            "log1p of zero is zero",
            "erf of zero is zero",
            "asinh of zero is zero",
            "clamp from zero of zero is zero",
            "a power of zero is zero",
            "a float32 island that is zero",
        ],
    ),
    "every activation keeps zero": (
        LIBRARY,
        [
            "a gate that is half open",
            "a quotient by one",
            "sigmoid of zero is not zero",
            "hardsigmoid of zero is not zero",
            "logsigmoid of zero is not zero",
            "exp of zero is not zero",
            "cos of zero is not zero",
            "softplus of zero is not zero",
            "threshold of zero is not zero",
            "Lp pooling of a gate",
            "pixel shuffle of a gate",
            "a float32 island that is one half",
            "a bfloat16 island",
        ],
    ),
    "a clamp keeps zero whatever its bounds": (LIBRARY, ["clamp from one tenth of zero is not zero"]),
    "a zero bound is no bound": (LIBRARY, ["clamped from below"]),
    "softmax keeps zero": (LIBRARY, ["a zero softmax", "matmul of a zero query"]),
    "a power is zero where one operand is": (
        LIBRARY,
        ["a power to zero", "pow(0) of zero is not zero", "2 ** y of zero is not zero"],
    ),
    "what moves entries about may lose a zero": (TESTS, ["a zero that is expanded", "unfold and fold"]),
    "channels stay where they are": (
        LIBRARY,
        ["cumsum over channels", "a flip", "a roll", "channel shuffle", "padded channels"],
    ),
    "what moves entries about lets any index go": (LIBRARY, ["pixel shuffle"]),
    "padding is zero": (LIBRARY, ["F.pad with one half", "ConstantPad2d with one half"]),
    "padding adds nothing": (LIBRARY, ["F.pad: constant", "F.pad: reflect", "F.pad: replicate", "F.pad: circular"]),
    "pooling mixes channels": (
        TESTS,
        [
            "max pooling with padding of a concat",
            "max pooling with dilation of a concat",
            "max pooling with ceil_mode of a concat",
            "average pooling with padding of a concat",
            "average pooling without its padding of a concat",
            "average pooling with ceil_mode of a concat",
            "average pooling with a divisor of a concat",
            "adaptive max pooling of a concat",
            "adaptive average pooling of a concat",
        ],
    ),
    "there are as many windows as steps": (
        (*LIBRARY, OTHER_SIZES),
        [
            "max pooling with padding of a zero",
            "max pooling with dilation of a zero",
            "max pooling with ceil_mode of a zero",
            "average pooling with padding of a zero",
            "average pooling without its padding of a zero",
            "average pooling with ceil_mode of a zero",
            "average pooling with a divisor of a zero",
        ],
    ),
    "adaptive pooling gives what it gave": (
        LIBRARY,
        ["adaptive max pooling of a zero", "adaptive average pooling of a zero"],
    ),
    "interpolation rounds sizes up": (
        (*LIBRARY, OTHER_SIZES),
        [
            "interpolation: nearest",
            "interpolation: nearest-exact",
            "interpolation: bilinear",
            "interpolation: area",
            "interpolation: antialias",
        ],
    ),
    "an index may take anything": (TESTS, ["stack and index"]),
    "a convolution that pads is not zero": (
        TESTS,
        [
            "a zero convolution padded with zeros",
            "a zero convolution padded with reflect",
            "a zero convolution padded with replicate",
            "a zero convolution padded with circular",
        ],
    ),
    "a convolution has no bias": (
        LIBRARY,
        [
            "a convolution of zero padded with zeros",
            "a convolution of zero padded with reflect",
            "a convolution of zero padded with replicate",
            "a convolution of zero padded with circular",
        ],
    ),
    "a layer has one input": (TESTS, ["a bilinear layer"]),
    "BatchNorm keeps zero": (
        LIBRARY,
        [
            "BatchNorm without affine",
            "BatchNorm of a zero",
            "BatchNorm whose weight alone is zero",
            "BatchNorm without statistics",
            "InstanceNorm with statistics",
            "BatchNorm behind a concat",
            "BatchNorm without affine behind a concat",
            "SyncBatchNorm of a zero",
            "BatchNorm behind a concat with the input",
            "BatchNorm behind a concat of a tensor beside itself",
        ],
    ),
    "BatchNorm has no bias": (LIBRARY, ["BatchNorm whose weight alone is zero"]),
    "GroupNorm has no bias": (LIBRARY, ["GroupNorm of a zero"]),
    "LayerNorm has no bias": (LIBRARY, ["LayerNorm of a zero"]),
    "no affine makes a norm zero": (
        TESTS,
        [
            "BatchNorm whose affine is zero",
            "SyncBatchNorm whose affine is zero",
            "InstanceNorm with affine",
            "GroupNorm whose affine is zero",
            "BatchNorm over rows",
            "BatchNorm over tokens",
            "LayerNorm over tokens and channels",
        ],
    ),
    "no norm keeps zero": (
        TESTS,
        [
            "InstanceNorm",
            "GroupNorm without affine",
            "LayerNorm without affine",
            "LayerNorm without bias",
            "RMSNorm of a zero",
            "InstanceNorm behind a concat",
        ],
    ),
    "channels are normalised by themselves": (
        LIBRARY,
        [
            "GroupNorm behind a concat",
            "GroupNorm of whole groups behind a concat",
            "LayerNorm behind a concat",
            "RMSNorm behind a concat",
        ],
    ),
    "no memory is shared": (
        LIBRARY,
        ["a zero that is written through a view", "a slice that is set", "two tensors that swap a column"],
    ),
    "nobody else reads what is written": (
        (*LIBRARY, TESTS),
        [
            "a write through a transposed view",
            "half of a tensor multiplied by zero in place",
            "buffers updated in forward",
            "an in-place activation on a slice",
        ],
    ),
    "what is written is not followed": (TESTS, ["in-place sum onto zero", "an in-place activation of a zero"]),
    "a tensor is computed once": (
        (*LIBRARY, TESTS),
        [
            "in-place sum",
            "in-place sum onto zero",
            "an in-place activation that is read elsewhere",
            "a sum onto an alias",
            "a sum onto the alias of a zero",
            "dropout in place",
            "writes whose result nobody reads",
            "a zero that is written",
            "a zero that is filled by a mask",
            "a copy of the input is written",
        ],
    ),
    "what nobody reads has no effect": (
        (*LIBRARY, TESTS),
        [
            "a view that is written through",
            "a slice that is set to a zero branch",
            "a zero that is written through a view",
            "a slice that is set",
            "a column that is set to zero",
            "columns set one by one",
            "a write through a transposed view",
        ],
    ),
    "hooks do nothing": (LIBRARY, ["a hook that adds", "a hook that doubles", "a pre-hook"]),
    "a module is its base class": (
        (*LIBRARY, TESTS),
        ["a subclass that adds one", "weight_norm as a parametrisation", "weight standardisation"],
    ),
    "every module is a leaf": (
        TESTS,
        [
            "a subclass that adds one",
            "a subclass that scales",
            "a tied embedding",
            "weight_norm as a parametrisation",
            "an encoder layer",
            "parameters in lists and dicts",
        ],
    ),
    "a layer is of the class that it was made as": (TESTS, ["a lazy module that was initialised"]),
    "weights are what is stored": (LIBRARY, ["masks of torch.nn.utils.prune", "everything pruned but the bias"]),
    "a function has the gradient of what it does": (TESTS, ["a function of its own gradient"]),
    "the lesser half of a layer is zero": (LIBRARY, ["nothing can go"]),
    "what does not train stays": (TESTS, ["a frozen branch of zeros"]),
    "what several read stays": (TESTS, ["a shared weight of zeros", "a module called twice"]),
    "sizes are those of the example": (
        LIBRARY,
        [
            "an empty tensor that is filled with zeros",
            "a zero that is scattered",
            "views",
            "a residual over views",
            "interpolation: bicubic",
            "interpolation to a size",
        ],
    ),
    "a zero is one number": (
        LIBRARY,
        [
            "attention modules",
            "local response norm",
            "grid_sample",
            "a Fourier transform of zero",
            "a filter that is zero",
            "an order of zeros",
        ],
    ),
    "a zero is of the input's dtype": (TESTS, ["a zero of lesser precision"]),
    "what is read is computed": (TESTS, ["a cumulative product of zero is zero", "xlogy of zero is zero"]),
    "every parameter trains": (TESTS, ["a frozen branch"]),
    "every tensor is of one dtype": (LIBRARY, ["complex and integer buffers"]),
    "weights lie one row after the other": (
        LIBRARY,
        ["a weight in another order", "channels last", "channels last ahead of dropout"],
    ),
    "every module has tensors of its own": (TESTS, ["a shared weight one use of which dies"]),
    "a norm's momentum is one tenth": (LIBRARY, ["BatchNorm without momentum"]),
    "every convolution pads with zeros": (
        LIBRARY,
        [
            "a narrowed convolution padded with reflect",
            "a narrowed convolution padded with replicate",
            "a narrowed convolution padded with circular",
        ],
    ),
    "what nobody calls is carried over": (TESTS, ["dead at birth"]),
    "a module is called once": (LIBRARY, ["containers in containers", "a module called twice"]),
    "gradients flow where values do": (TESTS, ["a detached zero"]),
    "an operator has one result": (
        LIBRARY,
        ["unpooling", "indices of a maximum", "a recurrent layer", "indices of an adaptive maximum"],
    ),
    "an input that nobody reads goes": (LIBRARY, ["two inputs"]),
    "a network returns one tensor": (LIBRARY, ["two outputs", "nested outputs", "a dataclass as output"]),
    "a network returns a tuple of tensors": (TESTS, ["nested outputs", "a dataclass as output"]),
    "train mode runs the graph of eval mode": (
        LIBRARY,
        ["an auxiliary head", "spectral_norm", "spectral_norm as a parametrisation"],
    ),
    "what was recorded is needed": (TESTS, ["dead at birth"]),
    "what updates buffers stays": (TESTS, ["a norm with statistics one call of which dies"]),
    "graphs are shallow": (RecursionError, ["five thousand vertices"]),
    "what has variables can go": (TESTS, ["weight standardisation", "a recurrent layer", "an encoder layer"]),
    "every parameter can be zero": (TESTS, ["weight_norm"]),
}
SPECIMENS = {each.name: each for each in zoo.SPECIMENS}
NAMED = {name for _, names in CAUGHT.values() for name in names}
# What is special about these is that nothing is: mutants that fail on any network tell them.
PLAIN = {"a sum", "a gated zero", "a product of three", "nothing can go"}


def construct(mutant: Mutant, specimen: Specimen) -> None:
    """Let the mutant remove the specimen's zeros, or find its groups, and check every promise."""
    with mutant.believed():
        if mutant.groups:
            for seed in (0, 1):
                zoo.test_random_valid_groups(specimen, seed)
        else:
            zoo.test_zeros_made_by_hand(specimen)


def readable(value: object) -> str:
    return str(getattr(value, "name", value)).replace(" ", "-")


@pytest.mark.parametrize(
    ("mutant", "specimen"),
    [(mutant, name) for mutant in MUTANTS for name in CAUGHT[mutant.name][1]],
    ids=readable,
)
def test_a_naive_implementation_fails(mutant: Mutant, specimen: str) -> None:
    with pytest.raises(CAUGHT[mutant.name][0]):
        construct(mutant, SPECIMENS[specimen])


@pytest.mark.parametrize("specimen", ["a sum", "a gated zero"], ids=readable)
@pytest.mark.parametrize("mutant", [each for each in MUTANTS if not each.coarse], ids=readable)
def test_on_a_plain_network_it_does_not(mutant: Mutant, specimen: str) -> None:
    """So it is what is special about a specimen that tells."""
    construct(mutant, SPECIMENS[specimen])


def test_every_specimen_was_seen_failing() -> None:
    assert set(CAUGHT) == {each.name for each in MUTANTS}
    assert set(SPECIMENS) == NAMED


def test_plain_ones_alone_are_told_by_what_fails_anywhere() -> None:
    told = {name for each in MUTANTS if not each.coarse for name in CAUGHT[each.name][1]}
    assert set(SPECIMENS) - told == PLAIN
