"""Half-space projected subgradient steps (OTOv3 Algorithm 3, lines 13 to 16; DHSPG; HSPG).

All functions take one value per group. The step is ``x_trial = x - (g + lam * x / ||x||)``: ``g`` is what the
base optimizer subtracts from ``x`` (for plain SGD the gradient times the learning rate) and ``lam`` is the
paper's lambda times the learning rate. In these units momentum, Adam's scaling and a learning rate per
parameter need no special case, and a learning rate of zero does no harm.
"""

from __future__ import annotations

import torch
from torch import Tensor

_AMPLIFY = 2.0  # DHSPG's factor on lambda_min
_PARALLEL = 1e-6  # sums of float32 products are no more exact: a narrower interval counts as empty


def choose_lambda(x_dot_g: Tensor, x_sq: Tensor, g_sq: Tensor, steps_left: int) -> Tensor:
    """Regularisation coefficient of each group.

    The wish is ``||x|| / steps_left``, which by itself shrinks x by ``(T - t - 1) / (T - t)`` and so reaches
    zero when the projection phase ends at T. Where <x, g> < 0, the step along g alone makes the norm grow,
    and

    - lambda_min = -<x, g> / ||x|| is where the norm begins to fall,
    - lambda_max = -||g||^2 ||x|| / <x, g> is where the step ceases to be a descent along g.

    There the coefficient is raised to twice lambda_min, and replaced by the interval's midpoint where it
    would pass lambda_max. Both bounds are first-order statements. DHSPG's cap on lambda is left out: with it
    the norm can grow. Where x is parallel to -g the interval is empty; lambda_min plus the wish then cancels
    the step along g and leaves the schedule's ``(T - t - 1) / (T - t) * x``.

    Args:
        x_dot_g: <x, g> of each group.
        x_sq: ||x||^2 of each group.
        g_sq: ||g||^2 of each group.
        steps_left: T - t, at least 1.

    Returns:
        Coefficients, at least 0; 0 for a group that is zero.
    """
    norm = x_sq.sqrt()
    scheduled = norm / steps_left
    uphill = (x_dot_g < 0) & (norm > 0)
    against = torch.where(uphill, -x_dot_g, 1.0)  # 1: not used, but nothing is divided by zero
    lam_min = torch.where(uphill, against / norm.where(norm > 0, torch.ones_like(norm)), 0.0)
    lam_max = torch.where(uphill, g_sq * norm / against, torch.inf)
    lam = torch.maximum(scheduled, _AMPLIFY * lam_min)
    lam = torch.where(lam < lam_max * (1 - _PARALLEL), lam, (lam_min + lam_max) / 2)
    empty = lam_max <= lam_min * (1 + _PARALLEL)
    return torch.where(empty, lam_min + scheduled, lam)


def leaves_half_space(trial_dot_x: Tensor, x_sq: Tensor, epsilon: float) -> Tensor:
    """Which groups the half-space projection sets to zero: those with <x_trial, x> < epsilon ||x||^2.

    A group that is zero already is among them: zero is stationary for the penalty, and stays.

    Args:
        trial_dot_x: <x_trial, x> of each group.
        x_sq: ||x||^2 of each group.
        epsilon: in [0, 1); the larger, the earlier groups become zero.
    """
    return (trial_dot_x < epsilon * x_sq) | (x_sq == 0)
