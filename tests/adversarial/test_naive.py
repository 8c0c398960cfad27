"""Every specimen of the zoo was seen failing: here are the naive implementations that it breaks, and what tells."""

from __future__ import annotations

import pytest

from autosubnet.errors import AutoSubnetError, AutoSubnetWarning

from . import test_adversarial as zoo
from .naive import IN_A_HURRY, MUTANTS, Mutant
from .specimen import Specimen

LIBRARY = (AutoSubnetError, AutoSubnetWarning)  # it sees for itself that the networks differ, or an output is constant
TESTS = AssertionError  # verification is content; the promises are not

# By mutant, which specimens must fail, and who tells.
CAUGHT = {
    "a sum is zero where one term is": (LIBRARY, ["a sum", "Python's sum", "a residual over views", "two inputs"]),
    "a zero term goes whatever the sign": (LIBRARY, ["zero minus a branch", "alpha on what stays", "rsub"]),
    "a zero term goes whatever its shape": (LIBRARY, ["a zero that widens"]),
    "a zero term goes whatever its dtype": (LIBRARY, ["a zero that promotes"]),
    "a number is zero": (
        LIBRARY,
        [
            "a number minus zero",
            "a number plus zero",
            "alpha on what stays",
            "a zero that promotes",
            "writes whose result nobody reads",
            "a zero that is written",
            "a zero that is filled by a mask",
            "two tensors that swap a column",
            "a copy of the input is written",
            "a hook that adds",
            "a subclass that adds one",
            "a reciprocal of zero is not zero",
            "indices of a maximum",
            "indices of an adaptive maximum",
            "masked_fill with -inf of zero scores",
        ],
    ),
    "a product loses its zero factor": (
        LIBRARY,
        [
            "einsum as a product",
            "einsum over channels",
            "attention by einsum",
            "matmul",
            "matmul of a zero query",
            "a gated zero",
            "a product of three",
            "a quotient",
            "a norm with statistics one call of which dies",
            "parameters in lists and dicts",
            "one branch read by four joints",
            "max pooling with padding of a zero",
            "max pooling with dilation of a zero",
            "max pooling with ceil_mode of a zero",
            "average pooling with padding of a zero",
            "average pooling without its padding of a zero",
            "average pooling with ceil_mode of a zero",
            "average pooling with a divisor of a zero",
            "adaptive max pooling of a zero",
            "adaptive average pooling of a zero",
            "masked_fill with -inf",
            "a mask of -inf that is added",
            "a mask of -inf that is added to zero scores",
            "an overflow that is clamped",
        ],
    ),
    "a choice loses its zero operand": (
        LIBRARY,
        ["where", "maximum", "lerp", "one branch read by four joints", "log(0) behind where"],
    ),
    "a choice is zero where one operand is": (LIBRARY, ["where", "maximum", "lerp"]),
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
    "a concat is zero where one block is": (
        LIBRARY,
        [
            "a zero between two in a concat",
            "a zero twice in a concat",
            "pixel shuffle",
            "InstanceNorm behind a concat",
            "channels last ahead of dropout",
            "BatchNorm behind a concat with the input",
            "BatchNorm behind a concat of a tensor beside itself",
            "max pooling with padding of a concat",
            "max pooling with dilation of a concat",
            "max pooling with ceil_mode of a concat",
            "average pooling with padding of a concat",
            "average pooling without its padding of a concat",
            "average pooling with ceil_mode of a concat",
            "average pooling with a divisor of a concat",
            "adaptive max pooling of a concat",
            "adaptive average pooling of a concat",
            "a narrowed convolution padded with zeros",
            "a narrowed convolution padded with reflect",
            "a narrowed convolution padded with replicate",
            "a narrowed convolution padded with circular",
        ],
    ),
    "blocks are cut at the front": (
        LIBRARY,
        ["a zero between two in a concat", "two hundred in one concat", "a U-Net"],
    ),
    "readers of a concat keep their columns": (LIBRARY, ["a zero between two in a concat", "a U-Net"]),
    "unknown operators keep zero": (
        LIBRARY,
        [
            "addcdiv",
            "atan2",
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
            "interpolation: nearest",
            "interpolation: nearest-exact",
            "interpolation: bilinear",
            "interpolation: bicubic",
            "interpolation: area",
            "interpolation: antialias",
            "interpolation to a size",
            "F.pad: constant",
            "F.pad: reflect",
            "F.pad: replicate",
            "F.pad: circular",
            "Lp pooling of a gate",
            "pixel shuffle of a gate",
            "a float32 island that is one half",
            "a bfloat16 island",
        ],
    ),
    "softmax keeps zero": (LIBRARY, ["a zero softmax", "matmul of a zero query"]),
    "a power is zero where one operand is": (
        LIBRARY,
        ["a power to zero", "pow(0) of zero is not zero", "2 ** y of zero is not zero"],
    ),
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
        ],
    ),
    "BatchNorm has no bias": (LIBRARY, ["BatchNorm whose weight alone is zero"]),
    "GroupNorm has no bias": (LIBRARY, ["GroupNorm of a zero"]),
    "LayerNorm has no bias": (LIBRARY, ["LayerNorm of a zero"]),
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
    "hooks do nothing": (LIBRARY, ["a hook that adds"]),
    "a module is its base class": (
        (*LIBRARY, TESTS),
        ["a subclass that adds one", "weight_norm as a parametrisation"],
    ),
    "every module is a leaf": (
        TESTS,
        [
            "a subclass that adds one",
            "a subclass that scales",
            "a tied embedding",
            "weight_norm as a parametrisation",
        ],
    ),
    "a module is called once": (LIBRARY, ["containers in containers"]),
    "every parameter trains": (TESTS, ["a frozen branch"]),
    "the lesser half of a layer is zero": (LIBRARY, ["nothing can go"]),
    "sizes are those of the example": (
        LIBRARY,
        ["clamped from below", "an empty tensor that is filled with zeros", "a zero that is scattered"],
    ),
    "a zero is one number": (
        LIBRARY,
        [
            "attention modules",
            "local response norm",
            "a convolution of zero padded with zeros",
            "a convolution of zero padded with reflect",
            "a convolution of zero padded with replicate",
            "a convolution of zero padded with circular",
            "F.pad with one half",
            "ConstantPad2d with one half",
            "grid_sample",
            "a Fourier transform of zero",
            "a filter that is zero",
            "an order of zeros",
        ],
    ),
    "train mode runs the graph of eval mode": (
        LIBRARY,
        ["an auxiliary head", "spectral_norm", "spectral_norm as a parametrisation"],
    ),
    "what was recorded is needed": (TESTS, ["dead at birth"]),
    "graphs are shallow": (RecursionError, ["five thousand vertices"]),
    "what has variables can go": (TESTS, ["weight standardisation", "a recurrent layer", "an encoder layer"]),
    "every parameter can be zero": (TESTS, ["weight_norm"]),
}
NOT_CAUGHT = {
    # A zero buffer is no proof, since training may change it; but now it is zero, and who takes it for one is right.
    "everything pruned but the bias",
}
SPECIMENS = {each.name: each for each in zoo.SPECIMENS}
NAMED = {name for _, names in CAUGHT.values() for name in names}
OTHERS = [each for each in zoo.SPECIMENS if each.name not in NAMED | NOT_CAUGHT]


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


@pytest.mark.parametrize(
    "specimen", [each for each in zoo.SPECIMENS if each.name not in NAMED | NOT_CAUGHT], ids=readable
)
def test_every_other_specimen_fails_in_a_hurry(specimen: Specimen) -> None:
    with pytest.raises(LIBRARY):
        construct(IN_A_HURRY, specimen)


def test_the_tables_name_what_exists() -> None:
    assert set(CAUGHT) == {each.name for each in MUTANTS}
    assert (NAMED | NOT_CAUGHT).issubset(SPECIMENS)
    assert not NAMED & NOT_CAUGHT
