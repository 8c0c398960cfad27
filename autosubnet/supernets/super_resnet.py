"""SuperResNet: a residual network whose blocks hold several kernel sizes side by side (OTOv3, Section 4, Figure 7a).

Said by the text: super-residual blocks with varying depths are stacked; each holds convolutions of 3x3, 5x5 and 7x7 in
parallel; on CIFAR-10, subnets of one and two million parameters are taken out of it (Table 2). The size of the
supernet is not said; what follows is ours: a stem, then three stages at full, half and a quarter of the resolution,
each begun by a strided 3x3 convolution, and in each a number of blocks relu(x + sum of conv-BN for each kernel size).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autosubnet.errors import InputError

KERNELS = (3, 5, 7)
_CHANNELS = (32, 64, 128)


def _conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class SuperResidualBlock(nn.Module):
    """Convolutions of several kernel sizes in parallel, added to what they read.

    Args:
        channels: of what it reads and returns.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.candidates = nn.ModuleList(_conv_bn(channels, channels, kernel) for kernel in KERNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of ``x``."""
        return torch.relu(x + sum(candidate(x) for candidate in self.candidates))


class SuperResNet(nn.Module):
    """The supernet of OTOv3's Figure 7, for images of any size.

    At ``width=1.0``, three channels and ten classes it has 5.8 M parameters and takes 881 M multiply-adds for an image
    of 32x32.

    Args:
        width: factor on the number of channels of every layer, rounded.
        depths: number of blocks in each of the three stages.
        in_channels: channels of the images.
        num_classes: number of outputs.

    Raises:
        InputError: if ``width`` leaves no channel, or there are not three depths of at least 1.
    """

    def __init__(
        self, width: float = 1.0, depths: Sequence[int] = (3, 4, 3), in_channels: int = 3, num_classes: int = 10
    ) -> None:
        super().__init__()
        widths = [round(channels * width) for channels in _CHANNELS]
        if min(widths) < 1:
            raise InputError(f"SuperResNet needs a width that leaves a channel, got {width}; 1.0 is the usual size.")
        if len(depths) != len(widths) or min(depths) < 1:
            raise InputError(f"SuperResNet needs {len(widths)} depths of at least 1, got {tuple(depths)}.")
        stages: list[nn.Module] = []
        for stage, (before, channels, depth) in enumerate(zip([in_channels, *widths], widths, depths, strict=False)):
            stages += [_conv_bn(before, channels, 3, stride=2 if stage else 1), nn.ReLU()]
            stages += [SuperResidualBlock(channels) for _ in range(depth)]
        self.features = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` for images ``(N, in_channels, H, W)``."""
        logits: Tensor = self.linear(self.pool(self.features(images)).flatten(1))
        return logits
