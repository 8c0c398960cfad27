"""Which runs of a model its subnet is compared with: a model need not take what it was not given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import autosubnet
from subnet.checks import report_of, same, zero

Body = Callable[["Two", Tensor], Tensor]


class Two(nn.Module):
    """Two layers, and a table of four rows."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = (nn.Linear(4, 4) for _ in range(3))
        self.register_buffer("table", torch.randn(4, 4))
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


@pytest.mark.parametrize("batch", [0, 1, 3, 4])
def test_a_model_of_a_few_examples(batch: int) -> None:
    """It takes one more than it was given, or not, and never the eight of a training batch."""
    model = Two(lambda m, x: m.head((m.a(x) + m.b(x)).relu() + m.table[: x.shape[0]]))
    zero(model, ["a"])
    subnet = autosubnet.remove_zeros(model, torch.randn(batch, 4))
    assert report_of(subnet).num_params[1] < report_of(subnet).num_params[0]
    same(model, subnet, (torch.randn(min(batch + 1, 4), 4),), tolerance=1e-6)


@pytest.mark.parametrize("shape", [(0, 3, 3, 4), (2, 3, 0, 4), (2, 0, 0, 4)])
def test_examples_without_pixels(shape: tuple[int, ...]) -> None:
    model = Two(lambda m, x: m.head((m.a(x) + m.b(x)).relu()))
    zero(model, ["a"])
    subnet = autosubnet.remove_zeros(model, torch.randn(shape))
    assert report_of(subnet).num_params[1] < report_of(subnet).num_params[0]


def test_sparse_outputs() -> None:
    model = Two(lambda m, x: (m.a(x) + m.b(x)).to_sparse())
    zero(model, ["a"])
    x = torch.randn(3, 4)
    assert torch.equal(autosubnet.remove_zeros(model, x)(x).to_dense(), model(x).to_dense())
