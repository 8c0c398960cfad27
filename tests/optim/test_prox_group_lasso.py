"""Proximal operators against those of the package group-lasso, which an extra of the package installs."""

from __future__ import annotations

import math

import pytest
import torch
from group_lasso import _group_lasso as oracle

from autosubnet.optim import prox_group_l2, prox_l1, prox_sgl

from .test_prox_oracles import COUNT, GROUPS, PROBLEMS, SIZES, problem


@pytest.mark.parametrize("each", [False, True], ids=["a step size", "a step size for each group"])
def test_against_group_lasso(each: bool) -> None:
    """Its thresholds are a group's own, and so are the step sizes here."""
    worst, zero = 0.0, 0
    for seed in range(PROBLEMS):
        z, sizes, lam, alpha = problem(seed)
        numbers = [float(sizes[k if each else 0]) for k in range(len(GROUPS))]
        steps = torch.repeat_interleave(torch.tensor(numbers, dtype=z.dtype), torch.tensor(SIZES))
        step = steps if each else numbers[0]
        groups = [group.numpy() for group in GROUPS]
        limits = [number * lam * math.sqrt(size) for number, size in zip(numbers, SIZES, strict=True)]
        theirs = (
            oracle._l1_prox(z.numpy(), lam * steps.numpy()),
            oracle._group_l2_prox(z.numpy(), limits, groups),
            oracle._l1_l2_prox(z.numpy(), alpha * lam * steps.numpy(), [(1 - alpha) * each for each in limits], groups),
        )
        ours = (
            prox_l1(z, step=step, lam=lam),
            prox_group_l2(z, GROUPS, step=step, lam=lam),
            prox_sgl(z, GROUPS, step=step, lam=lam, alpha=alpha),
        )
        for p, q in zip(ours, map(torch.from_numpy, theirs), strict=True):
            worst = max(worst, float((p - q).abs().max()))
            assert torch.equal(p == 0, q == 0)
            zero += int((p == 0).sum())
    assert worst <= 1e-12, worst
    assert 0 < zero < 3 * PROBLEMS * COUNT
