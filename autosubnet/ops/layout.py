"""Operators that move entries about without changing them: reshape, permute, slice, pad, split."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from autosubnet.ops.call import Call, dtype_of, is_tensor, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, all_over, collapse, is_zero, reshape, uniform
from autosubnet.ops.registry import register_rule
from autosubnet.ops.rule import Free, Rule, Tie, ZerosOf, filled, known, moved
from autosubnet.ops.sizes import Expression, Sizes, apply, is_size, lead, product, quotient, reaches, sizes_of


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

    def why_not_zero(self, call: Call) -> str:
        """Its input is not zero."""
        return "what comes in is not wholly zero"


class Moving(Layout):
    """Roll, flip, running sums, triangles: the shape stays."""

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input."""
        return sizes.of(call.input)


class Reshape(Layout):
    """View, reshape, flatten, unflatten, squeeze, unsqueeze: the same entries in the same order."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """The mask, reshaped."""
        same = dtype_of(call.input) == dtype_of(call.node)  # a view as another dtype reads other numbers
        if not same or np.prod(call.shape) == 0:
            return known(call, False)
        return reshape(zeros(call.input), shape_of(call.input), call.shape, sizes_of(call.input), sizes_of(call.node))

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """The sizes that a view names, with -1 worked out; those that stay when a dimension of size 1 comes or goes."""
        name = call.name
        if name in ("squeeze", "unsqueeze"):
            return self._squeezed(call, sizes)
        if name in ("view_as", "reshape_as"):
            return sizes.of(call.argument(1, "other"))
        if name.lower() == "unflatten":
            return self._unflattened(call, sizes)
        if call.module is not None or name not in ("view", "reshape"):
            return None
        named = call.node.args[1:]
        named = tuple(named[0]) if len(named) == 1 and isinstance(named[0], (tuple, list)) else named
        if len(named) != len(call.shape):
            return None  # a view as another dtype
        result = [sizes.number(each) for each in named]
        if -1 in result:
            result[result.index(-1)] = quotient(sizes.of(call.input), [each for each in result if each != -1])
        return result

    def _unflattened(self, call: Call, sizes: Sizes) -> list[Expression]:
        given = sizes.of(call.input)
        dim = int(call.setting("dim", 1)) % len(given)
        parts = call.setting("unflattened_size" if call.module is not None else "sizes", 2)
        result = [sizes.number(each) for each in parts]
        if -1 in result:
            result[result.index(-1)] = quotient([given[dim]], [each for each in result if each != -1])
        return [*given[:dim], *result, *given[dim + 1 :]]

    def _squeezed(self, call: Call, sizes: Sizes) -> list[Expression] | None:
        given, dim = sizes.of(call.input), call.argument(1, "dim")
        if len(given) == len(call.shape):
            return given
        if not isinstance(dim, int) or abs(len(given) - len(call.shape)) != 1:
            return None
        if len(given) > len(call.shape):
            dim %= len(given)
            return [*given[:dim], *given[dim + 1 :]]
        dim %= len(call.shape)
        return [*given[:dim], 1, *given[dim:]]


class ComplexPairs(Layout):
    """``view_as_complex`` and ``view_as_real``: pairs of numbers along the last dimension, and complex numbers."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """A complex number is zero where both of its parts are."""
        mask = zeros(call.input)
        if len(call.shape) > mask.ndim:
            return mask[..., None]
        return all_over(mask, [mask.ndim - 1])

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """With 2 at the end, or without."""
        given = sizes.of(call.input)
        return [*given, 2] if len(call.shape) > len(given) else given[:-1]


class Flatten(Reshape):
    """Joins adjacent dimensions, whose sizes it reads off its input."""

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """The product of those that are joined."""
        given = sizes.of(call.input)
        start, end = self._range(call, len(given))
        return [*given[:start], product(given[start : end + 1]), *given[end + 1 :]] if given else [1]

    def _range(self, call: Call, ndim: int) -> tuple[int, int]:
        """Return the first and the last of the joined dimensions, counted from the front."""
        start, end = int(call.setting("start_dim", 1, 0)), int(call.setting("end_dim", 2, -1))
        return (start % ndim, end % ndim) if ndim else (0, 0)

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Dimensions outside of the joined ones stay; the first joined one goes with blocks."""
        ndim = len(shape_of(call.input))
        start, end = self._range(call, ndim)
        for dim in range(start):
            yield Tie(call.input, dim, call.node, dim)
        block = int(np.prod(shape_of(call.input)[start + 1 : end + 1], dtype=int))
        yield Tie(call.input, start, call.node, start, repeat=block)
        for dim in range(end + 1, ndim):
            yield Tie(call.input, dim, call.node, dim - (end - start))


