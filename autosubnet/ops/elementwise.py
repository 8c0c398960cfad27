"""Operators that act on each entry of one tensor: activations, dropout, casts, copies."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from autosubnet.ops.call import Call, is_tensor, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, collapse
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Free, Rule, Tie, ZerosOf, known, tie_all
from autosubnet.ops.sizes import Expression, Sizes, apply


class KeepsZero(Rule):
    """f(0) = 0, entry by entry."""

    kind = Kind.ACCESSORY

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where the input is."""
        return zeros(call.input)

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where the input is."""
        return constants(call.input)

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Every index goes with the same index of the input."""
        return tie_all(call, call.input)

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input."""
        return sizes.of(call.input)


class LosesZero(KeepsZero):
    """f(0) != 0, entry by entry: sigmoid, exp, cos, hard-sigmoid and their kin."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Nothing is zero."""
        return known(call, False)

    def why_not_zero(self, call: Call) -> str:
        """It maps zero to something else."""
        return "it does not map zero to zero"


class Clamp(KeepsZero):
    """Cut off at bounds: keeps zero if it lies within them."""

    names = ("min", "max")

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where the input is, if both bounds are numbers or missing and zero is within."""
        low, high = (call.setting(name, position, None) for position, name in enumerate(self.names, start=1))
        within = (_is_bound(low) and (low is None or low <= 0)) and (_is_bound(high) and (high is None or high >= 0))
        return zeros(call.input) if within else known(call, False)

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where the input is, if the bounds are numbers."""
        if len(call.operands) > 1:
            return Rule.constants(self, call, constants, zeros)
        return super().constants(call, constants, zeros)

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """As for one operand; nothing where bounds are tensors."""
        return super().ties(call) if len(call.operands) == 1 else ()

    def why_not_zero(self, call: Call) -> str:
        """Zero is cut off."""
        return "zero is not within its bounds"


class HardTanh(Clamp):
    """Clamp, to -1 and 1 unless said otherwise."""

    names = ("min_val", "max_val")


