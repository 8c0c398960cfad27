"""Proximal operators against their optimality conditions, entry by entry, and against hand-made values."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autosubnet.errors import InputError
from autosubnet.optim import prox_group_l2, prox_l1, prox_sgl

GROUPS = [torch.tensor([0, 3]), torch.tensor([1, 4, 5]), torch.tensor([6])]  # entry 2 is in no group
COVERED = {0, 1, 3, 4, 5, 6}


def is_optimal(z: list[float], p: list[float], l1: float, l2: float) -> bool:
    """Whether 0 is a subgradient of ||p - z||^2 / 2 + l1 ||p||_1 + l2 sum sqrt(n) ||p_(n)|| at p."""

    def sign_fits(residual: float, value: float) -> bool:
        if value != 0:
            return math.isclose(residual, math.copysign(l1, value), rel_tol=1e-9, abs_tol=1e-12)
        return abs(residual) <= l1 + 1e-12

    good = all(sign_fits(z[i] - p[i], p[i]) for i in range(len(z)) if i not in COVERED)
    for group in GROUPS:
        positions = group.tolist()
        weight = l2 * math.sqrt(len(positions))
        norm = math.sqrt(sum(p[i] ** 2 for i in positions))
        if norm > 0:
            good &= all(sign_fits(z[i] - p[i] - weight * p[i] / norm, p[i]) for i in positions)
        else:
            left_over = [max(abs(z[i]) - l1, 0.0) for i in positions]
            good &= math.sqrt(sum(v**2 for v in left_over)) <= weight + 1e-12
    return good


@given(
    st.lists(st.floats(-3, 3), min_size=7, max_size=7), st.floats(0.1, 2.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0)
)
def test_prox_sgl_is_optimal(values: list[float], step: float, lam: float, alpha: float) -> None:
    z = torch.tensor(values, dtype=torch.float64)
    p = prox_sgl(z, GROUPS, step=step, lam=lam, alpha=alpha)
    assert is_optimal(values, p.tolist(), step * lam * alpha, step * lam * (1 - alpha))


def test_the_parts_are_the_ends_of_alpha() -> None:
    z = torch.randn(7, dtype=torch.float64)
    assert torch.equal(prox_sgl(z, GROUPS, step=0.5, lam=0.6, alpha=1.0), prox_l1(z, step=0.5, lam=0.6))
    assert torch.equal(prox_sgl(z, GROUPS, step=0.5, lam=0.6, alpha=0.0), prox_group_l2(z, GROUPS, step=0.5, lam=0.6))


def test_l1_comes_first() -> None:
    z = torch.tensor([1.0, 0.4], dtype=torch.float64)
    both = [torch.tensor([0, 1])]
    right = prox_sgl(z, both, step=1.0, lam=0.4, alpha=0.5)
    wrong = prox_l1(prox_group_l2(z, both, step=1.0, lam=0.2), step=1.0, lam=0.2)
    assert (right - wrong).abs().max() > 0.01
    scale = 1 - 0.2 * math.sqrt(2) / math.hypot(0.8, 0.2)
    torch.testing.assert_close(right, torch.tensor([0.8 * scale, 0.2 * scale], dtype=torch.float64))


def test_groups_below_their_threshold_and_zero_groups_are_exactly_zero() -> None:
    z = torch.tensor([0.1, 0.0, 5.0, 0.1, 0.0, 0.0, 2.0])
    p = prox_group_l2(z, GROUPS, step=1.0, lam=0.5)
    assert p.tolist() == [0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 1.5]


def test_shape_and_argument_are_kept() -> None:
    z = torch.randn(2, 3)
    before = z.clone()
    p = prox_sgl(z, [torch.tensor([[0, 4], [2, 5]])], step=1.0, lam=0.1, alpha=0.3)
    assert p.shape == z.shape
    assert torch.equal(z, before)
    assert torch.equal(prox_group_l2(z, [], step=1.0, lam=1.0), z)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: prox_sgl(z, [], step=1.0, lam=1.0, alpha=1.5), "alpha is 1.5"),
        (lambda z: prox_l1(z, step=-1.0, lam=1.0), "step is -1.0; it may not be negative"),
        (lambda z: prox_group_l2(z, [], step=1.0, lam=math.nan), "lam is nan; it may not be negative, infinite or NaN"),
        (lambda z: prox_group_l2(z, [torch.tensor([3])], step=1.0, lam=1.0), "outside z, which has 3 entries"),
        (lambda z: prox_group_l2(z, [torch.tensor([0, 1]), torch.tensor([1])], step=1.0, lam=1.0), "in two groups"),
        (lambda z: prox_l1(z, step=math.inf, lam=0.0), "step is inf; it may not be negative, infinite"),
        (
            lambda z: prox_l1(z, step=torch.tensor([1.0, math.inf, 1.0]), lam=0.0),
            "an entry of step is negative, infinite",
        ),
        (lambda z: prox_l1(z, step=0.0, lam=math.inf), "lam is inf"),
        (lambda z: prox_group_l2(z, [torch.arange(3)], step=1.0, lam=math.inf), "lam is inf"),
        (lambda z: prox_sgl(z, [], step=1.0, lam=math.inf, alpha=0.0), "lam is inf"),
        (
            lambda z: prox_group_l2(z, [torch.arange(2), [2]], step=1.0, lam=1.0),
            "group 1 is a list; pass a tensor of whole",
        ),
        (lambda z: prox_sgl(z, [torch.ones(3) > 0], step=1.0, lam=1.0, alpha=0.5), "group 0 is a tensor of torch.bool"),
        (lambda z: prox_group_l2(z, [torch.zeros(1)], step=1.0, lam=1.0), "group 0 is a tensor of torch.float32"),
    ],
)
def test_bad_arguments(call: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(torch.ones(3))


@pytest.mark.parametrize("metric", ["median", "diagonal"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_norm_that_the_type_does_not_hold(dtype: torch.dtype, metric: str) -> None:
    """Of four entries of half the largest number each; as it is of ones, but for the size."""
    half = torch.finfo(dtype).max / 2
    group, z, step = [torch.arange(5)], torch.full((5,), half, dtype=dtype), torch.full((5,), 0.5, dtype=dtype)
    expected = 1 - 0.5 * 0.4  # threshold over norm, of both the root of five
    for steps in (0.5, step):
        p = prox_group_l2(z, group, step=steps, lam=0.4 * half, metric=metric)
        assert p.dtype == dtype
        assert (p.double() / half - expected).abs().max() <= 4 * torch.finfo(dtype).eps
        assert not prox_group_l2(z / 4, group, step=steps, lam=half, metric=metric).any()


@pytest.mark.parametrize("metric", ["median", "diagonal"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_strengths_that_the_type_does_not_hold(dtype: torch.dtype, metric: str) -> None:
    """They take everything, but entries that take no step."""
    z, lam = torch.tensor([3.0, 4.0, 0.0, 1.0], dtype=dtype), 1e300
    groups = [torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([3])]
    steps = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=dtype)
    for alpha in (0.0, 0.5, 1.0):
        assert prox_sgl(z, groups, step=steps, lam=lam, alpha=alpha, metric=metric).tolist() == [0.0, 0.0, 0.0, 1.0]
        assert not prox_sgl(z, groups, step=1.0, lam=lam, alpha=alpha, metric=metric).any()
        assert torch.equal(prox_sgl(z, groups, step=0.0, lam=lam, alpha=alpha, metric=metric), z)
