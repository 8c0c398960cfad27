"""Verification of what a model holds besides its parameters, and of models that cannot be copied."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

import autosubnet
from autosubnet import AutoSubnet
from autosubnet.capture import Inputs, capture
from autosubnet.errors import VerificationError
from autosubnet.subnet.verify import verify
from subnet.checks import example, report_of, settled, zero


def test_buffers_that_differ_after_training_are_caught() -> None:
    """What is returned is the same in this run, and would not be in later ones."""
    x = example(4, 6)
    model = settled(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), x)
    trace = capture(model, Inputs.of(x))
    subnet = autosubnet.remove_zeros(model, (x,))
    assert verify(trace, subnet, draws="in order", kept={})
    subnet.get_submodule("1").momentum = 0.3
    assert verify(trace, subnet, draws="in order")
    with pytest.raises(
        VerificationError, match=r"after a run in train mode buffer '1\.running_mean' of the subnet differs"
    ):
        verify(trace, subnet, draws="in order", kept={})


def test_rounding_in_statistics_is_no_difference() -> None:
    """What a norm without a bias leaves to the next has a mean of zero, but for what its sum was rounded by."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 700, bias=False), nn.BatchNorm1d(700), nn.ReLU(), nn.Linear(700, 64, bias=False),
        nn.BatchNorm1d(64), nn.Linear(64, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    with torch.no_grad():
        model[0].weight[::3] = 0
        model[1].weight[::3] = 0
    report = report_of(autosubnet.remove_zeros(model, (torch.randn(16, 8),)))
    assert report.num_params[1] < report.num_params[0]


class Held(nn.Module):
    """A buffer of some kind, read or not."""

    def __init__(self, buffer: Tensor) -> None:
        super().__init__()
        self.a, self.b, self.head = (nn.Linear(4, 4) for _ in range(3))
        self.register_buffer("kept", buffer)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.kept.dequantize() if self.kept.is_quantized else self.kept.to_dense()
        return self.head((self.a(x) + self.b(x)) @ kept)


@pytest.mark.parametrize(
    "buffer",
    [
        torch.eye(4).to_sparse(),
        torch.quantize_per_tensor(torch.eye(4), 0.1, 0, torch.qint8),
        torch.ones(1, 4).expand(4, 4),
    ],
    ids=["sparse", "quantized", "expanded"],
)
def test_buffers_of_other_layouts(buffer: Tensor) -> None:
    model = Held(buffer).eval()
    oto = AutoSubnet(model, torch.randn(3, 4))
    zero(model, ["a"])
    x = torch.randn(5, 4)
    assert torch.equal(oto.construct_subnet()(x), model(x))


class Locked(nn.Module):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.lock = nn.Linear(4, 4), threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x)


def test_a_model_that_cannot_be_copied_is_constructed_without_verification() -> None:
    with pytest.raises(VerificationError, match=r"cannot be copied.*; pass verify=False"):
        autosubnet.remove_zeros(Locked(), torch.randn(3, 4))
    assert autosubnet.remove_zeros(Locked(), torch.randn(3, 4), verify=False)
