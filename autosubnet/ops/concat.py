"""Concatenation and stacking."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable
from functools import reduce
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import fx

from autosubnet.ops.call import Call, dtype_of, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, collapse, compress, expand, uniform
from autosubnet.ops.memory import format_of, lies_so, order
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Alias, Free, Replace, Rule, Tie, ZerosOf, known
from autosubnet.ops.sizes import Expression, Sizes, apply


class Joining(Rule):
    """Puts a list of tensors side by side."""

    def classify(self, call: Call) -> Kind:
        """A joint of two or more tensors that depend on the input, else an accessory."""
        return Kind.JOINT if sum(node.meta["data"] for node in call.operands) > 1 else Kind.ACCESSORY

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Side by side."""
        return self.zeros(call, constants)

    def why_not_zero(self, call: Call) -> str:
        """Another block remains."""
        return "another block beside it is not zero"


class Concat(Joining):
    """Blocks side by side along an existing dimension; zero blocks can be cut out.

    Args:
        dim: the dimension where the function fixes it, as ``torch.hstack`` does, which puts tensors of one dimension
            side by side along that; ``None`` where the call says it.
    """

    def __init__(self, dim: int | None = None) -> None:
        self._dim = dim
        # Found once a call: a wide concat is asked for each of its blocks.
        self._places: WeakKeyDictionary[Call, dict[fx.Node, list[slice]]] = WeakKeyDictionary()
        self._fixed: WeakKeyDictionary[Call, bool] = WeakKeyDictionary()

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """The blocks' masks side by side."""
        dim = self.dim(call)
        blocks = self.blocks(call)
        if blocks is None:
            return known(call, False)
        masks = self._places_kept(call, [zeros(block) for block in blocks], dim)
        if all(mask.size == 1 for mask in masks) and len({bool(mask.all()) for mask in masks}) == 1:
            return masks[0]
        if all(mask.size == mask.shape[dim] for mask in masks):  # nothing but this dimension matters: the usual case
            return _side_by_side(masks, [shape_of(block)[dim] for block in blocks], dim)
        masks = [expand(mask, shape_of(block), dim) for mask, block in zip(masks, blocks, strict=True)]
        return compress(np.concatenate(_alike(masks, dim), axis=dim))

    def _places_kept(self, call: Call, masks: list[Mask], dim: int) -> list[Mask]:
        """Return the masks, made alike behind the first block whose size varies: places there are never the same."""
        if self._is_fixed(call):
            return masks
        at = next(place for place, block in enumerate(self.blocks(call) or ()) if _varies(call, block, dim))
        behind = reduce(np.logical_and, (collapse(mask, [dim]) for mask in masks[at:]))
        return [*masks[:at], *(behind for _ in masks[at:])]

    def _is_fixed(self, call: Call) -> bool:
        """Whether no block's size along the dimension varies."""
        if call not in self._fixed:
            self._fixed[call] = not any(_varies(call, block, self.dim(call)) for block in self.blocks(call) or ())
        return self._fixed[call]

    def patched(self, call: Call, masks: ZerosOf, before: MaskTree, changed: Collection[fx.Node]) -> MaskTree | None:
        """The blocks that changed, in their places."""
        dim, places = self.dim(call), self.places(call)
        blocks = {block: masks(block) for block in changed}
        if not self._is_fixed(call):
            return None
        if not blocks.keys() <= places.keys():
            return None
        if any(mask.size != mask.shape[dim] for mask in (before, *blocks.values())):
            return None
        zero = np.broadcast_to(before.reshape(-1), call.shape[dim]).copy()
        for block, mask in blocks.items():
            for place in places[block]:
                zero[place] = mask.reshape(-1)
        return _along(zero, dim, len(call.shape))

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Each block goes with its place; the other dimensions go with each other."""
        dim, blocks = self.dim(call), self.blocks(call)
        if blocks is None:
            return
        start = 0
        for block in blocks:
            for each in range(len(call.shape)):
                yield Tie(block, each, call.node, each, start if each == dim else 0)
            start += shape_of(block)[dim]

    def absorbs(self, call: Call) -> Collection[fx.Node]:
        """All blocks."""
        return self.places(call).keys()

    def drops(self, call: Call, zero: frozenset[fx.Node]) -> Alias | Replace | None:
        """The blocks that are left, laid out as all of them were; a single one stands for itself."""
        blocks = self.blocks(call)
        if blocks is None:
            return None
        left = [block for block in blocks if block not in zero]
        if not left or len({dtype_of(block) for block in blocks}) > 1:
            return None
        if not all(block.meta["value"].strides for block in blocks):
            return None  # sparse tensors lie otherwise
        info = call.node.meta["value"]
        dims = order(info.shape, info.strides)
        if len(left) > 1:
            same = order(*_seen_as_one(left, self.dim(call))) == dims
            return Replace(torch.cat, (left, self.dim(call)), {}, None if same else format_of(dims))
        if lies_so(left[0].meta["value"], dims):
            return Alias(left[0])
        return Replace(torch.clone, (left[0],), {"memory_format": format_of(dims)})

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the first block, added up along the dimension."""
        blocks = self.blocks(call)
        if blocks is None:
            return None
        every = [sizes.of(block) for block in blocks]
        dim = self.dim(call)
        total = every[0][dim]
        for each in every[1:]:
            total = apply(operator.add, total, each[dim])
        return [*every[0][:dim], total, *every[0][dim + 1 :]]

    def dim(self, call: Call) -> int:
        """The dimension, counted from the front."""
        if self._dim is not None:
            return min(self._dim, len(call.shape) - 1)
        dim = int(call.argument(1, "dim", 0))
        return dim % len(call.shape)

    def blocks(self, call: Call) -> list[fx.Node] | None:
        """The tensors, or ``None`` where they are not written out."""
        blocks = call.argument(0, "tensors")
        if not isinstance(blocks, (list, tuple)) or not all(isinstance(each, fx.Node) for each in blocks):
            return None
        # torch.cat skips legacy empty tensors of another number of dimensions
        return list(blocks) if all(len(shape_of(each)) == len(call.shape) for each in blocks) else None

    def places(self, call: Call) -> dict[fx.Node, list[slice]]:
        """Where each block is along the dimension; empty where the tensors are not written out."""
        if call not in self._places:
            found: dict[fx.Node, list[slice]] = {}
            start = 0
            for block in self.blocks(call) or ():
                end = start + shape_of(block)[self.dim(call)]
                found.setdefault(block, []).append(slice(start, end))
                start = end
            self._places[call] = found
        return self._places[call]


