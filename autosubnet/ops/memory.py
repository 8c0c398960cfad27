"""How tensors lie in memory: what later views need of it, and which entry gets which random draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def order(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Return the dimensions as they lie in memory, the outermost first; those of size 1 keep their places."""
    dims = list(range(len(shape)))
    wide = [dim for dim in dims if shape[dim] > 1]
    places = iter(sorted(wide, key=lambda dim: -strides[dim]) if strides else wide)
    return [next(places) if dim in wide else dim for dim in dims]


def lies_so(info: Any, dims: Sequence[int]) -> bool:
    """Whether a tensor lies dense in memory, in this order of its dimensions; those of size 1 do not matter."""
    size = 1
    for dim in reversed(dims):
        if info.shape[dim] > 1 and info.strides[dim] != size:
            return False
        size *= info.shape[dim]
    return True


def format_of(dims: Sequence[int]) -> torch.memory_format:
    """Return the memory format that has this order of dimensions; the usual one where none has."""
    ndim = len(dims)
    last = [0, *range(2, ndim), 1]
    return _LAST[ndim] if ndim in _LAST and list(dims) == last else torch.contiguous_format


def kept_format(tensor: torch.Tensor) -> torch.memory_format:
    """Return the format for a copy of some of a tensor's entries; a 1x1 kernel, say, is told by its strides alone."""
    if tensor.ndim not in _LAST:
        return torch.preserve_format
    last = torch.empty(tensor.shape, device="meta", memory_format=_LAST[tensor.ndim]).stride()
    usual = torch.empty(tensor.shape, device="meta").stride()
    return _LAST[tensor.ndim] if tensor.stride() == last != usual else torch.preserve_format
