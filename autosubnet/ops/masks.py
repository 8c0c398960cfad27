"""Zero masks: for each entry of a tensor, whether it is zero for every input.

A mask is a boolean array with as many dimensions as its tensor; a dimension has the tensor's size, or size 1
where all its indices are alike. So the mask of a typical activation is a single entry and that of a
convolution's output one entry a channel. The order is that of claims: ``False`` claims nothing, ``True``
claims zero; every transfer function must stay below the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Mask = npt.NDArray[np.bool_]
MaskTree = Any  # a Mask, None for what is not a tensor, or a tuple of these for an operator with several outputs


@cache
def uniform(ndim: int, zero: bool) -> Mask:
    """Return the mask that says the same of every entry; it is shared by all who ask, and read-only."""
    mask = np.full((1,) * ndim, zero)
    mask.flags.writeable = False
    return mask


def shared(mask: MaskTree) -> MaskTree:
    """Return the same claim, of one entry as :func:`uniform` has it: most masks are, and then take no memory."""
    if isinstance(mask, np.ndarray) and mask.size == 1:
        return uniform(mask.ndim, bool(mask.item()))
    return mask


def is_zero(mask: MaskTree) -> bool:
    """Whether the whole tensor is zero."""
    return isinstance(mask, np.ndarray) and bool(mask.all())


def same(a: MaskTree, b: MaskTree) -> bool:
    """Whether two masks claim the same."""
    if a is b:
        return True
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and bool((a == b).all())
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return False


def compress(mask: Mask) -> Mask:
    """Return the same mask with every dimension whose indices are alike reduced to size 1."""
    for dim in range(mask.ndim):
        if mask.shape[dim] > 1:
            first = mask.take([0], axis=dim)
            if (mask == first).all():
                mask = first
    return mask


def all_over(mask: Mask, dims: Iterable[int], *, keepdims: bool = False) -> Mask:
    """Return whether all entries along ``dims`` are zero; these dimensions go unless kept at size 1."""
    return np.asarray(mask.all(axis=tuple(dims), keepdims=keepdims))


def along(mask: Mask, dim: int) -> Mask:
    """Return, for each index along ``dim``, whether its whole slice is zero; shape (size,) or (1,)."""
    return all_over(mask, [axis for axis in range(mask.ndim) if axis != dim % mask.ndim])


def collapse(mask: Mask, dims: Iterable[int]) -> Mask:
    """Return the mask of a value that reads all indices of ``dims``: zero where all of them are."""
    return all_over(mask, {dim % mask.ndim for dim in dims} if mask.ndim else (), keepdims=True)


def varies(mask: Mask, dims: Iterable[int]) -> bool:
    """Whether a mask says of some index along ``dims`` what it does not say of another."""
    axes = tuple(dims)
    return bool((mask.any(axis=axes) != mask.all(axis=axes)).any())


def with_ndim(mask: Mask, ndim: int) -> Mask:
    """Return the mask as seen by broadcasting: leading dimensions of size 1 added."""
    return mask.reshape((1,) * (ndim - mask.ndim) + mask.shape)


def expand(mask: Mask, shape: Sequence[int], dim: int) -> Mask:
    """Return the mask with ``dim`` at its full size."""
    full = list(mask.shape)
    full[dim] = shape[dim]
    return np.broadcast_to(mask, full)


def of_tensor(tensor: torch.Tensor) -> Mask:
    """Return the mask of a parameter's values."""
    nonzero = int(torch.count_nonzero(tensor))
    if nonzero in (0, tensor.numel()):
        return uniform(tensor.ndim, nonzero < tensor.numel())
    return compress((tensor.detach() == 0).cpu().numpy())
