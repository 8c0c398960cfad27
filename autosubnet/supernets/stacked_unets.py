"""StackedUnets: two Unets beside each other with different down-samplers (OTOv3, Section 4, Figure 5a).

Said by the text: two standard Unets with different down-samplers, composed in parallel, as a classifier of SVHN's 32x32
colour images; 0.80 M parameters and 184 M multiply-adds (Table 1). The figure is not in the text that we have, so what
follows is ours: the down-samplers are maximum and average pooling, the Unets read one stem and are added; each has
three depths of two 3x3 convolutions with BatchNorm and ReLU, and goes up by nearest neighbours and a concat with the
skip.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosubnet.errors import InputError


def _conv_bn(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
    )


class Unet(nn.Module):
    """A Unet of three depths that keeps the number of channels and the size (Ronneberger et al., 2015).

    Args:
        channels: of what it reads and returns; doubled at each depth.
        down: halves height and width.
    """

    def __init__(self, channels: int, down: Callable[[], nn.Module]) -> None:
        super().__init__()
        widths = [channels * 2**depth for depth in range(3)]
        self.downs = nn.ModuleList(down() for _ in widths[1:])
        self.encoders = nn.ModuleList(
            nn.Sequential(_conv_bn(before, width), _conv_bn(width, width))
            for before, width in zip([channels, *widths], widths, strict=False)
        )
        self.decoders = nn.ModuleList(
            nn.Sequential(_conv_bn(width + deeper, width), _conv_bn(width, width)) for width, deeper in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of ``x``."""
        skips = [self.encoders[0](x)]
        for down, encoder in zip(self.downs, self.encoders[1:], strict=True):
            skips.append(encoder(down(skips[-1])))
        x = skips.pop()
        for skip, decoder in zip(reversed(skips), reversed(self.decoders), strict=True):
            up = F.interpolate(x, size=skip.shape[2:])
            x = decoder(torch.cat([skip, up], 1))
        return x


class StackedUnets(nn.Module):
    """The supernet of OTOv3's Figure 5, for images of any size from 4x4.

    At ``width=1.0``, three channels and ten classes it has 0.74 M parameters and takes 189 M multiply-adds for an image
    of 32x32 (Table 1: 0.80 M and 184 M).

    Args:
        width: factor on the number of channels of every layer, rounded.
        in_channels: channels of the images.
        num_classes: number of outputs.

    Raises:
        InputError: if ``width`` leaves no channel.
    """

    def __init__(self, width: float = 1.0, in_channels: int = 3, num_classes: int = 10) -> None:
        super().__init__()
        channels = round(28 * width)
        if channels < 1:
            raise InputError(f"StackedUnets needs a width that leaves a channel, got {width}; 1.0 is the paper's size.")
        self.stem = _conv_bn(in_channels, channels)
        self.left = Unet(channels, partial(nn.MaxPool2d, 2))
        self.right = Unet(channels, partial(nn.AvgPool2d, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` for images ``(N, in_channels, H, W)``."""
        stem = self.stem(images)
        features = self.left(stem) + self.right(stem)
        logits: Tensor = self.linear(self.pool(features).flatten(1))
        return logits
