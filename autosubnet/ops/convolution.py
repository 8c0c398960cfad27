"""Convolutions and transposed convolutions in one to three dimensions."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import fx, nn

from autosubnet.ops.call import Call, Value, is_plain, pair, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, all_over, along, varies
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Free, Rule, Tie, ZerosOf, affine_constants, known
from autosubnet.ops.sizes import Expression, Sizes, apply, has_fixed_shape, reads_all, windows


class Convolution(Rule):
    """y[o] = bias[o] + sum_i w[o, i] * x[i]; the weight is (out, in / groups, ...).

    Args:
        dims: number of spatial dimensions; without a batch dimension nothing is claimed.
    """

    kind = Kind.STEM
    settings: tuple[str, ...] = ("stride", "padding", "dilation", "groups")

    def __init__(self, dims: int) -> None:
        self.dims = dims

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Channel o is zero if bias[o] is and, for each i, x[i] or w[o, i] is."""
        weight, bias = self._weight(call), call.tensor("bias", 2)
        if weight is None or len(call.shape) != self.dims + 2:
            return known(call, False)
        groups = self._groups(call)
        channels = along(zeros(call.input), 1)
        kernel = self._out_first(call, all_over(zeros(weight), range(2, len(call.shape))), groups)
        inputs = shape_of(call.input)[1] // groups
        if channels.size > 1:
            channels = channels.reshape(groups, 1, inputs)
            kernel = np.broadcast_to(kernel, (call.shape[1], kernel.shape[1]))
            kernel = kernel.reshape(groups, call.shape[1] // groups, kernel.shape[1])
            zero = (channels | kernel).all(axis=2).reshape(-1)
        else:
            zero = channels | kernel.all(axis=1)
        if bias is not None:
            zero = zero & zeros(bias)
        return zero.reshape(1, -1, *(1,) * (len(call.shape) - 2))

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Channel o is constant if, for each i, x[i] is or w[o, i] is zero."""
        return affine_constants(self, call, call.tensor("bias", 2), self._weight(call), constants, zeros)

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Where a part of an image is claimed, and no window may lie over the rest."""
        mask = masks(call.input)
        return varies(mask, range(mask.ndim - self.dims, mask.ndim)) and self._skips(call)

    def _skips(self, call: Call) -> bool:
        if call.setting("padding", 4, 0) == "same":
            return False  # which comes with steps of one
        settings = self._geometry(call)
        return settings is None or not all(map(reads_all, shape_of(call.input)[-self.dims :], *settings))

    def demands(self, call: Call) -> Iterable[tuple[fx.Node, int, int]]:
        """As many input channels as the weight has."""
        weight = self._weight(call)
        if isinstance(weight, str) or (weight is not None and weight.op == "get_attr"):
            yield call.input, -1 - self.dims, shape_of(call.input)[-1 - self.dims]

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Input channels go with the weight's second dimension, output channels with its first and the bias."""
        weight, bias = self._weight(call), call.tensor("bias", 2)
        if weight is None or len(call.shape) != self.dims + 2:
            return
        groups, inputs, outputs = self._groups(call), shape_of(call.input)[1], call.shape[1]
        first, second = self._weight_dims
        if groups == 1:
            yield Tie(call.input, 1, weight, second)
            yield Tie(call.node, 1, weight, first)
        elif groups == inputs == outputs and call.module is not None:  # a function's groups are written out
            yield Tie(call.input, 1, call.node, 1)
            yield Tie(call.node, 1, weight, 0)
        else:
            return
        if bias is not None:
            yield Tie(call.node, 1, bias, 0)
        yield Free(weight, second)  # one index where depthwise

    def why_not_zero(self, call: Call) -> str:
        """Bias or weights without a group."""
        return "it has weights or a bias that are not zero"

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """(n + 2 padding - dilation (kernel - 1) - 1) // stride + 1 along each spatial dimension."""
        if not has_fixed_shape(call.tensor("weight", 1), sizes):
            return None
        if call.setting("padding", 4, 0) == "same" and len(call.shape) == self.dims + 2:
            given = sizes.of(call.input)
            return [given[0], call.shape[1], *given[2:]]
        settings = self._geometry(call)
        if settings is None:
            return None
        given = sizes.of(call.input)
        spatial = [windows(given[2 + d], *(each[d] for each in settings)) for d in range(self.dims)]
        return [given[0], call.shape[1], *spatial]

    def _geometry(self, call: Call) -> list[Sequence[int]] | None:
        """Return kernel size, stride, padding and dilation along each dimension, if they are plain numbers."""
        weight = call.tensor("weight", 1)
        kernel: Any = call.setting("kernel_size", 9)
        if isinstance(weight, fx.Node):
            kernel = shape_of(weight)[2:]
        names = ("stride", 3, 1), ("padding", 4, 0), ("dilation", self._dilation_position, 1)
        settings = [kernel, *(call.setting(*each) for each in names)]
        settings = [0 if each == "valid" else each for each in settings]
        plain = all(map(is_plain, settings)) and len(call.shape) == self.dims + 2
        return [pair(each, self.dims) for each in settings] if plain else None

    def resized(self, call: Call, module: nn.Module, kept: Any) -> None:
        """Set the numbers of channels and, where depthwise, of groups."""
        inputs, outputs = kept(call.input, 1), kept(call.node, 1)
        depthwise = self._groups(call) > 1
        if inputs is not None:
            module.in_channels = inputs
        if outputs is not None:
            module.out_channels = outputs
        if depthwise and outputs is not None:
            module.groups = outputs

    _weight_dims = (0, 1)
    _dilation_position = 5

    def _weight(self, call: Call) -> Value | None:
        """The weight, or ``None`` where the number of groups is a size of some tensor, and nothing is known."""
        return call.tensor("weight", 1) if is_plain(self._groups_setting(call)) else None

    def _groups_setting(self, call: Call) -> Any:
        return call.setting("groups", 3 + self.settings.index("groups"), 1)

    def _groups(self, call: Call) -> int:
        return int(self._groups_setting(call))

    def _out_first(self, call: Call, kernel: Mask, groups: int) -> Mask:
        """Return the weight's mask as (out, in / groups)."""
        return kernel


class TransposedConvolution(Convolution):
    """The weight is (in, out / groups, ...)."""

    settings = ("stride", "padding", "output_padding", "groups", "dilation")
    _weight_dims = (1, 0)
    _dilation_position = 7

    def _out_first(self, call: Call, kernel: Mask, groups: int) -> Mask:
        if groups == 1:
            return kernel.T
        inputs, outputs = shape_of(call.input)[1], call.shape[1] // groups
        full = np.broadcast_to(kernel, (inputs, outputs)).reshape(groups, inputs // groups, outputs)
        return full.transpose(0, 2, 1).reshape(groups * outputs, inputs // groups)

    def _skips(self, call: Call) -> bool:
        return True  # padding is what is cut off

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """(n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1 along each dimension."""
        settings = self._geometry(call)
        extra = call.setting("output_padding", 5, 0)
        given_size = call.argument(1, "output_size") if call.module is not None else None
        fixed = has_fixed_shape(call.tensor("weight", 1), sizes)
        if settings is None or not is_plain(extra) or given_size is not None or not fixed:
            return None
        given, extra = sizes.of(call.input), pair(extra, self.dims)
        spatial = []
        for d, (kernel, stride, padding, dilation) in enumerate(zip(*settings, strict=True)):
            steps = apply(operator.mul, apply(operator.sub, given[2 + d], 1), stride)
            spatial.append(apply(operator.add, steps, dilation * (kernel - 1) - 2 * padding + extra[d] + 1))
        return [given[0], call.shape[1], *spatial]


for _dims in (1, 2, 3):
    register(Convolution(_dims), modules=[getattr(nn, f"Conv{_dims}d")], functions=[getattr(F, f"conv{_dims}d")])
    register(
        TransposedConvolution(_dims),
        modules=[getattr(nn, f"ConvTranspose{_dims}d")],
        functions=[getattr(F, f"conv_transpose{_dims}d")],
    )
