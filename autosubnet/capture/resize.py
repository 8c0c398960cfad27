"""Other resolutions and lengths of example inputs, at which a captured graph is checked against its model."""

from __future__ import annotations

from collections.abc import Callable

import torch

Resize = Callable[[torch.Tensor], list[int]]
"""From a tensor to a shape for it, the first size aside."""


def _another(size: int, sign: int) -> int:
    """A size with the same usual strides as divisors; large ones grow or shrink, so that a run takes no longer."""
    if size >= 96:
        return size + sign * 32
    return size + (8 if size >= 8 else 2)


def shrunk(tensor: torch.Tensor) -> list[int]:
    """Large images, volumes and sequences at about half of each side (their sides differ), so that a run is cheap."""
    sizes = grown(tensor)
    for number, dim in enumerate(_sides(tensor)):
        if (size := tensor.shape[dim]) >= 160:
            sizes[dim] = -(-size // 64) * 32 - (32 if number % 2 else 0)
    return sizes


def grown(tensor: torch.Tensor) -> list[int]:
    """Images and volumes of another height and width (large ones higher and narrower), longer sequences."""
    sizes = list(tensor.shape)
    for number, dim in enumerate(_sides(tensor)):
        sizes[dim] = _another(sizes[dim], -1 if number % 2 else 1)
    return sizes


def lengthened(tensor: torch.Tensor) -> list[int]:
    """As ``grown``, but what has three dimensions is a signal (batch, channels, length)."""
    if tensor.is_floating_point() and tensor.ndim == 3:
        return [*tensor.shape[:2], _another(tensor.shape[2], 1)]
    return grown(tensor)


def shortened(tensor: torch.Tensor) -> list[int]:
    """Sequences a quarter shorter: for models with a table of positions that is full."""
    sizes = list(tensor.shape)
    if (tensor.is_floating_point(), tensor.ndim) in ((True, 3), (False, 2)):
        sizes[1] -= max(1, sizes[1] // 4) if sizes[1] > 1 else 0
    return sizes


def _sides(tensor: torch.Tensor) -> tuple[int, ...]:
    return _SIDES.get((tensor.is_floating_point(), tensor.ndim), ())


RESIZES: tuple[Resize, ...] = (shrunk, grown, lengthened, shortened)
# Dimensions that may have another size in another input, by (floating point, number of dimensions).
_SIDES = {(True, 3): (1,), (True, 4): (2, 3), (True, 5): (2, 3, 4), (False, 2): (1,)}
