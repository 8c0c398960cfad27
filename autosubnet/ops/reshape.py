"""Operators that regroup entries in the order in which they are: view, reshape, flatten, squeeze, complex pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import fx, nn

from autosubnet.ops.call import Call, dtype_of, shape_of
from autosubnet.ops.layout import Layout
from autosubnet.ops.masks import Mask, all_over, collapse, is_zero, uniform
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Free, Tie, ZerosOf, known
from autosubnet.ops.sizes import Expression, Sizes, lead, product, quotient


class Reshape(Layout):
    """View, reshape, flatten, unflatten, squeeze, unsqueeze: the same entries in the same order."""

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """The mask, reshaped."""
        same = dtype_of(call.input) == dtype_of(call.node)  # a view as another dtype reads other numbers
        if not same or np.prod(call.shape) == 0:
            return known(call, False)
        sizes, wanted = call.sizes_of(call.input), call.sizes_of(call.node)
        return reshaped(zeros(call.input), shape_of(call.input), call.shape, sizes, wanted)

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Never; what is viewed as another dtype is a pole."""
        return False

    def poles(self, call: Call) -> tuple[fx.Node, ...]:
        """Of a view as another dtype what it views."""
        return (call.input,) if dtype_of(call.input) != dtype_of(call.node) else ()

    def tells_sign(self, call: Call) -> bool:
        """A view as another dtype does."""
        return dtype_of(call.input) != dtype_of(call.node)

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


def reshaped(
    mask: Mask, old: Sequence[int], new: Sequence[int], sizes: Sequence[Expression], wanted: Sequence[Expression]
) -> Mask:
    """Return the mask of a tensor of shape ``old`` after a reshape to ``new``.

    Dimensions are matched in the smallest blocks of equal size; only a block that is not uniform is expanded. ``sizes``
    and ``wanted`` are those of both at any input. Where a size that varies is mixed with others, a pattern would hold
    for one size only: it is claimed of the entries that come first at every size, and behind them only where all are
    alike. Where dimensions match in the example alone, only the whole tensor is claimed.
    """
    if mask.size == 1:
        return mask.reshape((1,) * len(new))
    shape: list[int] = []
    sources: list[int] = []
    for ours, theirs in _blocks(old, new):
        alone = len(ours) == len(theirs) == 1
        if alone and sizes[ours[0]] != wanted[theirs[0]]:
            return uniform(len(new), is_zero(mask))
        if not alone and not all(isinstance(sizes[dim], int) for dim in ours):
            first = _first([sizes[dim] for dim in ours], [wanted[dim] for dim in theirs])
            joined = _joined(ours, theirs, sizes, wanted)
            mask = _alike_behind(mask, old, ours, first) if first else collapse(mask, ours[1:] if joined else ours)
        varied = any(mask.shape[dim] > 1 for dim in ours)
        sources += [old[dim] if varied else 1 for dim in ours]
        shape += [new[dim] if varied else 1 for dim in theirs]
    return np.broadcast_to(mask, sources).reshape(shape)


def _joined(
    ours: Sequence[int], theirs: Sequence[int], sizes: Sequence[Expression], wanted: Sequence[Expression]
) -> bool:
    """Whether a block is joined to one size that is fixed: then what is behind its first dimension is fixed too."""
    return bool(ours) and len(theirs) == 1 and isinstance(wanted[theirs[0]], int) and isinstance(sizes[ours[0]], int)


def _first(ours: Sequence[Expression], theirs: Sequence[Expression]) -> int:
    """Return how many entries of a block come first, before and after, whatever the size of its first dimension."""
    if not (ours and theirs) or product(ours) != product(theirs):
        return 0
    behind = [*ours[1:], *theirs[1:]]
    if not all(isinstance(each, int) for each in behind):
        return 0
    return min(lead(sizes[0]) * math.prod(sizes[1:]) for sizes in (ours, theirs))


def _alike_behind(mask: Mask, shape: Sequence[int], block: Sequence[int], first: int) -> Mask:
    """Make alike what is behind the first entries of a block of dimensions."""
    if all(mask.shape[dim] == 1 for dim in block):
        return mask
    sizes = [shape[dim] for dim in block]
    before, after = mask.shape[: block[0]], mask.shape[block[-1] + 1 :]
    flat = np.broadcast_to(mask, (*before, *sizes, *after)).reshape(math.prod(before), math.prod(sizes), -1).copy()
    flat[:, first:] = flat[:, first:].all(axis=1, keepdims=True)
    return flat.reshape(*before, *sizes, *after)


def _blocks(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    blocks: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        ours, theirs = [], []
        left = right = 1
        if i < len(old):
            ours, left, i = [i], old[i], i + 1
        if j < len(new):
            theirs, right, j = [j], new[j], j + 1
        while left != right:
            if left < right:
                ours.append(i)
                left, i = left * old[i], i + 1
            else:
                theirs.append(j)
                right, j = right * new[j], j + 1
        blocks.append((ours, theirs))
    return blocks


register(
    Reshape(),
    modules=[nn.Unflatten],
    functions=[torch.reshape, torch.squeeze, torch.unsqueeze, torch.unflatten],
    methods=["view", "reshape", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as"],
)
register(Flatten(), modules=[nn.Flatten], functions=[torch.flatten], methods=["flatten"])
register(ComplexPairs(), functions=[torch.view_as_complex, torch.view_as_real])
