"""Proximal operators with a step size for each entry: exact in the diagonal metric, and the paper's median."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autosubnet.errors import InputError
from autosubnet.optim import prox_group_l2, prox_l1, prox_sgl
from autosubnet.optim.segments import Segments

GROUPS = [torch.tensor([0, 3]), torch.tensor([1, 4, 5, 7]), torch.tensor([6])]  # entry 2 is in no group
EXPONENTS = st.lists(st.floats(-6, 6), min_size=8, max_size=8)


def radius_by_bisection(y: list[float], steps: list[float], weight: float) -> float:
    """The norm of the minimiser of sum (p_i - y_i)^2 / (2 s_i) + weight ||p||, by halving and ``math.fsum``."""

    def too_small(r: float) -> bool:
        return math.fsum((v / (r + weight * s)) ** 2 for v, s in zip(y, steps, strict=True) if v) > 1

    low, high = 0.0, math.hypot(*y)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if middle > 0 and too_small(middle) else (low, middle)
    return low


@given(
    st.lists(st.floats(-3, 3), min_size=8, max_size=8), EXPONENTS, st.floats(0.0, 1.0), st.sampled_from([0.0, 0.5, 1.0])
)
def test_the_exact_operator_is_that_of_slow_bisection(
    values: list[float], exponents: list[float], lam: float, alpha: float
) -> None:
    steps = [10**e for e in exponents]
    z, step = (torch.tensor(v, dtype=torch.float64) for v in (values, steps))
    p = prox_sgl(z, GROUPS, step=step, lam=lam, alpha=alpha, metric="diagonal").tolist()
    y = [math.copysign(max(abs(v) - s * lam * alpha, 0.0), v) for v, s in zip(values, steps, strict=True)]
    assert p[2] == y[2]
    for group in GROUPS:
        mine, sizes = [y[i] for i in group], [steps[i] for i in group]
        weight = lam * (1 - alpha) * math.sqrt(len(mine))
        r = radius_by_bisection(mine, sizes, weight)
        scale = math.hypot(*mine)
        for i, v, s in zip(group.tolist(), mine, sizes, strict=True):
            expected = v * (r / (r + weight * s)) if r else 0.0
            # An error of r of one rounding of ||y|| is one of p of the same size.
            assert abs(p[i] - expected) <= 1e-14 * scale, (p[i], expected)


@pytest.mark.parametrize("metric", ["median", "diagonal"])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_equal_step_sizes_are_one_step_size(metric: str, alpha: float) -> None:
    torch.manual_seed(0)
    z = torch.randn(8, dtype=torch.float64)
    one = prox_sgl(z, GROUPS, step=0.3, lam=0.7, alpha=alpha)
    each = prox_sgl(z, GROUPS, step=torch.full_like(z, 0.3), lam=0.7, alpha=alpha, metric=metric)
    torch.testing.assert_close(each, one, rtol=0, atol=2e-16)
    assert torch.equal(each == 0, one == 0)
    assert torch.equal(prox_sgl(z, GROUPS, step=torch.tensor(0.3, dtype=z.dtype), lam=0.7, alpha=alpha), one)


def test_the_median_heuristic_is_another_operator() -> None:
    z = torch.ones(2, dtype=torch.float64)
    both, step = [torch.tensor([0, 1])], torch.tensor([0.1, 0.9], dtype=torch.float64)
    heuristic = prox_group_l2(z, both, step=step, lam=0.5)
    exact = prox_group_l2(z, both, step=step, lam=0.5, metric="diagonal")
    torch.testing.assert_close(heuristic, torch.full_like(z, 1 - 0.5 * 0.5), rtol=0, atol=1e-15)
    assert exact[0] > 0.9
    assert exact[1] < 0.7


def test_the_l1_part_has_the_step_size_of_each_entry() -> None:
    z = torch.tensor([[1.0, -1.0], [1.0, 0.2]])
    step = torch.tensor([[0.0, 0.5], [2.0, 0.5]])
    assert prox_l1(z, step=step, lam=1.0).tolist() == [[1.0, -0.5], [0.0, 0.0]]
    assert not prox_l1(-z, step=step, lam=1.0)[1].signbit().any()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 14, 21, 28, 35])
def test_medians_are_true_medians(count: int) -> None:
    torch.manual_seed(count)
    values = torch.randn(3 * count, dtype=torch.float64)
    groups = list(torch.randperm(3 * count).split(count))
    segments = Segments(groups)
    expected = [statistics.median(values[group].tolist()) for group in groups]
    torch.testing.assert_close(segments.medians(segments.take(values)).tolist(), expected, rtol=1e-15, atol=0)
    if count % 2 == 0:
        assert all(values[group].median() < middle for group, middle in zip(groups, expected, strict=True))


@pytest.mark.parametrize("metric", ["median", "diagonal"])
def test_zero_groups_and_single_entries(metric: str) -> None:
    z = torch.tensor([0.0, -0.1, -5.0, 0.0, 0.1, 0.1, -2.0, 0.0])
    step = torch.tensor([0.0, 1.0, 1.0, 0.0, 2.0, 3.0, 1.0, 1.0])
    p = prox_group_l2(z, GROUPS, step=step, lam=0.5, metric=metric)
    assert p.tolist() == [0.0, 0.0, -5.0, 0.0, 0.0, 0.0, -1.5, 0.0]
    assert not p.signbit()[p == 0].any()
    assert torch.equal(prox_group_l2(z, GROUPS, step=step, lam=0.0, metric=metric), z)
    assert torch.equal(prox_group_l2(z, GROUPS, step=torch.zeros(8), lam=0.5, metric=metric), z)


@pytest.mark.parametrize("metric", ["median", "diagonal"])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_that_single_precision_does_not_hold(metric: str, scale: float) -> None:
    torch.manual_seed(0)
    z, step = torch.randn(8) * scale, torch.rand(8)
    p = prox_group_l2(z, GROUPS, step=step, lam=0.4 * scale, metric=metric)
    wide = prox_group_l2(z.double(), GROUPS, step=step.double(), lam=0.4 * scale, metric=metric)
    torch.testing.assert_close(p.double(), wide, rtol=1e-5, atol=1e-6 * scale)
    assert p.any()


def test_an_entry_that_cannot_move() -> None:
    y, steps, weight = [0.3, 0.1], [0.0, 10.0], 0.5 * math.sqrt(2)
    z, step = (torch.tensor(v, dtype=torch.float64) for v in (y, steps))
    p = prox_group_l2(z, [torch.tensor([0, 1])], step=step, lam=0.5, metric="diagonal")
    assert p[0] == z[0]
    r = radius_by_bisection(y, steps, weight)
    assert abs(float(p[1]) - 0.1 * r / (r + 10 * weight)) < 1e-16


@pytest.mark.parametrize("metric", ["median", "diagonal"])
def test_half_precision_and_not_a_number(metric: str) -> None:
    z, step = torch.ones(8, dtype=torch.bfloat16), torch.full((8,), 0.25, dtype=torch.bfloat16)
    p = prox_group_l2(z, GROUPS, step=step, lam=1.0, metric=metric)
    assert p.dtype == torch.bfloat16
    assert p.tolist() == [0.75, 0.75, 1.0, 0.75, 0.75, 0.75, 0.75, 0.75]
    many = prox_group_l2(z.new_ones(400), [torch.arange(400)], step=0.5, lam=1.0)  # half precision counts to 256
    assert many.unique().tolist() == [0.5]
    bad = prox_sgl(z.float().index_fill(0, torch.tensor([0, 3]), math.nan), GROUPS, step=1.0, lam=0.1, alpha=0.5)
    assert bad.isnan().tolist() == [True, False, False, True, False, False, False, False]


@pytest.mark.parametrize(
    ("step", "metric", "message"),
    [
        (torch.ones(3), "median", r"step has shape \(3,\) and z \(8,\)"),
        (-torch.ones(8), "median", "an entry of step is negative"),
        (torch.full((8,), math.nan), "diagonal", "negative, infinite or NaN"),
        (torch.tensor(-1.0), "median", "step is -1.0"),
        (1.0, "mean", "metric is 'mean'; it must be one of 'median', 'diagonal'"),
    ],
)
def test_bad_arguments(step: float | Tensor, metric: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prox_sgl(torch.ones(8), GROUPS, step=step, lam=1.0, alpha=0.5, metric=metric)
