"""A choice in several periods: some groups before each, by scores that go on between; the rest as with one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autosubnet import AutoSubnet
from autosubnet.errors import BudgetError, InputError, NonFiniteError
from autosubnet.optim import H2SPG
from autosubnet.optim.target import Target
from optim.toy import GROUPS, first, make, make_toy, train

STEPS = {"warmup_steps": 3, "projection_steps": 9, "selection_periods": 3}


def watched(optimizer: H2SPG, model: nn.Module, steps: int) -> list[tuple[int, int]]:
    """Train; return the numbers of chosen and of zero groups after each step."""
    found = []
    for step in range(steps):
        train(model, optimizer, range(step, step + 1))
        found.append((optimizer.progress().num_chosen, optimizer.progress().num_zero))
    return found


def test_each_period_chooses_its_part_and_ends_with_it_at_zero() -> None:
    model = make_toy()
    found = watched(make(model, target_group_sparsity=1.0, **STEPS), model, 14)
    assert [chosen for chosen, _ in found] == [0, 0, 2, 2, 2, 4, 4, 4, 6, 6, 6, 6, 6, 6]
    assert [found[end][1] for end in (5, 8, 11, 13)] == [2, 4, 6, 6]


def test_one_period_is_the_paper() -> None:
    models = make_toy(), make_toy()
    for model, options in zip(models, ({}, {"selection_periods": 1}), strict=True):
        train(model, make(model, **options), range(20))
    assert all(torch.equal(p, q) for p, q in zip(*(model.parameters() for model in models), strict=True))


def test_later_choices_follow_later_scores_and_keep_the_earlier_ones() -> None:
    calls: list[tuple[Sequence[int], list[int]]] = []

    def select(scores: Sequence[float], target: Target, taken: Sequence[int]) -> list[int]:
        calls.append((taken, first(scores, target, taken)))
        return calls[-1][1]

    def score(x_dot_g: Tensor, x_sq: Tensor, g_sq: Tensor, sizes: Tensor) -> Tensor:
        """In the first steps for the first groups, later for the last."""
        rising = torch.arange(len(GROUPS), dtype=torch.float64)
        return rising if len(calls) > 1 else -rising

    model = make_toy()
    optimizer = make(model, select, target_group_sparsity=0.7, score=score, score_momentum=0.0, **STEPS)
    train(model, optimizer, range(14))
    assert calls[1:] == [((), [0, 1, 2, 3]), ((0, 1), [0, 1, 5, 4]), ((0, 1, 5), [0, 1, 5, 4])]
    assert [GROUPS.index(group) for group in optimizer.chosen] == [0, 1, 5, 4]


def test_a_choice_that_finds_no_better_set_keeps_the_plan() -> None:
    def select(scores: Sequence[float], target: Target, taken: Sequence[int]) -> list[int]:
        if taken:
            raise BudgetError("nothing found")
        return first(scores, target)

    model = make_toy()
    optimizer = make(model, select, target_group_sparsity=1.0, **STEPS)
    train(model, optimizer, range(12))
    assert optimizer.progress().num_zero == 6


def test_a_step_that_is_refused_counts_for_nothing() -> None:
    """Neither where no set is found nor where a gradient is no number, in any period."""
    calls: list[int] = []

    def select(scores: Sequence[float], target: Target, taken: Sequence[int]) -> list[int]:
        calls.append(1)
        if len(calls) == 2:
            raise BudgetError("nothing found")
        return first(scores, target, taken)

    model = make_toy()
    optimizer = make(model, select, target_group_sparsity=1.0, **STEPS)
    for at, error in ((2, BudgetError), (4, NonFiniteError)):
        train(model, optimizer, range(optimizer.progress().step, at))
        scores, before = optimizer.scores.clone(), [p.detach().clone() for p in model.parameters()]
        if error is NonFiniteError:
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, float("nan"))
        with pytest.raises(error):
            optimizer.step() if error is NonFiniteError else train(model, optimizer, range(at, at + 1))
        assert optimizer.progress().step == at
        assert torch.equal(optimizer.scores, scores)
        assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


class Branches(nn.Module):
    """Eight branches of different width between two layers; the last but one is barely used."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.up = nn.ModuleList(nn.Linear(6, 2 + number) for number in range(8))
        self.down = nn.ModuleList(nn.Linear(2 + number, 6) for number in range(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        parts = [down(torch.relu(up(x))) for up, down in zip(self.up, self.down, strict=True)]
        return self.head(x + sum(parts))


@pytest.mark.parametrize(
    "target", [{"target_group_sparsity": 0.6}, {"target_num_params": 300}, {"target_flops": 500}], ids=str
)
@pytest.mark.parametrize("periods", [1, 2, 5])
def test_the_target_is_reached_in_any_number_of_periods(periods: int, target: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model, x = Branches(), torch.randn(16, 4)
    oto = AutoSubnet(model, x)
    optimizer = oto.h2spg(lr=0.05, total_steps=30, projection_steps=10, selection_periods=periods, **target)
    for _ in range(30):
        optimizer.zero_grad()
        cross_entropy(model(x), x[:, :3].argmax(1)).backward()
        optimizer.step()
    subnet = oto.construct_subnet()
    assert optimizer.progress().num_zero == optimizer.progress().num_chosen
    if "target_group_sparsity" in target:
        assert optimizer.progress().num_chosen == int(0.6 * len(oto.groups))
    elif "target_flops" in target:
        assert oto.compute_flops(subnet) <= 500
    else:
        assert sum(p.numel() for p in subnet.parameters()) <= 300


@pytest.mark.parametrize(
    ("periods", "message"), [(0, "at least 1"), (2.5, "whole number"), (9, "of a projection phase")]
)
def test_bad_numbers_of_periods(periods: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(make_toy(), selection_periods=periods)
