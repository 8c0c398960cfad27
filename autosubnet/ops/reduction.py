"""Pooling, resizing and reductions: entries of one tensor mixed along some dimensions, zero to zero."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from autosubnet.ops.call import Call, Value, pair, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import MaskTree, collapse, is_zero
from autosubnet.ops.registry import register_rule
from autosubnet.ops.rule import Free, Rule, Tie, ZerosOf, filled, moved


class Spatial(Rule):
    """Mixes the dimensions behind the channels: pooling of every kind, resizing."""

    kind = Kind.ACCESSORY

    def __init__(self, dims: int | None = None) -> None:
        self.dims = dims

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """Channels that come in zero; indices of a maximum are never claimed."""
        mask = zeros(call.input)
        count = self.dims or mask.ndim - 2
        zero = collapse(mask, range(mask.ndim - count, mask.ndim))
        nothing = call.nothing_known()
        return (zero, *nothing[1:]) if isinstance(nothing, tuple) else zero

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where everything that is mixed is."""
        return moved(self, call, constants)

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """All but the dimensions that are mixed."""
        if not isinstance(call.nothing_known(), tuple):
            count = self.dims or len(call.shape) - 2
            for dim in range(len(call.shape) - count):
                yield Tie(call.input, dim, call.node, dim)


class Window(Spatial):
    """Pooling by windows, whose output sizes can be written out."""

    def sizes(self, call: Call, sizes: Callable[[Value], list[Any]], emit: Callable[..., Any]) -> list[Any] | None:
        """(n + 2 padding - dilation (kernel - 1) - 1) // stride + 1, where no ceiling is taken."""
        if call.module is None or getattr(call.module, "ceil_mode", False):
            return None
        count = self.dims or len(call.shape) - 2
        given, lead = sizes(call.input), len(call.shape) - count
        kernel, stride, padding = (
            pair(getattr(call.module, name), count) for name in ("kernel_size", "stride", "padding")
        )
        dilation = pair(getattr(call.module, "dilation", 1), count)
        spatial = []
        for d in range(count):
            span = 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1
            steps = emit(operator.floordiv, emit(operator.add, given[lead + d], span), stride[d])
            spatial.append(emit(operator.add, steps, 1))
        return [*given[:lead], *spatial]


class Reduction(Rule):
    """Sum, mean, maximum or minimum over some dimensions."""

    kind = Kind.ACCESSORY

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """Zero where everything that is read is."""
        mask = zeros(call.input)
        dims = self.dims(call)
        nothing = call.nothing_known()
        if dims is None:
            return filled(nothing, len(call.operands) == 1 and is_zero(mask))
        zero = collapse(mask, dims)
        ndim = nothing[0].ndim if isinstance(nothing, tuple) else nothing.ndim
        if ndim != mask.ndim:
            zero = np.squeeze(zero, axis=tuple(dims))
        return (zero, *nothing[1:]) if isinstance(nothing, tuple) else zero

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where everything that is read is."""
        return moved(self, call, constants)

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """All but the dimensions that are read; a sum may lose zeros, a mean or maximum may not."""
        read = self.dims(call)
        if read is None or isinstance(call.nothing_known(), tuple):
            return
        target = 0
        for dim in range(len(shape_of(call.input))):
            if dim not in read:
                yield Tie(call.input, dim, call.node, target)
            target += 1 if dim not in read or len(call.shape) == len(shape_of(call.input)) else 0

    def dims(self, call: Call) -> list[int] | None:
        """The dimensions that are read, counted from the front; all where none is named, ``None`` if unknown."""
        ndim = len(shape_of(call.input))
        dims = call.argument(1, "dim")
        if isinstance(dims, fx.Node):
            return None
        if dims is None or dims in ((), []):
            return list(range(ndim))
        return sorted(dim % ndim for dim in (dims if isinstance(dims, (tuple, list)) else (dims,)))


_WINDOWS = {1: ("MaxPool1d", "AvgPool1d"), 2: ("MaxPool2d", "AvgPool2d"), 3: ("MaxPool3d", "AvgPool3d")}
for _dims, _names in _WINDOWS.items():
    register_rule(Window(_dims), modules=[getattr(nn, name) for name in _names])
    register_rule(
        Spatial(_dims),
        modules=[getattr(nn, f"{name}{_dims}d") for name in ("AdaptiveAvgPool", "AdaptiveMaxPool", "LPPool")],
        functions=[
            getattr(F, f"{name}{_dims}d") for name in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool")
        ],
    )
register_rule(
    Spatial(),
    modules=[nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d],
    functions=[F.interpolate],
)
register_rule(
    Reduction(),
    functions=[torch.sum, torch.mean, torch.amax, torch.amin],
    methods=["sum", "mean", "amax", "amin", "max", "min"],
)
