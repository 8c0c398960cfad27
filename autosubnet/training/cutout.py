"""Cutout (DeVries and Taylor, 2017): a square of each training image is set to zero."""

from __future__ import annotations

import torch
from torch import Tensor


def cutout(images: Tensor, side: int) -> Tensor:
    """Return images ``(N, C, H, W)`` with a square of each at zero, the mean of normalised images.

    Its centre lies anywhere in the image, so that it may reach over the border.

    Args:
        images: not changed.
        side: of the square, in pixels; with 0 the images are returned.
    """
    if not side:
        return images
    count, _, height, width = images.shape
    rows, columns = (
        (torch.arange(size, device=images.device) - torch.randint(size, (count, 1), device=images.device) + side // 2)
        for size in (height, width)
    )
    hit = [(each >= 0) & (each < side) for each in (rows, columns)]
    return images.masked_fill((hit[0][:, :, None] & hit[1][:, None, :])[:, None], 0.0)