class Stack(Joining):
    """Blocks side by side along a new dimension."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """The blocks' masks side by side."""
        blocks = call.argument(0, "tensors")
        if not isinstance(blocks, (list, tuple)):
            return known(call, False)
        dim = int(call.argument(1, "dim", 0)) % len(call.shape)
        masks = [np.expand_dims(zeros(block), dim) for block in blocks]
        return compress(np.concatenate(_alike(masks, dim), axis=dim))

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of a block, with the number of blocks among them."""
        blocks = call.argument(0, "tensors")
        if not isinstance(blocks, (list, tuple)):
            return None
        given = list(sizes.of(blocks[0]))
        given.insert(int(call.argument(1, "dim", 0)) % len(call.shape), len(blocks))
        return given


def _seen_as_one(blocks: list[fx.Node], dim: int) -> tuple[torch.Size, tuple[int, ...]]:
    """Return shape and strides of blocks side by side: how that lies in memory depends on how all of them do."""
    infos = [block.meta["value"] for block in blocks]
    whole = torch.cat([torch.empty_strided(info.shape, info.strides, device="meta") for info in infos], dim)
    return whole.shape, whole.stride()


def _varies(call: Call, block: fx.Node, dim: int) -> bool:
    return not isinstance(call.sizes_of(block)[dim], int)


def _side_by_side(masks: list[Mask], sizes: list[int], dim: int) -> Mask:
    """Concatenate masks that are alike along all dimensions but ``dim``."""
    zero = np.zeros(sum(sizes), dtype=bool)
    start = 0
    for mask, size in zip(masks, sizes, strict=True):
        if mask.any():
            zero[start : start + size] = mask.reshape(-1)
        start += size
    return _along(zero, dim, masks[0].ndim)


def _along(zero: Mask, dim: int, ndim: int) -> Mask:
    """Return the mask that varies along one dimension as ``zero`` does."""
    if not zero.any() or zero.all():
        return uniform(ndim, bool(zero.any()))
    shape = [1] * ndim
    shape[dim] = zero.size
    return zero.reshape(shape)


def _alike(masks: list[Mask], dim: int) -> list[Mask]:
    """Broadcast the masks against each other along all dimensions but ``dim``."""
    shape = np.broadcast_shapes(*((*mask.shape[:dim], 1, *mask.shape[dim + 1 :]) for mask in masks))
    return [np.broadcast_to(mask, (*shape[:dim], mask.shape[dim], *shape[dim + 1 :])) for mask in masks]


register(Concat(), functions=[torch.cat, torch.concat, torch.concatenate])
register(Concat(1), functions=[torch.hstack, torch.column_stack])
register(Stack(), functions=[torch.stack])
