"""Proximal operators against two others' solutions of the same problems: cvxpy's and skglm's."""

import math

import cvxpy
import numpy as np
import pytest
import torch
from skglm.penalties import WeightedL1GroupL2
from skglm.utils.prox_funcs import ST_vec
from torch import Tensor

from autosubnet.optim import prox_sgl

PROBLEMS = 200
SIZES = (1, 2, 5, 14, 21)
COUNT = sum(SIZES)
GROUPS = [torch.arange(COUNT)[end - size : end] for size, end in zip(SIZES, np.cumsum(SIZES).tolist(), strict=True)]


def problem(seed: int) -> tuple[Tensor, Tensor, float, float]:
    """Entries, step sizes that differ, lambda and alpha: of the lasso, the group lasso and both."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(COUNT, generator=generator, dtype=torch.float64)
    steps = 10 ** (1.5 * torch.rand(COUNT, generator=generator, dtype=torch.float64) - 1)
    lam, alpha = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    z[GROUPS[seed % len(GROUPS)]] *= seed % 3  # in every third problem a group is zero
    return z, steps, lam, (0.0, 1.0, alpha, alpha)[seed % 4]


@pytest.fixture(scope="module")
def solver() -> tuple[cvxpy.Problem, dict[str, cvxpy.Parameter], cvxpy.Variable]:
    """The operator as a problem of parameters, so that it is compiled once."""
    p = cvxpy.Variable(COUNT)
    given = {
        "target": cvxpy.Parameter(COUNT),
        "roots": cvxpy.Parameter(COUNT, nonneg=True),
        "l1": cvxpy.Parameter(nonneg=True),
        "l2": cvxpy.Parameter(nonneg=True),
    }
    norms = sum(math.sqrt(len(group)) * cvxpy.norm2(p[group.numpy()]) for group in GROUPS)
    fit = cvxpy.sum_squares(cvxpy.multiply(given["roots"], p) - given["target"]) / 2
    return cvxpy.Problem(cvxpy.Minimize(fit + given["l1"] * cvxpy.norm1(p) + given["l2"] * norms)), given, p


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # by less than is asked here
@pytest.mark.parametrize("equal", [True, False])
def test_against_cvxpy(solver: tuple[cvxpy.Problem, dict[str, cvxpy.Parameter], cvxpy.Variable], equal: bool) -> None:
    posed, given, p = solver
    worst = 0.0
    for seed in range(PROBLEMS):
        z, steps, lam, alpha = problem(seed)
        step = float(steps[0])
        each = torch.full_like(z, step) if equal else steps
        given["roots"].value = each.rsqrt().numpy()
        given["target"].value = (z * each.rsqrt()).numpy()
        given["l1"].value, given["l2"].value = lam * alpha, lam * (1 - alpha)
        posed.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-10)
        ours = prox_sgl(z, GROUPS, step=step if equal else steps, lam=lam, alpha=alpha, metric="diagonal")
        worst = max(worst, float((ours - torch.from_numpy(p.value)).abs().max()))
    assert worst <= 1e-5, worst


def test_against_skglm() -> None:
    worst = 0.0
    for seed in range(PROBLEMS):
        z, steps, lam, alpha = problem(seed)
        step = float(steps[0])
        penalty = WeightedL1GroupL2(
            lam,
            (1 - alpha) * np.sqrt(np.array(SIZES, dtype=float)),
            np.full(COUNT, alpha),
            np.cumsum((0, *SIZES), dtype=np.int32),
            np.arange(COUNT, dtype=np.int32),
        )
        ours = prox_sgl(z, GROUPS, step=step, lam=lam, alpha=alpha)
        for number, group in enumerate(GROUPS):
            value = z[group].numpy()
            # Without a penalty on its norm, skglm divides by zero for a group of zeros.
            theirs = ST_vec(value, lam * step) if alpha == 1 else penalty.prox_1group(value, step, number)
            worst = max(worst, float((ours[group] - torch.from_numpy(theirs)).abs().max()))
    assert worst <= 1e-12, worst