class Permute(Layout):
    """Permute, transpose, movedim, T: the order of dimensions is found from a probe."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """The mask, permuted."""
        return zeros(call.input).transpose(self.order(call))

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


class Split(Layout):
    """Chunk, split, unbind, tensor_split: several outputs; what they are is seen from their shapes."""

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """The mask, cut into the pieces."""
        mask, shape = zeros(call.input), shape_of(call.input)
        pieces = [info.shape for info in call.node.meta["value"]]
        dim = self.dim(call, len(shape))
        if mask.shape[dim] == 1 or any(len(piece) != len(shape) for piece in pieces):
            return filled(call.nothing_known(), is_zero(mask)) if mask.shape[dim] > 1 else self._alike(call, mask)
        found, start = [], 0
        source = sizes_of(call.input)[dim]
        placed = True  # where a piece begins is the same at every size
        for piece, sizes in zip(pieces, call.node.meta["sizes"], strict=True):
            end = start + piece[dim]
            fixed = isinstance(sizes[dim], int) and (isinstance(source, int) or end <= lead(source))
            found.append(mask.take(range(start, end), axis=dim) if placed and fixed else collapse(mask, [dim]))
            placed, start = placed and fixed, end
        return tuple(found)

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input; along the dimension that is cut, what the piece takes of it."""
        given = list(sizes.of(call.input))
        dim = self.dim(call, len(given))
        name = call.name
        if name == "unbind":
            return [*given[:dim], *given[dim + 1 :]]
        if name not in ("chunk", "split"):
            return None
        parts = call.argument(1, {"chunk": "chunks"}.get(name, "split_size"))
        if isinstance(parts, (tuple, list)):
            given[dim] = sizes.number(parts[output])
            return given
        given[dim] = self._piece(given[dim], parts, name, output) if isinstance(parts, int) else None
        return given

    def _piece(self, size: Expression, parts: int, name: str, output: int) -> Expression:
        """Return the size of one piece of a fixed size; of one that varies, how many pieces there are may vary too."""
        if not isinstance(size, int):
            return None
        piece = -(-size // parts) if name == "chunk" else parts
        return min(piece, size - output * piece)

    def dim(self, call: Call, ndim: int) -> int:
        """The dimension that is cut, counted from the front."""
        unbind = call.name == "unbind"
        return int(call.argument(1 if unbind else 2, "dim", 0)) % ndim

    def _alike(self, call: Call, mask: Mask) -> MaskTree:
        ndim = call.nothing_known()[0].ndim
        if ndim == mask.ndim:
            return tuple(mask for _ in call.node.meta["value"])
        dropped = np.squeeze(mask, axis=self.dim(call, mask.ndim))
        return tuple(dropped for _ in call.node.meta["value"])


class GetItem(Layout):
    """x[...]: an output of several, or a slice."""

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """The output's mask; of a slice what is zero along every index that could be taken."""
        source, index = call.node.args[0], call.node.args[1]
        mask: MaskTree = zeros(source)  # type: ignore[arg-type]  # a node
        if isinstance(mask, tuple):
            return mask[index] if isinstance(index, int) else call.nothing_known()
        if mask is None or call.nothing_known() is None:
            return call.nothing_known()
        return _sliced(mask, sizes_of(source), index, len(call.shape))  # type: ignore[arg-type]  # a node

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Dimension by dimension what the index leaves of them."""
        source, index = call.node.args
        assert isinstance(source, fx.Node)
        items = _items(index, len(shape_of(source))) if is_tensor(source) else None
        if items is None:
            return None
        given, result = iter(sizes.of(source)), []
        for item in items:
            if item is None:
                result.append(1)
            elif isinstance(item, slice):
                result.append(_length(next(given), item, sizes))
            else:
                next(given)
        return [*result, *given]

    def classify(self, call: Call) -> Kind:
        """An accessory; a table read by an index that depends on the input is one too."""
        return Kind.ACCESSORY


class Pad(Layout):
    """Padding: zero where all along the padded dimensions is, if the padding itself is zero or copied."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """The mask, collapsed along the padded dimensions."""
        amounts = call.setting("padding", 1) if call.module is not None else call.argument(1, "pad")
        constant = call.argument(2, "mode", "constant") == "constant" if call.module is None else False
        value = call.setting("value", 3, 0) or 0
        if (constant or isinstance(call.module, nn.modules.padding._ConstantPadNd)) and value != 0:
            return known(call, False)
        mask = zeros(call.input)
        count = len(amounts) // 2 if isinstance(amounts, (tuple, list)) else mask.ndim
        return collapse(mask, range(mask.ndim - count, mask.ndim))

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


def _items(index: Any, ndim: int) -> list[Any] | None:
    """Return what an index says of each dimension, ``...`` written out; ``None`` where it picks by tensors or lists."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(item, (fx.Node, list, torch.Tensor, bool)) and not _is_number(item) for item in items):
        return None
    at = next((number for number, item in enumerate(items) if item is Ellipsis), None)
    if at is not None:
        taken = sum(item is not None and item is not Ellipsis for item in items)
        items[at : at + 1] = [slice(None)] * (ndim - taken)
    return items


def _length(size: Expression, item: slice, sizes: Sizes) -> Expression:
    """Return how many indices a slice takes of a size, ``None`` if that is not known."""
    start, stop, step = item.start or 0, item.stop, item.step or 1
    if isinstance(size, int) and all(isinstance(each, int) for each in (start, stop or 0, step)):
        return len(range(*item.indices(size)))
    if isinstance(stop, fx.Node) and is_size(stop):
        end = sizes.number(stop)
        if not reaches(size, end):
            return None
    elif stop is None:
        end = size
    else:
        return None
    if not isinstance(start, int) or not isinstance(step, int) or step < 1 or not 0 <= start < lead(end) + step:
        return None
    return apply(operator.floordiv, apply(operator.add, end, step - 1 - start), step)


def _sliced(mask: Mask, sizes: list[Expression], index: Any, ndim: int) -> Mask:
    """Return the mask of a slice by integers, slices, ``None`` and ``...``; by tensors only as a whole."""
    items = _items(index, mask.ndim)
    if items is None:
        return uniform(ndim, is_zero(mask))
    dim, given = 0, iter(sizes)
    for item in items:
        if item is None:
            mask = np.expand_dims(mask, dim)
            dim += 1
        elif isinstance(item, slice):
            mask = _slice(mask, dim, item, next(given))
            dim += 1
        else:
            mask = _index(mask, dim, item, next(given))
    return mask


def _slice(mask: Mask, dim: int, item: slice, size: Expression) -> Mask:
    """Return the mask of a slice along one dimension.

    Of a size that varies, only the indices of a fixed first block have a place of their own; all behind it are alike.
    """
    start, stop, step = item.start or 0, item.stop, item.step or 1
    if mask.shape[dim] == 1:
        return mask
    if not all(isinstance(each, int) for each in (start, stop or 0, step)):
        return collapse(mask, [dim])
    if isinstance(size, int) or (start >= 0 and stop is not None and 0 <= stop <= lead(size) and step == 1):
        return _taken(mask, dim, item)
    if start < 0 or step != 1 or stop is not None:
        return collapse(mask, [dim])
    return collapse(_taken(mask, dim, slice(min(start, lead(size)), None)), [dim]) if start else mask


def _taken(mask: Mask, dim: int, item: slice) -> Mask:
    selection: list[Any] = [slice(None)] * mask.ndim
    selection[dim] = item
    return np.asarray(mask[tuple(selection)])


def _index(mask: Mask, dim: int, index: Any, size: Expression) -> Mask:
    """Return the mask of one index along a dimension, which goes."""
    placed = isinstance(index, int) and (isinstance(size, int) or 0 <= index < lead(size))
    if placed and mask.shape[dim] > 1:
        return np.asarray(mask.take(index, axis=dim))
    behind = isinstance(index, int) and index >= 0 and mask.shape[dim] > 1
    rest = _taken(mask, dim, slice(lead(size), None)) if behind else mask
    return np.squeeze(collapse(rest if rest.shape[dim] else mask, [dim]), axis=dim)


def _is_number(item: Any) -> bool:
    return isinstance(item, fx.Node) and item.meta["value"] is None


register_rule(
    Reshape(),
    modules=[nn.Unflatten],
    functions=[torch.reshape, torch.squeeze, torch.unsqueeze, torch.unflatten],
    methods=["view", "reshape", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as"],
)
register_rule(ComplexPairs(), functions=[torch.view_as_complex, torch.view_as_real])
register_rule(Flatten(), modules=[nn.Flatten], functions=[torch.flatten], methods=["flatten"])
register_rule(
    Permute(),
    functions=[torch.permute, torch.transpose, torch.movedim, torch.swapaxes, torch.t],
    methods=["permute", "transpose", "movedim", "swapaxes", "t"],
)
register_rule(Expand(), functions=[torch.broadcast_to], methods=["expand", "expand_as", "broadcast_to"])
register_rule(
    Split(),
    functions=[torch.chunk, torch.split, torch.unbind, torch.tensor_split],
    methods=["chunk", "split", "unbind", "tensor_split"],
)
register_rule(GetItem(), functions=[operator.getitem])
register_rule(
    Pad(),
    modules=[nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d],
    functions=[F.pad],
)
register_rule(
    Moving(),
    functions=[torch.roll, torch.flip, torch.cumsum, torch.tril, torch.triu],
    methods=["roll", "flip", "cumsum", "tril", "triu"],
)
register_rule(
    Layout(),
    modules=[nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Unfold, nn.Fold],
    functions=[
        F.pixel_shuffle, F.pixel_unshuffle, F.channel_shuffle, F.unfold, F.fold,
        torch.index_select, torch.gather, torch.repeat_interleave, torch.narrow, torch.select,
    ],
    methods=["index_select", "gather", "repeat", "repeat_interleave", "narrow", "select", "unfold"],
)  # fmt: skip
