"""The first steps of HAPG and AdamHAPG without a penalty: for paths that compute nothing at birth."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autosubnet import AutoSubnet
from autosubnet.errors import AutoSubnetWarning, InputError, StateError
from autosubnet.optim import HAPG, AdamHAPG, LambdaPath

from .nodes import GROUPS, Nodes, train
from .test_hapg import BOTH, unchanged


class Residual(nn.Module):
    """A branch that is zero at birth, by its last norm, or nearly so, by a LayerScale."""

    def __init__(self, scale: float | None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16))
        self.last = nn.BatchNorm1d(16) if scale is None else nn.Identity()
        self.scale = nn.Parameter(torch.full((16,), 1.0 if scale is None else scale))
        if scale is None:
            nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.last(self.body(x))


class Useless(nn.Module):
    """A path whose weight never gets a gradient, in a sum of three."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.zero = nn.Linear(16, 16), nn.Linear(16, 16)
        nn.init.zeros_(self.zero.weight).requires_grad_(False)
        nn.init.zeros_(self.zero.bias).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.body(x)) + self.zero(x)


def zeros_by_step(kind: str, model: nn.Module, at: tuple[int, ...], **options: Any) -> tuple[list[set[str]], set[str]]:
    """Which paths Prox(z_t) holds at zero after some steps of a training, and all of them."""
    rows = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
    labels = (rows[:, :4] * rows[:, 4:]).argmax(1)
    oto = AutoSubnet(model, rows[:4], architecture_weights=True)
    paths = {part.name for group in oto.paths for part in group.slices}
    architecture = getattr(oto, kind)(**options)
    others = [p for name, p in oto.model.named_parameters() if name not in paths and p.requires_grad]
    weights = torch.optim.SGD(others, lr=0.05, momentum=0.9)
    oto.model.train()
    found = []
    for step in range(1, max(at) + 1):
        batch = torch.arange(step * 32, step * 32 + 32) % len(rows)
        oto.model.zero_grad()
        cross_entropy(oto.model(rows[batch]), labels[batch]).backward()
        architecture.step()
        weights.step()
        if step in at:
            found.append({name for name, value in architecture.proximal().items() if not value})
    return found, paths


@pytest.mark.parametrize("kind", ["hapg", "adamhapg"])
@pytest.mark.parametrize("scale", [None, 1e-6])
def test_branches_that_are_zero_at_birth_stay_by_default(kind: str, scale: float | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), *(Residual(scale) for _ in range(3)), nn.Linear(16, 4))
    found, paths = zeros_by_step(kind, model, (1, 5, 50, 100, 101, 110, 150))
    assert len(paths) == 6
    assert found == [set()] * 7


def test_a_path_without_a_gradient_goes_after_the_warm_up() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), Useless(), nn.Linear(16, 4))
    found, paths = zeros_by_step("adamhapg", model, (100, 101, 150))
    useless = {name for name in paths if name.endswith(".2")}
    assert found == [set(), useless, useless]


@pytest.mark.parametrize(("kind", "options"), BOTH)
def test_the_warm_up_is_as_no_penalty(kind: type[HAPG], options: dict[str, Any]) -> None:
    """Then it is as if lam were set; the growth of lam counts on."""
    models = Nodes(), Nodes()
    first = kind(models[0], GROUPS, **options, lam=0.3, warmup_steps=4)
    second = kind(models[1], GROUPS, **options, lam=0.0)
    path = LambdaPath(first, 0.1)
    for step in range(10):
        second.param_groups[0]["lam"] = 0.0 if step < 4 else first.param_groups[0]["lam"]
        for model, optimizer in zip(models, (first, second), strict=True):
            train(model, optimizer, range(step, step + 1))
        assert first.warming_up == (step < 4)
        assert not second.warming_up
        if step % 2:
            path.step()
    assert all(map(torch.equal, models[0].parameters(), models[1].parameters()))


@pytest.mark.parametrize(("kind", "options"), BOTH)
@pytest.mark.parametrize("at", [3, 8])
def test_a_resumed_run_is_as_far_in_its_warm_up(kind: type[HAPG], options: dict[str, Any], at: int) -> None:
    models = Nodes(), Nodes(1)
    first = kind(models[0], GROUPS, **options, lam=0.3, warmup_steps=5)
    train(models[0], first, range(at))
    second = kind(models[1], GROUPS)
    models[1].load_state_dict(models[0].state_dict())
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0]["warmup_steps"] == 5
    for model, optimizer in zip(models, (first, second), strict=True):
        train(model, optimizer, range(at, 12))
    assert all(map(torch.equal, models[0].parameters(), models[1].parameters()))


def test_deriving_in_the_warm_up_is_warned_of() -> None:
    model = Nodes()
    optimizer = AdamHAPG(model, GROUPS, lam=5.0, lr=0.1, warmup_steps=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert optimizer.derive() == ()
    train(model, optimizer, range(3))
    with pytest.warns(AutoSubnetWarning, match="all steps were among the warmup_steps") as caught:
        assert optimizer.derive() == ()
    assert caught[0].filename == __file__
    train(model, optimizer, range(3, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert optimizer.derive()


@pytest.mark.parametrize("warmup", [-1, 2.0, True, None, "3"])
def test_what_is_no_number_of_steps(warmup: Any) -> None:
    model = Nodes()
    with pytest.raises(InputError, match=r"warmup_steps is .* whole number of at least 0"):
        HAPG(model, GROUPS, warmup_steps=warmup)
    optimizer = AdamHAPG(model, GROUPS)
    state = optimizer.state_dict()
    state["param_groups"][0]["warmup_steps"] = warmup
    with unchanged(model, optimizer), pytest.raises(StateError, match="warmup_steps is"):
        optimizer.load_state_dict(state)
