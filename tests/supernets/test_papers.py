"""StackedUnets and SuperResNet against what Section 4 of OTOv3 says of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from autosubnet import AutoSubnet, supernets
from autosubnet.errors import InputError


def names_left(subnet: nn.Module) -> set[str]:
    return {name for name, _ in subnet.named_parameters()}


def test_stacked_unets_have_about_the_papers_size() -> None:
    oto = AutoSubnet(supernets.create("stacked_unets"), torch.randn(2, 3, 32, 32))
    costs = oto.compute_costs()
    assert costs["num_params"] == pytest.approx(0.80e6, rel=0.1)
    assert costs["flops"] / 2 == pytest.approx(184e6, rel=0.1)


def test_one_zero_chain_disables_a_whole_unet() -> None:
    """As in Figure 5c: its ancestors may have any parameters."""
    oto = AutoSubnet(supernets.create("stacked_unets", width=0.2), torch.randn(4, 3, 32, 32))
    left = oto.compute_costs(without=["right.decoders.0"])
    with torch.no_grad():
        for parameter in oto.model.right.decoders[0].parameters():
            parameter.zero_()
    subnet = oto.construct_subnet()
    assert not any(name.startswith("right.") for name in names_left(subnet))
    assert sum(p.numel() for p in subnet.parameters()) == left["num_params"]


def test_the_deepest_path_of_a_unet_can_go() -> None:
    oto = AutoSubnet(supernets.create("stacked_unets", width=0.2), torch.randn(4, 3, 32, 32))
    assert oto.is_valid(["left.encoders.2", "right.decoders.0"])
    assert not oto.is_valid(["left.decoders.0", "right.decoders.0"])


def test_super_resnet_holds_subnets_of_one_and_two_million_parameters() -> None:
    oto = AutoSubnet(supernets.create("super_resnet"), torch.randn(2, 3, 32, 32))
    assert len(oto.groups) == 30
    for limit in (1e6, 2e6):
        oto.h2spg(lr=0.1, total_steps=4, target_num_params=limit)  # else it is refused


def test_each_kernel_of_a_super_residual_block_goes_by_itself() -> None:
    model = supernets.create("super_resnet", width=0.125, depths=(1, 1, 1))
    block = "features.2.candidates"
    assert [len(candidate[0].weight[0, 0]) for candidate in model.get_submodule(block)] == [3, 5, 7]
    oto = AutoSubnet(model, torch.randn(4, 3, 16, 16))
    assert oto.is_valid([f"{block}.{number}" for number in range(3)])


@pytest.mark.parametrize("name", ["stacked_unets", "super_resnet"])
@pytest.mark.parametrize("size", [8, 28, 33])
def test_images_of_any_size(name: str, size: int) -> None:
    model = supernets.create(name, width=0.1, in_channels=1, num_classes=7)
    assert model(torch.randn(2, 1, size, size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("stacked_unets", {"width": 0.001}, "leaves a channel, got 0.001"),
        ("super_resnet", {"width": 0.0}, "leaves a channel, got 0"),
        ("super_resnet", {"depths": (1, 2)}, r"3 depths of at least 1, got \(1, 2\)"),
        ("super_resnet", {"depths": (1, 0, 2)}, "3 depths of at least 1"),
    ],
)
def test_bad_sizes(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        supernets.create(name, **options)
