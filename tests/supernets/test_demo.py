"""DemoSupNet against Table 1 and Section 3 of OTOv3."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autosubnet.errors import InputError
from autosubnet.supernets import DemoSupNet


def multiply_adds(model: nn.Module, images: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(images)
    return counter.get_total_flops() // 2


class PaperSubnet(nn.Module):
    """What Figure 3c leaves: groups 2, 3 and 8 are gone, and so is the Concat."""

    def __init__(self, supernet: DemoSupNet) -> None:
        super().__init__()
        self.parts = supernet
        conv = supernet.conv6.conv
        supernet.conv6.conv = nn.Conv2d(64, conv.out_channels, 3, stride=2, padding=1)
        del supernet.conv2, supernet.conv3, supernet.conv8

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        smooth = self.parts.avgpool(self.parts.conv1(images))
        trunk = self.parts.conv6(self.parts.conv4(smooth) + self.parts.conv5(smooth))
        return self.parts.linear(self.parts.pool(self.parts.conv7(trunk)).flatten(1))


def test_paper_size() -> None:
    model = DemoSupNet()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(0.82e6, rel=0.05)
    assert multiply_adds(model, torch.randn(1, 1, 28, 28)) == pytest.approx(209e6, rel=0.05)


def test_the_removal_of_the_papers_groups_leaves_the_papers_subnet() -> None:
    model = PaperSubnet(DemoSupNet())
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(0.45e6, rel=0.05)
    assert multiply_adds(model, torch.randn(1, 1, 28, 28)) == pytest.approx(107e6, rel=0.05)


@pytest.mark.parametrize("size", [8, 28, 33])
def test_takes_images_of_any_size(size: int) -> None:
    model = DemoSupNet(width=0.125, in_channels=3, num_classes=7)
    assert model(torch.randn(2, 3, size, size)).shape == (2, 7)


def test_width_scales_every_layer() -> None:
    model = DemoSupNet(width=0.5)
    widths = [module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert widths == [16, 32, 32, 32, 32, 128, 56, 56]


def test_every_convolution_reads_what_the_text_says() -> None:
    """Watch one forward pass."""
    model = DemoSupNet(width=0.125).eval()
    seen: dict[str, torch.Tensor] = {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda _, args, out, name=name: seen.update({f"{name} in": args[0], name: out}))
    model(torch.randn(1, 1, 8, 8))
    columns = seen["conv6 in"].chunk(3, dim=1)
    assert torch.equal(columns[0], seen["conv2"])
    assert torch.equal(columns[1], seen["conv3"])
    assert torch.equal(columns[2], seen["conv4"] + seen["conv5"])
    assert seen["conv2 in"] is seen["maxpool in"] is seen["avgpool in"] is seen["conv1"]
    assert seen["conv3 in"] is seen["maxpool"]
    assert seen["conv4 in"] is seen["conv5 in"] is seen["avgpool"]
    assert seen["conv7 in"] is seen["conv8 in"] is seen["conv6"]
    assert torch.equal(seen["pool in"], seen["conv7"] + seen["conv8"])


def test_refuses_a_width_without_channels() -> None:
    with pytest.raises(InputError, match=r"width above 0, got -1"):
        DemoSupNet(width=-1)
