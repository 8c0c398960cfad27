"""Settings of operators that are sizes of tensors: nothing is claimed of what they decide."""

from __future__ import annotations

import copy
from typing import Any

import promises
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosubnet import AutoSubnet, remove_zeros


class Dynamic(nn.Module):
    """A convolution whose weights each image computes for itself, all in one call (CondConv)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.side = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.weights = nn.Linear(4, 4 * 4 * 9)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        batch, channels, height, width = x.shape
        weight = self.weights(x.mean((2, 3))).view(batch * channels, channels, 3, 3)
        y = F.conv2d(x.reshape(1, batch * channels, height, width), weight, padding=1, groups=batch)
        return x + self.side(x) + y.view(batch, channels, height, width)


class Norm(nn.Module):
    """Groups of two channels each, however many there are."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.side = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return x + F.group_norm(self.side(x), x.shape[1] // 2)


def check(model: nn.Module, names: list[str]) -> None:
    torch.manual_seed(0)
    model = model.double()
    oto = AutoSubnet(model, torch.randn(2, 3, 6, 6, dtype=torch.float64))
    assert [group.name for group in oto.groups] == names
    oto.random_set_zero_groups(1.0)
    before = copy.deepcopy(model)
    promises.equal_outputs(before, oto.construct_subnet(), oto.example_inputs)


def test_as_many_groups_as_images() -> None:
    check(Dynamic(), ["side"])


def test_half_as_many_groups_as_channels() -> None:
    check(Norm(), ["side"])


class Picked(nn.Module):
    def __init__(self, index: Any) -> None:
        super().__init__()
        self.stem, self.side, self.head, self.index = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1), index

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.side(x)[:, self.index])


@pytest.mark.parametrize("index", [(2, 1, 0, 3), range(3, -1, -1), [2, 1, 0, 3]], ids=["tuple", "range", "list"])
def test_channels_picked_by_what_an_index_holds(index: Any) -> None:
    model, x = Picked(index).double().eval(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.side.parameters():
            parameter.zero_()
    subnet = remove_zeros(model, x)
    assert "side" not in dict(subnet.named_modules())
    assert torch.equal(subnet(x), model(x))
