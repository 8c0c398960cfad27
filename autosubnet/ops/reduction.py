"""Pooling, resizing and reductions: entries of one tensor mixed along some dimensions, zero to zero."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from autosubnet.ops.call import Call, is_plain, pair, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import MaskTree, collapse, is_zero, varies
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Free, Rule, Tie, ZerosOf, filled, moved
from autosubnet.ops.sizes import Expression, Sizes, apply, reads_all, windows


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

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Where a part is claimed along the dimensions that are mixed, and another part may be passed over."""
        mask = masks(call.input)
        return varies(mask, range(mask.ndim - (self.dims or mask.ndim - 2), mask.ndim)) and self.skips(call)

    def skips(self, call: Call) -> bool:
        """Whether there may be entries that it does not read."""
        return True

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """All but the dimensions that are mixed."""
        if not isinstance(call.nothing_known(), tuple):
            count = self.dims or len(call.shape) - 2
            for dim in range(len(call.shape) - count):
                yield Tie(call.input, dim, call.node, dim)


class Window(Spatial):
    """Maximum or average over windows, whose output sizes can be written out."""

    def __init__(self, dims: int, *, maximum: bool) -> None:
        super().__init__(dims)
        self.maximum = maximum

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """As of all pooling; of a maximum, where no window can lie wholly in the padding, which is negative infinity.

        Torch allows a padding of half a kernel, which is more than half of the steps of one that is dilated.
        """
        padding, dilation = call.setting("padding", 3, 0), call.setting("dilation", 4, 1)
        if self.maximum and not (is_plain(padding) and is_plain(dilation) and self._reach(padding, dilation)):
            return call.nothing_known()
        return super().zeros(call, zeros)

    def skips(self, call: Call) -> bool:
        """Where an entry lies in no window."""
        settings, count = self._geometry(call), self.dims or 1
        return settings is None or not all(map(reads_all, shape_of(call.input)[-count:], *settings))

    def _reach(self, padding: Any, dilation: Any) -> bool:
        count = self.dims or 1
        return all(p == 0 or d == 1 for p, d in zip(pair(padding, count), pair(dilation, count), strict=True))

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """As many as windows fit."""
        count = self.dims or len(call.shape) - 2
        settings = self._geometry(call)
        given, lead = sizes.of(call.input), len(call.shape) - count
        ceil = bool(call.setting("ceil_mode", 5 if self.maximum else 4, False))
        if settings is None:
            return [*given[:lead], *[None] * count]
        spatial = [windows(given[lead + d], *(each[d] for each in settings), ceil=ceil) for d in range(count)]
        return [*given[:lead], *spatial]

    def _geometry(self, call: Call) -> list[Sequence[int]] | None:
        """Return kernel, stride, padding and dilation along each dimension; ``None`` if one is computed."""
        kernel = call.setting("kernel_size", 1)
        dilation = call.setting("dilation", 4, 1) if self.maximum else 1
        settings = [kernel, call.setting("stride", 2) or kernel, call.setting("padding", 3, 0), dilation]
        if not all(map(is_plain, settings)):
            return None
        return [pair(each, self.dims or len(call.shape) - 2) for each in settings]


class Adaptive(Spatial):
    """Pooling to a given size."""

    def skips(self, call: Call) -> bool:
        """Windows meet."""
        return False

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """The given size; where that is ``None``, the input's."""
        given = sizes.of(call.input)
        lead = len(given) - (self.dims or 0)
        wanted = pair(call.setting("output_size", 1), len(given) - lead)
        spatial = [given[lead + d] if each is None else sizes.number(each) for d, each in enumerate(wanted)]
        return [*given[:lead], *spatial]


class Resize(Spatial):
    """Resizing to a given size or by a factor."""

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """The given size, or the input's times the factor, rounded down."""
        given = sizes.of(call.input)
        size, factor = call.setting("size", 1), call.setting("scale_factor", 2)
        count = len(given) - 2
        if size is not None:
            return [*given[:2], *(sizes.number(each) for each in pair(size, count))]
        factors = pair(factor, count)
        if not all(isinstance(each, (int, float)) for each in factors):
            return None
        return [*given[:2], *(_scaled(n, each) for n, each in zip(given[2:], factors, strict=True))]


def _scaled(size: Expression, factor: float) -> Expression:
    if factor == int(factor):
        return apply(operator.mul, size, int(factor))
    return apply(math.floor, apply(operator.mul, size, factor))


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

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input, without what is read or with 1 in its place."""
        read = self.dims(call)
        if read is None:
            return None
        given = sizes.of(call.input)
        if len(call.shape) == len(given):
            return [1 if dim in read else size for dim, size in enumerate(given)]
        return [size for dim, size in enumerate(given) if dim not in read]

    def dims(self, call: Call) -> list[int] | None:
        """The dimensions that are read, counted from the front; all where none is named, ``None`` if unknown."""
        ndim = len(shape_of(call.input))
        dims = call.argument(1, "dim")
        if isinstance(dims, fx.Node):
            return None
        if dims is None or dims in ((), []) or not ndim:  # a number may be summed along dimension 0
            return list(range(ndim))
        return sorted(dim % ndim for dim in (dims if isinstance(dims, (tuple, list)) else (dims,)))


class Hash(Rule):
    """A number made of the bits of its input: minus zero has others than zero."""

    kind = Kind.ACCESSORY

    def poles(self, call: Call) -> tuple[fx.Node, ...]:
        """The input."""
        return (call.input,)

    def tells_sign(self, call: Call) -> bool:
        """Always."""
        return True

    def why_not_zero(self, call: Call) -> str:
        """Zero has bits of its own."""
        return "a hash of zeros is some number"


for _dims in (1, 2, 3):
    for _name in ("Max", "Avg"):
        register(
            Window(_dims, maximum=_name == "Max"),
            modules=[getattr(nn, f"{_name}Pool{_dims}d")],
            functions=[getattr(F, f"{_name.lower()}_pool{_dims}d")],
        )
    register(
        Adaptive(_dims),
        modules=[getattr(nn, f"Adaptive{name}{_dims}d") for name in ("AvgPool", "MaxPool")],
        functions=[getattr(F, f"adaptive_{name}{_dims}d") for name in ("avg_pool", "max_pool")],
    )
    register(Spatial(_dims), modules=[getattr(nn, f"LPPool{_dims}d")])
register(Resize(), modules=[nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d], functions=[F.interpolate])
register(
    Reduction(),
    functions=[torch.sum, torch.mean, torch.amax, torch.amin],
    methods=["sum", "mean", "amax", "amin", "max", "min"],
)
register(Hash(), functions=[torch.hash_tensor], methods=["hash_tensor"])
