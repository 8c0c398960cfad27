"""H2SPG in training loops as people write them: precision, accumulation, compilation, averages, long runs."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from autosubnet import AutoSubnet
from autosubnet.errors import NonFiniteError
from autosubnet.optim import H2SPG


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.branches = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)) for _ in range(4))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(torch.relu(x + sum(branch(x) for branch in self.branches)))


def made(total_steps: int = 16, **options: object) -> tuple[Net, AutoSubnet, H2SPG]:
    torch.manual_seed(0)
    net = Net()
    oto = AutoSubnet(net, torch.randn(4, 6))
    options = {"lr": 0.05, "momentum": 0.9, **options}
    return net, oto, oto.h2spg(total_steps=total_steps, **options)  # type: ignore[arg-type]  # options of the call


def batch(step: int, count: int = 16) -> tuple[Tensor, Tensor]:
    rows = torch.randn(count, 6, generator=torch.Generator().manual_seed(step))
    return rows, rows[:, :3].argmax(1)


def train(net: nn.Module, optimizer: H2SPG, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad(set_to_none=step % 2 == 0)
        rows, labels = batch(step)
        cross_entropy(net(rows), labels).backward()
        optimizer.step()


def zeros(net: nn.Module, optimizer: H2SPG) -> bool:
    """Whether the chosen groups are zero, bit for bit."""
    named = dict(net.named_parameters())
    parts = [each for group in optimizer.chosen for each in group.slices]
    assert parts
    return not any(named[each.name].detach().count_nonzero() for each in parts if each.indices is None)


def test_groups_are_still_zero_after_10_000_steps_more() -> None:
    net, _, optimizer = made(weight_decay=5e-4)
    train(net, optimizer, range(16))
    rows, labels = batch(0)
    for _ in range(10_000):
        optimizer.zero_grad()
        cross_entropy(net(rows), labels).backward()
        optimizer.step()
    assert zeros(net, optimizer)


def test_with_a_gradient_scaler_steps_that_overflow_are_skipped() -> None:
    net, oto, optimizer = made()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    for step in range(24):
        optimizer.zero_grad()
        rows, labels = batch(step)
        with torch.autocast("cpu", torch.bfloat16):
            loss = cross_entropy(net(rows), labels)
        scaler.scale(loss * (float("inf") if step == 5 else 1)).backward()
        scaler.step(optimizer)
        scaler.update()
    assert optimizer.progress().step == 23
    assert zeros(net, optimizer)
    assert oto.construct_subnet().meta["autosubnet"].relative_difference <= 1e-4


def test_accumulated_gradients_are_those_of_the_whole_batch() -> None:
    nets = []
    for parts in (1, 4):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), Two(8), nn.Linear(8, 3)).double()
        optimizer = AutoSubnet(net, torch.randn(4, 6).double()).h2spg(lr=0.05, total_steps=12)
        for step in range(12):
            rows, labels = batch(step)
            optimizer.zero_grad()
            for some, those in zip(rows.double().chunk(parts), labels.chunk(parts), strict=True):
                (cross_entropy(net(some), those) / parts).backward()
            optimizer.step()
        nets.append((net, optimizer))
    assert nets[0][1].progress() == nets[1][1].progress()
    assert nets[0][1].progress().num_zero == 1
    for a, b in zip(nets[0][0].parameters(), nets[1][0].parameters(), strict=True):
        torch.testing.assert_close(a, b)


class Two(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.a(x) + self.b(x)


def test_a_compiled_model_is_trained_alike() -> None:
    plain, _, first = made()
    train(plain, first, range(16))
    net, oto, optimizer = made()
    train(torch.compile(net, backend="aot_eager"), optimizer, range(16))
    assert optimizer.progress() == first.progress()
    for a, b in zip(plain.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    oto.construct_subnet()


@pytest.mark.parametrize("average", [None, get_ema_multi_avg_fn(0.9)], ids=["swa", "ema"])
def test_averages_are_exact_after_apply_zeros(average: Callable[..., None] | None) -> None:
    net, _, optimizer = made()
    averaged = AveragedModel(net, multi_avg_fn=average, use_buffers=True)
    for step in range(16):
        train(net, optimizer, range(step, step + 1))
        averaged.update_parameters(net)
    assert not zeros(averaged.module, optimizer), "the average remembers what was there"
    optimizer.apply_zeros(averaged)
    assert zeros(averaged.module, optimizer)
    subnet = AutoSubnet(averaged.module, torch.randn(4, 6)).construct_subnet()
    report = subnet.meta["autosubnet"]
    assert report.num_params[1] < report.num_params[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [1, 5])
def test_what_is_not_finite_is_caught_before_anything_changes(value: float, step: int) -> None:
    net, _, optimizer = made()
    train(net, optimizer, range(step))
    scores = optimizer.scores.clone()
    optimizer.zero_grad()
    rows, labels = batch(step)
    (cross_entropy(net(rows), labels) * value).backward()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(NonFiniteError, match=r"the gradient of parameter 'branches\.\d\.\d\.\w+' is NaN, inf"):
        optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(optimizer.scores, scores)
    assert optimizer.progress().step == step
