"""Lambda and the half-space projection against transcriptions in plain floats."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from autosubnet.optim.half_space import choose_lambda, leaves_half_space

vectors = st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=2, max_size=6)


def sums(x: torch.Tensor, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (x * g).sum().view(1), (x * x).sum().view(1), (g * g).sum().view(1)


def oracle(x_dot_g: float, x_sq: float, g_sq: float, steps_left: int) -> float:
    if x_sq == 0:
        return 0.0
    norm = math.sqrt(x_sq)
    wish = norm / steps_left
    if x_dot_g >= 0:
        return wish
    lam_min = -x_dot_g / norm
    lam_max = -g_sq * norm / x_dot_g
    if lam_max <= lam_min * (1 + 1e-6):
        return lam_min + wish
    lam = max(wish, 2 * lam_min)
    return lam if lam < lam_max * (1 - 1e-6) else (lam_min + lam_max) / 2


@given(vectors, st.integers(1, 1000))
def test_lambda_follows_the_formula(pairs: list[tuple[float, float]], steps_left: int) -> None:
    x, g = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    x_dot_g, x_sq, g_sq = sums(x, g)
    lam = choose_lambda(x_dot_g, x_sq, g_sq, steps_left)
    expected = oracle(x_dot_g.item(), x_sq.item(), g_sq.item(), steps_left)
    assert math.isclose(lam.item(), expected, rel_tol=1e-12, abs_tol=1e-300)
    assert lam.isfinite()


@given(vectors, st.integers(2, 1000))
def test_inside_the_interval_the_norm_falls_and_the_step_descends(
    pairs: list[tuple[float, float]], steps_left: int
) -> None:
    x, g = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    x_dot_g, x_sq, g_sq = sums(x, g)
    if x_sq < 1e-6 or x_dot_g >= 0 or x_dot_g**2 > 0.999 * x_sq * g_sq or x_dot_g > -1e-6:
        return
    lam = choose_lambda(x_dot_g, x_sq, g_sq, steps_left)
    direction = -(g + lam * x / x_sq.sqrt())
    assert (x * direction).sum() < 0
    assert (g * direction).sum() < 0


def test_where_the_published_cap_lets_the_norm_grow() -> None:
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    g = torch.tensor([-0.5, 0.2], dtype=torch.float64)
    lam = choose_lambda(*sums(x, g), 10**6)
    assert lam > 0.5


def test_where_twice_lambda_min_is_lambda_max_the_midpoint_is_chosen() -> None:
    """At 45 degrees, whatever the last bit says, down to the smallest norms."""
    for size in (1.0, 3.0, 1e-3, 1e-30, 1e-122):
        x, g = torch.tensor([[0.0, -size], [5.0, 5.0]], dtype=torch.float64)
        torch.testing.assert_close(choose_lambda(*sums(x, g), 10**6).item(), 7.5)


def test_parallel_gradient_leaves_the_schedule() -> None:
    x = torch.tensor([3.0, -4.0], dtype=torch.float64)
    for steps_left in (10, 2, 1):
        lam = choose_lambda(*sums(x, -0.5 * x), steps_left)
        trial = x + 0.5 * x - lam * x / x.norm()
        torch.testing.assert_close(trial, x * (steps_left - 1) / steps_left, rtol=1e-12, atol=1e-12)


def test_without_a_gradient_the_schedule_reaches_zero() -> None:
    x = torch.tensor([3.0, -4.0], dtype=torch.float64)
    norms = []
    for steps_left in range(5, 0, -1):
        lam = choose_lambda(*sums(x, torch.zeros(2, dtype=torch.float64)), steps_left)
        x = x - lam * x / x.norm()
        norms.append(x.norm().item())
    torch.testing.assert_close(torch.tensor(norms), torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0]), rtol=1e-6, atol=1e-12)


def test_half_space() -> None:
    trial_dot_x = torch.tensor([-1.0, 0.4, 0.6, 0.0, 0.0])
    x_sq = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])
    assert leaves_half_space(trial_dot_x, x_sq, 0.0).tolist() == [True, False, False, False, True]
    assert leaves_half_space(trial_dot_x, x_sq, 0.5).tolist() == [True, True, False, True, True]
