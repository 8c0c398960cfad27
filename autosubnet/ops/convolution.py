"""Convolutions and transposed convolutions in one to three dimensions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import nn

from autosubnet.ops.call import Call, Value, pair, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, all_over, along
from autosubnet.ops.registry import register_rule
from autosubnet.ops.rule import Free, Rule, Tie, ZerosOf, affine_constants, known


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
        kernel = self._out_first(all_over(zeros(weight), range(2, len(call.shape))), groups)
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

    def sizes(self, call: Call, sizes: Callable[[Value], list[Any]], emit: Callable[..., Any]) -> list[Any] | None:
        """(n + 2 padding - dilation (kernel - 1) - 1) // stride + 1 along each spatial dimension."""
        if call.module is None or isinstance(call.module.padding, str) or len(call.shape) != self.dims + 2:
            return None
        given = sizes(call.input)
        dims = self.dims
        stride, padding, dilation, kernel = (
            pair(getattr(call.module, name), dims) for name in ("stride", "padding", "dilation", "kernel_size")
        )
        spatial = []
        for d in range(dims):
            span = 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1
            steps = emit(operator.floordiv, emit(operator.add, given[2 + d], span), stride[d])
            spatial.append(emit(operator.add, steps, 1))
        return [given[0], call.shape[1], *spatial]

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

    def _weight(self, call: Call) -> Value | None:
        return call.tensor("weight", 1)

    def _groups(self, call: Call) -> int:
        return int(call.setting("groups", 3 + self.settings.index("groups"), 1))

    def _out_first(self, kernel: Mask, groups: int) -> Mask:
        """Return the weight's mask as (out, in / groups)."""
        return kernel


class TransposedConvolution(Convolution):
    """The weight is (in, out / groups, ...)."""

    settings = ("stride", "padding", "output_padding", "groups", "dilation")
    _weight_dims = (1, 0)

    def _out_first(self, kernel: Mask, groups: int) -> Mask:
        if groups == 1 or kernel.size == 1:
            return kernel.T
        if kernel.shape[0] == 1:
            return np.tile(kernel, groups).T
        parts = np.split(kernel, groups, axis=0)
        return np.concatenate([part.T for part in parts])

    def sizes(self, call: Call, sizes: Any, emit: Any) -> list[Any] | None:
        """Not written out: its zeros are rarely read."""
        return None


for _dims in (1, 2, 3):
    register_rule(Convolution(_dims), modules=[getattr(nn, f"Conv{_dims}d")], functions=[getattr(F, f"conv{_dims}d")])
    register_rule(
        TransposedConvolution(_dims),
        modules=[getattr(nn, f"ConvTranspose{_dims}d")],
        functions=[getattr(F, f"conv_transpose{_dims}d")],
    )
