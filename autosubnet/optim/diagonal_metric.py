"""The exact proximal operator of a group's norm where each entry has a step size of its own.

SparseNAS applies Eq. 10 with the median of the group's step sizes instead, "heuristically" (AdamHAPG); the fixed points
of that are not the minima of Eq. 3. With step sizes s and c the weight of the norm, the operator is

    argmin_p  sum_i (p_i - y_i)^2 / (2 s_i)  +  c ||p||_2,

a proximal operator in the metric diag(1 / s). Where p is not zero, p_i = y_i r / (r + c s_i) with r = ||p||, so r is
the one root of the *secular equation*

    h(r) = ( sum_i (y_i / (r + c s_i))^2 )^(-1/2) = 1,

and p is zero if h(0) >= 1. h grows and is concave, and is linear where all s_i are equal: Newton's method from below
the root climbs to it without passing it, as in the trust-region subproblem (More and Sorensen 1983).
"""

from __future__ import annotations

import torch
from torch import Tensor

from autosubnet.optim.segments import Segments

_MOST = 200  # iterations; bisection alone ends in fewer, and Newton's method takes five to ten


def shrink_in_metric(y: Tensor, segments: Segments, steps: Tensor, weights: Tensor) -> Tensor:
    """Apply the operator to each group.

    Args:
        y: entries of the groups, at least single precision.
        segments: which entry belongs to which group.
        steps: step size of each entry, at least 0.
        weights: c of each group, at least 0.

    Returns:
        A new tensor of entries, within rounding of ``||y_(n)||``; a group that the operator makes zero is exactly zero.
    """
    if not y.numel():
        return y.clone()
    # In units of the largest entry: r is a multiple of it as the norm is, which itself may be too large a number.
    unit = segments.spread(segments.units(y))
    size, shift = y.abs() / unit, reach(steps, segments.spread(weights)) / unit
    high = segments.norms(size)
    # Each term of the sum is at most 1 at the root, and (||y|| / (r + max c s))^2 at least bounds their sum.
    low = torch.maximum(high - segments.maxima(shift), segments.maxima(size - shift)).clamp(min=0)
    r = segments.spread(_root(size, shift, segments, low, high))
    return torch.where(r <= 0, 0, y * (r / torch.where(r <= 0, 1, r + shift)))


def reach(steps: Tensor, weights: float | Tensor) -> Tensor:
    """Return steps times weights, each of which may have overflowed; a step of zero reaches nowhere."""
    return torch.where(steps > 0, steps * weights, 0)


def _sums(size: Tensor, shift: Tensor, segments: Segments, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of q^2 and of q^2 / (r + c s) for q = |y| / (r + c s), each group at its r."""
    below = segments.spread(radius) + shift
    below = torch.where(below > 0, below, 1)  # it is 0 only where y is
    squares = (size / below).square()
    return segments.sums(squares), segments.sums(squares / below)


def _root(size: Tensor, shift: Tensor, segments: Segments, low: Tensor, high: Tensor) -> Tensor:
    """Return h's root in each group, by Newton's method kept between ``low`` and ``high`` by bisection.

    Where h(0) >= 1, it is 0: the sum at 0 is at most 1, and the interval shrinks to it at once.
    """
    radius, closest = low, 4 * torch.finfo(size.dtype).eps
    for _ in range(_MOST):
        total, slope = _sums(size, shift, segments, radius)
        low, high = torch.where(total > 1, radius, low), torch.where(total < 1, radius, high)
        miss = total.sqrt() - 1
        newton = radius + total * miss / torch.where(slope > 0, slope, 1)
        # What rounding leaves of the equation, of the step or of the interval.
        done = (miss.abs() <= closest) | ((newton - radius).abs() <= closest * radius)
        done |= high - low <= closest * high
        if bool(done.all()):
            break
        inside = (newton > low) & (newton < high)
        radius = torch.where(done, radius, torch.where(inside, newton, low + (high - low) / 2))
    return radius
