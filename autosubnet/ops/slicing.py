"""Operators that take pieces of a tensor: x[...], chunk, split, unbind."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import fx

from autosubnet.ops.call import Call, dtype_of, is_tensor, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.layout import Layout
from autosubnet.ops.masks import Mask, MaskTree, collapse, is_zero, uniform
from autosubnet.ops.registry import register
from autosubnet.ops.rule import ZerosOf, filled, is_partial, leaves
from autosubnet.ops.sizes import Expression, Sizes, apply, is_size, lead, reaches

INDICES = frozenset({torch.int64, torch.int32})


class Split(Layout):
    """Chunk, split, unbind, tensor_split: several outputs; what they are is seen from their shapes."""

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """The mask, cut into the pieces."""
        mask, shape = zeros(call.input), shape_of(call.input)
        pieces = [info.shape for info in call.node.meta["value"]]
        dim = self.dim(call, len(shape))
        if mask.shape[dim] == 1:
            return self._alike(call, mask)
        if any(len(piece) != len(shape) for piece in pieces):  # unbind
            fixed = isinstance(call.sizes_of(call.input)[dim], int)
            if not fixed:
                return filled(call.nothing_known(), is_zero(mask))
            return tuple(mask.take(number, axis=dim) for number in range(len(pieces)))
        found, start = [], 0
        source = call.sizes_of(call.input)[dim]
        placed = True  # where a piece begins is the same at every size
        for piece, sizes in zip(pieces, call.sizes_of(call.node), strict=True):
            end = start + piece[dim]
            fixed = isinstance(sizes[dim], int) and (isinstance(source, int) or end <= lead(source))
            found.append(mask.take(range(start, end), axis=dim) if placed and fixed else collapse(mask, [dim]))
            placed, start = placed and fixed, end
        return tuple(found)

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Never: where each piece begins is seen."""
        return False

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
            by_name = filled(call.nothing_known(), all(map(is_zero, leaves(mask))))  # of which, the name does not tell
            return mask[index] if isinstance(index, int) else by_name
        if mask is None or call.nothing_known() is None:
            return call.nothing_known()
        return _sliced(mask, call.sizes_of(source), index, len(call.shape))  # type: ignore[arg-type]  # a node

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Where a part is claimed and what is picked is computed, or one of several outputs is picked by its name."""
        source, index = call.node.args
        mask: MaskTree = masks(source)  # type: ignore[arg-type]  # a node
        if isinstance(mask, np.ndarray):
            items = items_of(index, mask.ndim)
            return (items is None or not all(map(_is_placed, items))) and is_partial(mask)
        return not isinstance(index, int) and any(each.any() for each in leaves(mask))

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Dimension by dimension what the index leaves of them."""
        source, index = call.node.args
        assert isinstance(source, fx.Node)
        items = items_of(index, len(shape_of(source))) if is_tensor(source) else None
        if items is None:
            return None
        given, result = iter(sizes.of(source)), []
        for item in items:
            if item is None:
                result.append(1)
            elif isinstance(item, slice):
                result.append(_length(next(given), item, sizes))
            elif _is_table(item):
                next(given)
                result += sizes.of(item)
            else:
                next(given)
        return [*result, *given]

    def classify(self, call: Call) -> Kind:
        """An accessory; a table read by an index that depends on the input is one too."""
        return Kind.ACCESSORY


def items_of(index: Any, ndim: int) -> list[Any] | None:
    """Return what an index says of each dimension, ``...`` written out.

    ``None`` where it picks by a list, a tuple, a range, a mask or several tables: what these return is in other places.
    """
    items = list(index) if isinstance(index, tuple) else [index]
    if not all(item is None or item is Ellipsis or isinstance(item, slice) or _picks(item) for item in items):
        return None
    if sum(map(_is_table, items)) > 1 or (any(map(_is_table, items)) and any(map(_is_number, items))):
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
    """Return the mask of a slice by integers, slices, ``None``, ``...`` and one table; by others only as a whole."""
    items = items_of(index, mask.ndim)
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
        elif _is_table(item):
            count = len(shape_of(item))
            mask = collapse(mask, [dim])
            mask = mask.reshape(*mask.shape[:dim], *[1] * count, *mask.shape[dim + 1 :])
            dim += count
            next(given)
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


def _picks(item: Any) -> bool:
    return _is_number(item) or _is_table(item)


def _is_table(item: Any) -> bool:
    """Whether an item is a tensor of numbers, by which it picks; one of truths is a mask."""
    return isinstance(item, fx.Node) and is_tensor(item) and dtype_of(item) in INDICES


def _is_placed(item: Any) -> bool:
    """Whether an item says in numbers what it takes."""
    bounds = (item.start, item.stop, item.step) if isinstance(item, slice) else (item,)
    return not any(isinstance(each, fx.Node) for each in bounds)


def _is_number(item: Any) -> bool:
    if isinstance(item, fx.Node):
        return item.meta["value"] is None
    return isinstance(item, (int, np.integer)) and not isinstance(item, bool)


register(
    Split(),
    functions=[torch.chunk, torch.split, torch.unbind, torch.tensor_split],
    methods=["chunk", "split", "unbind", "tensor_split"],
)
register(GetItem(), functions=[operator.getitem])