def _is_bound(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


class Pole(LosesZero):
    """Logarithms, 1 / x and 1 / sqrt(x): infinite at zero."""

    def poles(self, call: Call) -> tuple[fx.Node, ...]:
        """The input."""
        return (call.input,)

    def why_not_zero(self, call: Call) -> str:
        """It is infinite."""
        return "it is infinite at zero"


class SquareRoot(KeepsZero):
    """Zero at zero, where its gradient is infinite."""

    def poles(self, call: Call) -> tuple[fx.Node, ...]:
        """The input."""
        return (call.input,)


class Random(KeepsZero):
    """Dropout and its kin: keeps zeros, random in train mode."""

    def is_random(self, call: Call) -> bool:
        """Random unless its probability is zero."""
        return bool(call.setting("p", 1, call.setting("drop_prob", 1, 1.0)) != 0.0)


class RReLU(KeepsZero):
    """A ReLU whose negative slope is drawn at random in train mode."""

    def is_random(self, call: Call) -> bool:
        """Always."""
        return True


class Power(KeepsZero):
    """x ** c: zero stays zero for a positive number c."""

    def classify(self, call: Call) -> Kind:
        """An accessory, or a joint where the exponent is a tensor."""
        return Kind.JOINT if len(call.operands) > 1 else Kind.ACCESSORY

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where the base is, if the exponent is a positive number."""
        exponent = call.argument(1, "exponent")
        if not isinstance(exponent, (int, float)) or exponent <= 0 or not isinstance(call.node.args[0], torch.fx.Node):
            return known(call, False)
        return zeros(call.input)

    def poles(self, call: Call) -> tuple[fx.Node, ...]:
        """The base, for an exponent below 1 or one that is computed."""
        base, exponent = call.node.args[0], call.argument(1, "exponent")
        smooth = isinstance(exponent, (int, float)) and (exponent >= 1 or exponent == 0)
        return (base,) if isinstance(base, fx.Node) and is_tensor(base) and not smooth else ()

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """All or nothing."""
        return Rule.constants(self, call, constants, zeros)

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """As for one operand; nothing for two."""
        return tie_all(call, call.input) if len(call.operands) == 1 and is_tensor(call.input) else ()

    def why_not_zero(self, call: Call) -> str:
        """Exponents that are no positive numbers."""
        return "its exponent is not a positive number"


class Softmax(Rule):
    """Softmax and its kin mix entries along a dimension and are never zero."""

    kind = Kind.ACCESSORY

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input."""
        return sizes.of(call.input)

    def why_not_zero(self, call: Call) -> str:
        """Its entries add up to one."""
        return "its entries are positive whatever comes in"

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> Mask:
        """Where all that is added up is."""
        dim = call.setting("dim", 1)
        mask = constants(call.input)
        return collapse(mask, [dim] if isinstance(dim, int) else range(mask.ndim))


class PReLU(KeepsZero):
    """PReLU has one slope for all channels (dimension 1) or one for each."""

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where the input is, and the slope is or the input is zero."""
        weight = call.tensor("weight", 1)
        if not isinstance(weight, fx.Node):
            return constants(call.input)
        slopes = constants(weight).reshape((1, -1) + (1,) * (len(call.shape) - 2) if len(call.shape) > 1 else (-1,))
        return constants(call.input) & (slopes | zeros(call.input))

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """The slopes go with the channels."""
        yield from tie_all(call, call.input)
        weight = call.tensor("weight", 1)
        if weight is None:
            return
        shape = shape_of(weight) if isinstance(weight, fx.Node) else (call.setting("num_parameters", 1),)
        if shape:  # else a number
            yield Free(weight, 0) if shape == (1,) else Tie(weight, 0, call.node, 1)

    def resized(self, call: Call, module: nn.Module, kept: Any) -> None:
        """Set the number of slopes."""
        if (channels := kept(call.node, 1)) is not None and module.num_parameters != 1:
            module.num_parameters = channels


class GLU(Rule):
    """a * sigmoid(b) of the two halves of its input."""

    kind = Kind.ACCESSORY

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input, one of them halved."""
        given = list(sizes.of(call.input))
        dim = call.setting("dim", 1, -1)
        given[dim] = apply(operator.floordiv, given[dim], 2)
        return given

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where the first half is."""
        return self._halves(call, zeros(call.input))[0]

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> Mask:
        """Where both halves are."""
        first, second = self._halves(call, constants(call.input))
        return first & second

    def _halves(self, call: Call, mask: Mask) -> tuple[Mask, Mask]:
        dim = call.setting("dim", 1, -1)
        if mask.shape[dim] == 1:
            return mask, mask
        half = call.shape[dim]
        return mask.take(range(half), axis=dim), mask.take(range(half, 2 * half), axis=dim)


_KEEPS = [
    "relu",
    "relu6",
    "hardtanh",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "hardswish",
    "tanh",
    "tanhshrink",
    "softsign",
    "softshrink",
    "hardshrink",
    "rrelu",
]
_LOSES = ["sigmoid", "hardsigmoid", "logsigmoid", "softplus", "threshold"]
register(
    KeepsZero(),
    modules=[
        nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh,
        nn.Tanhshrink, nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Identity,
        "timm.layers.activations.Swish", "timm.layers.activations.GELU", "timm.layers.activations.GELUTanh",
    ],
    functions=[
        *(getattr(F, name) for name in _KEEPS if name != "hardtanh" and name != "rrelu"),
        torch.relu, torch.tanh, torch.neg, torch.abs, torch.sin, torch.sign, torch.square, torch.selu,
        torch.expm1, torch.log1p, torch.erf, torch.sinh, torch.asinh, torch.tan, torch.atan, torch.floor, torch.ceil,
        torch.round, torch.trunc, torch.clone, torch.detach, operator.neg, operator.abs, operator.pos,
    ],
    methods=[
        "relu", "tanh", "neg", "abs", "sin", "sign", "square", "clone", "detach", "contiguous", "to", "float",
        "double", "half", "bfloat16", "type", "type_as", "cpu", "cuda", "nan_to_num", "positive", "expm1", "log1p",
        "erf", "sinh", "asinh", "tan", "atan", "floor", "ceil", "round", "trunc",
    ],
)  # fmt: skip
register(
    LosesZero(),
    modules=[nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.Softplus, nn.Threshold],
    functions=[
        *(getattr(F, name) for name in _LOSES), torch.sigmoid, torch.exp, torch.cos,
    ],
    methods=["sigmoid", "exp", "cos"],
)  # fmt: skip
register(Clamp(), functions=[torch.clamp, torch.clip], methods=["clamp", "clip"])
register(HardTanh(), modules=[nn.Hardtanh], functions=[F.hardtanh])
register(
    Pole(),
    functions=[torch.log, torch.log2, torch.log10, torch.rsqrt, torch.reciprocal],
    methods=["log", "log2", "log10", "rsqrt", "reciprocal"],
)
register(SquareRoot(), functions=[torch.sqrt], methods=["sqrt"])
register(
    Random(),
    modules=[
        nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
        "torchvision.ops.stochastic_depth.StochasticDepth", "timm.layers.drop.DropPath",
    ],
    functions=[F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, torch.dropout],
)  # fmt: skip
register(RReLU(), modules=[nn.RReLU], functions=[F.rrelu])
register(Power(), functions=[operator.pow, torch.pow], methods=["pow"])
register(
    Softmax(),
    modules=[nn.Softmax, nn.LogSoftmax, nn.Softmax2d, nn.Softmin],
    functions=[F.softmax, F.log_softmax, F.softmin, torch.softmax, torch.log_softmax],
    methods=["softmax", "log_softmax"],
)
register(PReLU(), modules=[nn.PReLU], functions=[F.prelu, torch.prelu])
register(GLU(), modules=[nn.GLU], functions=[F.glu])
