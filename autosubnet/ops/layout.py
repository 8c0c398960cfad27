"""Operators that move entries about without changing them: permute, expand, pad, roll, pixel shuffle."""

from __future__ import annotations

import operator
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

from autosubnet.ops.call import Call, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, collapse, is_zero, varies
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Free, Rule, Tie, ZerosOf, filled, is_partial, known, moved
from autosubnet.ops.sizes import Expression, Sizes, apply


class Layout(Rule):
    """Common to all: one tensor in, its entries out."""

    kind = Kind.ACCESSORY

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """Zero where the whole tensor is."""
        zero = is_zero(zeros(call.input))
        return filled(call.nothing_known(), zero)

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Moved about as zeros are."""
        return moved(self, call, constants)

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Where a part is claimed."""
        return is_partial(masks(call.input))

    def why_not_zero(self, call: Call) -> str:
        """Its input is not zero."""
        return "what comes in is not wholly zero"


class Moving(Layout):
    """Roll, flip, running sums, triangles: the shape stays."""

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input."""
        return sizes.of(call.input)


class Permute(Layout):
    """Permute, transpose, movedim, T: the order of dimensions is found from a probe."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """The mask, permuted."""
        return zeros(call.input).transpose(self.order(call))

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Never."""
        return False

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Each dimension goes where it goes."""
        for target, dim in enumerate(self.order(call)):
            yield Tie(call.input, dim, call.node, target)

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input, permuted."""
        given = sizes.of(call.input)
        return [given[dim] for dim in self.order(call)]

    def order(self, call: Call) -> list[int]:
        """Which dimension of the input each dimension of the output is."""
        probe = torch.empty([2 + dim for dim in range(len(shape_of(call.input)))], device="meta")
        arguments = (probe, *call.node.args[1:])
        if call.node.op == "call_method":
            moved = getattr(torch.Tensor, str(call.node.target))(*arguments, **call.node.kwargs)
        else:
            moved = call.node.target(*arguments, **call.node.kwargs)  # type: ignore[operator]  # a function
        return [size - 2 for size in moved.shape]


class Expand(Layout):
    """Repeats dimensions of size 1 without copying."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """The mask, with leading dimensions."""
        mask = zeros(call.input)
        return mask.reshape((1,) * (len(call.shape) - mask.ndim) + mask.shape)

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Never."""
        return False

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """The sizes that are named; those of the input where -1 is."""
        named = call.node.args[1:]
        if call.name == "expand_as":
            return sizes.of(call.argument(1, "other"))
        named = tuple(named[0]) if len(named) == 1 and isinstance(named[0], (tuple, list)) else named
        if len(named) != len(call.shape):
            return None
        given = [None] * (len(named) - len(shape_of(call.input))) + sizes.of(call.input)
        return [own if each == -1 else sizes.number(each) for each, own in zip(named, given, strict=True)]


class Selection(Layout):
    """Picks or repeats indices along one dimension: index_select, narrow, repeat_interleave."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """The mask, collapsed along that dimension."""
        dim = self.dim(call)
        mask = zeros(call.input)
        return known(call, is_zero(mask)) if dim is None else collapse(mask, [dim])

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Where a part is claimed along that dimension."""
        dim = self.dim(call)
        return super().blurs(call, masks) if dim is None else varies(masks(call.input), [dim])

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input but for that dimension."""
        dim = self.dim(call)
        if dim is None:
            return None
        given = list(sizes.of(call.input))
        given[dim] = self._length(call, given[dim], sizes)
        return given

    def dim(self, call: Call) -> int | None:
        """The dimension, counted from the front; ``None`` where the tensor is flattened, or has none."""
        dim = call.argument(2 if call.name == "repeat_interleave" else 1, "dim")
        ndim = len(shape_of(call.input))
        return None if dim is None or not ndim else int(dim) % ndim

    def _length(self, call: Call, size: Expression, sizes: Sizes) -> Expression:
        if call.name == "index_select":
            index = call.argument(2, "index")
            return sizes.of(index)[0] if len(shape_of(index)) else 1
        if call.name == "narrow":
            return sizes.number(call.argument(3, "length"))
        repeats = call.argument(1, "repeats")
        return apply(operator.mul, size, repeats) if isinstance(repeats, int) else None


class Pad(Layout):
    """Padding: zero where all along the padded dimensions is, if the padding itself is zero or copied."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """The mask, collapsed along the padded dimensions."""
        constant = call.argument(2, "mode", "constant") == "constant" if call.module is None else False
        value = call.setting("value", 3, 0) or 0
        if (constant or isinstance(call.module, nn.modules.padding._ConstantPadNd)) and value != 0:
            return known(call, False)
        mask = zeros(call.input)
        return collapse(mask, self._padded(call, mask.ndim))

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Where a part is claimed along the padded dimensions."""
        mask = masks(call.input)
        return varies(mask, self._padded(call, mask.ndim))

    def _padded(self, call: Call, ndim: int) -> range:
        """Return the dimensions that are padded: the last ones."""
        amounts = call.setting("padding", 1) if call.module is not None else call.argument(1, "pad")
        count = len(amounts) // 2 if isinstance(amounts, (tuple, list)) else ndim
        return range(ndim - count, ndim)

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """With what is added at both ends; the amounts begin with the last dimension."""
        amounts = call.setting("padding", 1) if call.module is not None else call.argument(1, "pad")
        if not isinstance(amounts, (tuple, list)):
            return None
        given = list(sizes.of(call.input))
        for number, amount in enumerate(amounts):
            dim = len(given) - 1 - number // 2
            given[dim] = apply(operator.add, given[dim], sizes.number(amount))
        return given

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """All or nothing."""
        return Rule.constants(self, call, constants, zeros)

    def why_not_zero(self, call: Call) -> str:
        """Padded with something else."""
        return "it pads with a number that is not zero"


register(
    Permute(),
    functions=[torch.permute, torch.transpose, torch.movedim, torch.swapaxes, torch.t],
    methods=["permute", "transpose", "movedim", "swapaxes", "t"],
)
register(Expand(), functions=[torch.broadcast_to], methods=["expand", "expand_as", "broadcast_to"])
register(
    Pad(),
    modules=[nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d],
    functions=[F.pad],
)
register(
    Selection(),
    functions=[torch.index_select, torch.narrow, torch.repeat_interleave],
    methods=["index_select", "narrow", "repeat_interleave"],
)
register(
    Moving(),
    functions=[torch.roll, torch.flip, torch.cumsum, torch.tril, torch.triu],
    methods=["roll", "flip", "cumsum", "tril", "triu"],
)
register(
    Layout(),
    modules=[nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Unfold, nn.Fold],
    functions=[
        F.pixel_shuffle, F.pixel_unshuffle, F.channel_shuffle, F.unfold, F.fold,
        torch.gather, torch.select,
    ],
    methods=["gather", "repeat", "select", "unfold"],
)  # fmt: skip
