"""DemoSupNet: the supernet of Figure 1 of OTOv3, rebuilt from the words around the picture.

::

                 +-> Conv2-BN2 ---------------------------+
    Conv1-BN1 ---+-> MaxPool-Conv3-BN3 -------------------+-> Concat -> Conv6-BN6 -+-> Conv7-BN7 -+
                 +-> AvgPool -+-> Conv4-BN4 -+            |                        +-> Conv8-BN8 -+
                              +-> Conv5-BN5 -+-> Add -----+                                       |
                                                                       Linear <- AvgPool <- Add <-+

Said by the text: Conv2, MaxPool and AvgPool read Conv1-BN1 (Section 3.1); the columns of Conv6 belong to
the segments that it reads, the first to Conv2-BN2 and the second to MaxPool-Conv3-BN3 (Figure 1, Section
3.3); without Conv2, Conv3 and Conv8 the Concat has one input left, and the Add between Conv7 and an AvgPool
too (Section 3.3); with Conv8 gone, nothing but Conv7 joins the input to the output (Figure 2); every
convolution has a bias (``b_i`` in Figure 1); a group sparsity of K = 3 is asked for (Figure 2).

Inferred: that Conv4 and Conv5, which the text never names, read the AvgPool and meet in a second Add. The
text has to say *which* Add becomes unnecessary, so there are two of them; the other one stays, as do its
operands. This gives six removable groups (2, 3, 4, 5, 7 and 8), of which K = 3 is one half. The place of
the ReLUs (behind every BN) and of the stride (Conv6) is inferred too, as are kernels and widths. These are
chosen to meet Table 1 twice within 5 %: 0.82 M parameters and 209 M multiply-adds at 1x28x28 before, 0.45 M
and 107 M after the removal of groups 2, 3 and 8. For that Conv8 is the cheap alternative to Conv7: 1x1
against 3x3.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from autosubnet.errors import InputError


def _conv_bn(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels), relu=nn.ReLU()))


class DemoSupNet(nn.Module):
    """The supernet of OTOv3's Figure 1, for images of any size.

    At ``width=1.0``, one channel and ten classes it has 0.81 M parameters and takes 201 M multiply-adds for
    an image of 28x28 (Table 1: 0.82 M and 209 M).

    Args:
        width: factor on the number of channels of every layer, each rounded and at least one.
        in_channels: channels of the images.
        num_classes: number of outputs.

    Raises:
        InputError: if ``width`` is not positive.
    """

    def __init__(self, width: float = 1.0, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        if width <= 0:
            raise InputError(f"DemoSupNet needs a width above 0, got {width}; 1.0 is the size of the paper.")
        stem, branch, trunk, head = (max(1, round(channels * width)) for channels in (32, 64, 256, 112))
        self.conv1 = _conv_bn(in_channels, stem)
        self.conv2 = _conv_bn(stem, branch)
        self.maxpool = nn.MaxPool2d(3, stride=1, padding=1)
        self.conv3 = _conv_bn(stem, branch)
        self.avgpool = nn.AvgPool2d(3, stride=1, padding=1)
        self.conv4 = _conv_bn(stem, branch)
        self.conv5 = _conv_bn(stem, branch)
        self.conv6 = _conv_bn(3 * branch, trunk, stride=2)
        self.conv7 = _conv_bn(trunk, head)
        self.conv8 = _conv_bn(trunk, head, kernel=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(head, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` for images ``(N, in_channels, H, W)``."""
        stem = self.conv1(images)
        smooth = self.avgpool(stem)
        branches = [self.conv2(stem), self.conv3(self.maxpool(stem)), self.conv4(smooth) + self.conv5(smooth)]
        trunk = self.conv6(torch.cat(branches, dim=1))
        features = self.pool(self.conv7(trunk) + self.conv8(trunk))
        logits: Tensor = self.linear(features.flatten(1))
        return logits
