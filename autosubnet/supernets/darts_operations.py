"""The operations of a DARTS cell (Liu, Simonyan and Yang, 2018), without *zero* (SparseNAS, appendix).

Each is built for a number of channels, a stride and whether its norms have a weight and a bias, reads and returns
``(N, channels, H, W)``, and halves height and width (rounded up) at stride 2. Convolutions have no bias.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def relu_conv_norm(in_channels: int, out_channels: int, affine: bool) -> nn.Sequential:
    """Return a ReLU, a 1x1 convolution and a norm: what brings the inputs of a cell to its width."""
    conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(out_channels, affine=affine))


class FactorizedReduce(nn.Module):
    """Halve height and width by two strided 1x1 convolutions, the second of which sees the pixels one further.

    DARTS crops the first row and column for the second; the zeros appended here give it the same for even sizes, and
    let odd ones pass.

    Args:
        in_channels: of what it reads.
        out_channels: of what it returns, at least 2; each convolution gives one half.
        affine: whether the norm has a weight and a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, affine: bool) -> None:
        super().__init__()
        half = out_channels // 2
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, half, 1, stride=2, bias=False)
        self.conv2 = nn.Conv2d(in_channels, out_channels - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, ceil(H / 2), ceil(W / 2))`` for ``(N, in_channels, H, W)``."""
        x = self.relu(x)
        shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        reduced: Tensor = self.norm(torch.cat([self.conv1(x), self.conv2(shifted)], 1))
        return reduced


def _depthwise_pointwise(channels: int, kernel: int, stride: int, affine: bool, dilation: int = 1) -> list[nn.Module]:
    padding = kernel // 2 * dilation
    depthwise = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, channels, 1, bias=False)
    return [nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(channels, affine=affine)]


def _separable(kernel: int) -> Callable[[int, int, bool], nn.Module]:
    """The pair of a depthwise and a pointwise convolution twice, as in NASNet."""
    return lambda channels, stride, affine: nn.Sequential(
        *_depthwise_pointwise(channels, kernel, stride, affine), *_depthwise_pointwise(channels, kernel, 1, affine)
    )


def _dilated(kernel: int) -> Callable[[int, int, bool], nn.Module]:
    return lambda channels, stride, affine: nn.Sequential(
        *_depthwise_pointwise(channels, kernel, stride, affine, dilation=2)
    )


OPERATIONS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "max_pool_3x3": lambda channels, stride, affine: nn.MaxPool2d(3, stride, padding=1),
    "avg_pool_3x3": lambda channels, stride, affine: nn.AvgPool2d(3, stride, padding=1, count_include_pad=False),
    "skip_connect": lambda channels, stride, affine: (
        nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine)
    ),
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "dil_conv_3x3": _dilated(3),
    "dil_conv_5x5": _dilated(5),
}
"""By the names of DARTS' code, in its order: functions of channels, stride and whether norms are affine."""
