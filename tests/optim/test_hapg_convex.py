"""Regression under the sparse group lasso, whose optimum cvxpy knows: who reaches it, and who does not."""

import math
from typing import Any

import cvxpy
import pytest
import torch
from torch import Tensor, nn

from autosubnet.errors import AutoSubnetWarning
from autosubnet.optim import HAPG, AdamHAPG

from .toy import cut, group

SIZES = (1, 2, 5, 7, 10, 15)
COUNT, ROWS, LAM, ALPHA = sum(SIZES), 80, 0.1, 0.5
GROUPS = tuple(group(f"g{n}", cut("w", 0, *range(sum(SIZES[:i]), sum(SIZES[: i + 1])))) for i, n in enumerate(SIZES))
RANGES = [list(g.slices[0].indices or ()) for g in GROUPS]


class Regression(nn.Module):
    """Weights of which two groups and some entries are better zero."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.w = nn.Parameter(torch.zeros(COUNT, dtype=torch.float64))
        truth = normal(COUNT)
        truth[8:20] = truth[25:32] = 0
        self.rows = normal(ROWS, COUNT)
        self.goal = self.rows @ truth + 0.5 * normal(ROWS)

    def smooth(self, w: Tensor) -> Tensor:
        return (self.rows @ w - self.goal).square().sum() / (2 * ROWS)

    def objective(self, w: Tensor) -> float:
        norms = sum(math.sqrt(len(each)) * w[each].norm() for each in RANGES)
        return float(self.smooth(w) + LAM * ALPHA * w.abs().sum() + LAM * (1 - ALPHA) * norms)

    @property
    def curvature(self) -> float:
        return float(torch.linalg.matrix_norm(self.rows.T @ self.rows / ROWS, 2))


def optimum(problem: Regression) -> float:
    w = cvxpy.Variable(COUNT)
    norms = sum(math.sqrt(len(each)) * cvxpy.norm2(w[each]) for each in RANGES)
    fit = cvxpy.sum_squares(problem.rows.numpy() @ w - problem.goal.numpy()) / (2 * ROWS)
    posed = cvxpy.Problem(cvxpy.Minimize(fit + LAM * ALPHA * cvxpy.norm1(w) + LAM * (1 - ALPHA) * norms))
    posed.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10)
    return float(posed.value)


def gap(problem: Regression, steps: int, kind: type[HAPG], **options: Any) -> float:
    """How far above the optimum the derived weights are, over the optimum."""
    optimizer = kind(problem, GROUPS, lam=LAM, alpha=ALPHA, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        problem.smooth(problem.w).backward()
        optimizer.step()
    optimizer.derive()
    return problem.objective(problem.w.detach()) / optimum(problem) - 1


@pytest.mark.parametrize("seed", range(3))
def test_hapg_reaches_the_optimum(seed: int) -> None:
    problem = Regression(seed)
    assert abs(gap(problem, 300, HAPG, lr=1 / problem.curvature)) <= 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_adamhapg_reaches_it_with_the_exact_operator_and_not_with_the_median(seed: int) -> None:
    exact = gap(Regression(seed), 800, AdamHAPG, lr=0.03, metric="diagonal")
    median = gap(Regression(seed), 800, AdamHAPG, lr=0.03)
    print(f"seed {seed}: {exact:.1e} above the optimum with the exact operator, {median:.0%} with the median")
    assert abs(exact) <= 1e-6
    assert median > 0.2


def test_the_usual_first_moment_diverges_and_the_papers_does_not() -> None:
    problem = Regression(0)
    with pytest.warns(AutoSubnetWarning, match="long runs diverge"):
        assert gap(problem, 300, AdamHAPG, lr=0.03, metric="diagonal", betas=(0.9, 0.999)) > 10
