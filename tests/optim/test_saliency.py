"""Redundancy scores against a transcription in plain floats."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autosubnet.optim import ScoreFunction, magnitude_score, random_score, redundancy_score, taylor_score

Sums = tuple[float, float, float, int]  # cosine, ||x||, ||g||, size


def oracle(groups: list[Sums]) -> list[float]:
    magnitudes = [norm / math.sqrt(size) for _, norm, _, size in groups]
    nonzero = [m for m in magnitudes if m > 0]
    typical = sum(nonzero) / len(nonzero) if nonzero else 0.0
    scores = []
    for (cosine, norm, g_norm, _), magnitude in zip(groups, magnitudes, strict=True):
        if norm == 0:
            scores.append(0.0)
            continue
        c = cosine if g_norm > 0 else 0.0
        scores.append(0.5 * (1 + c) / 2 + 0.5 * typical / (typical + magnitude))
    return scores


def tensors(groups: list[Sums]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = [(c * x * g, x * x, g * g, float(n)) for c, x, g, n in groups]
    x_dot_g, x_sq, g_sq, sizes = torch.tensor(rows, dtype=torch.float64).unbind(1)
    return x_dot_g, x_sq, g_sq, sizes


norms = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))
sums = st.tuples(st.floats(-1, 1), norms, norms, st.integers(1, 1000))


@given(st.lists(sums, min_size=1, max_size=8))
def test_scores_follow_the_formula(groups: list[Sums]) -> None:
    scores = redundancy_score(*tensors(groups))
    torch.testing.assert_close(scores, torch.tensor(oracle(groups), dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_smaller_groups_and_gradients_towards_zero_are_more_redundant() -> None:
    small, large, towards, away = (0.0, 0.1, 1.0, 4), (0.0, 10.0, 1.0, 4), (0.9, 1.0, 1.0, 4), (-0.9, 1.0, 1.0, 4)
    scores = redundancy_score(*tensors([small, large, towards, away]))
    assert scores[0] > scores[1]
    assert scores[2] > scores[3]


def test_a_group_that_is_zero_at_birth_is_the_least_redundant() -> None:
    scores = redundancy_score(*tensors([(0.0, 0.0, 1.0, 4), (-1.0, 1e6, 1.0, 4), (1.0, 1e-6, 1.0, 4)]))
    assert scores.argmin() == 0
    assert scores.isfinite().all()


def test_one_tiny_group_leaves_the_others_apart() -> None:
    scores = redundancy_score(*tensors([(0.0, 1e-9, 1.0, 4), (0.0, 1.0, 1.0, 4), (0.0, 3.0, 1.0, 4)]))
    assert scores[1] - scores[2] > 0.05


@pytest.mark.parametrize("score", [redundancy_score, magnitude_score, taylor_score])
@given(groups=st.lists(sums, min_size=1, max_size=8))
def test_every_score_lies_in_0_to_1_and_takes_what_is_zero_for_needed(score: ScoreFunction, groups: list[Sums]) -> None:
    scores = score(*tensors(groups)).tolist()
    assert all(0 <= each <= 1 for each in scores)
    assert all(each == 0 for each, (_, norm, _, _) in zip(scores, groups, strict=True) if norm == 0)


@given(st.lists(sums, min_size=1, max_size=8))
def test_magnitude_and_taylor_order_as_they_say(groups: list[Sums]) -> None:
    given = tensors(groups)
    alive = [i for i, (_, norm, _, _) in enumerate(groups) if norm > 0]
    for score, importance in (
        (magnitude_score, lambda i: math.sqrt(given[1][i] / given[3][i])),
        (taylor_score, lambda i: abs(given[0][i])),
    ):
        scores = score(*given)
        for i in alive:
            assert all(scores[i] <= scores[j] for j in alive if importance(j) <= importance(i))


def test_the_random_score_is_one_order_for_a_seed() -> None:
    given = tensors([(0.5, 1.0, 1.0, 3)] * 20)
    assert torch.equal(random_score(1)(*given), random_score(1)(*(2 * each for each in given)))
    assert not torch.equal(random_score(1)(*given), random_score(2)(*given))
    assert random_score()(*given).unique().numel() == 20
