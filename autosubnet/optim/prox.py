"""Proximal operators of the sparse group lasso (SparseNAS, Eq. 5, 9 and 10).

A step size is one number, or one for each entry, as Adam has them. Then the operator is that of the metric
diag(1 / step), in which soft thresholding is still entry by entry and still comes first. For the groups' norms there
are two readings, by ``metric``: ``"median"``, the paper's heuristic, is Eq. 10 with the median of the group's step
sizes; ``"diagonal"`` is exact (see ``diagonal_metric``). With equal step sizes they agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from autosubnet.errors import InputError
from autosubnet.optim.diagonal_metric import reach, shrink_in_metric
from autosubnet.optim.segments import Segments

Metric = Literal["median", "diagonal"]
METRICS: tuple[Metric, ...] = ("median", "diagonal")


def prox_l1(z: Tensor, *, step: float | Tensor, lam: float) -> Tensor:
    """Proximal operator of ``step * lam * ||z||_1``: soft thresholding (SparseNAS, Eq. 9).

    Args:
        z: floating-point tensor of any shape.
        step: step size, at least 0, or a tensor of them in the shape of ``z``.
        lam: strength of the penalty, at least 0.

    Returns:
        A new tensor of the shape of ``z``.

    Raises:
        InputError: a negative or infinite ``step`` or ``lam``, or step sizes of another shape.
    """
    check_strength(lam)
    return soft_threshold(z, _checked_step(step, z), lam)


def prox_group_l2(
    z: Tensor, groups: Sequence[Tensor], *, step: float | Tensor, lam: float, metric: Metric = "median"
) -> Tensor:
    """Proximal operator of ``step * lam * sum_n sqrt(|z_(n)|) * ||z_(n)||_2`` (SparseNAS, Eq. 10).

    Args:
        z: floating-point tensor of any shape.
        groups: for each group the positions of its entries in ``z.flatten()``; the groups are disjoint,
            entries in no group are left as they are.
        step: step size, at least 0, or a tensor of them in the shape of ``z``.
        lam: strength of the penalty, at least 0.
        metric: how a group takes step sizes that differ, ``"median"`` or ``"diagonal"``.

    Returns:
        A new tensor of the shape of ``z``; a group whose norm is at most its threshold is exactly zero.

    Raises:
        InputError: a negative or infinite ``step`` or ``lam``, step sizes of another shape, an unknown ``metric``, a
            group that is no tensor of whole numbers, a position outside ``z``, or an entry in two groups.
    """
    check_strength(lam)
    check_metric(metric)
    step = _checked_step(step, z)
    flat = z.flatten()
    segments = _segments(groups, z)
    steps = segments.take(step.flatten()) if isinstance(step, Tensor) else step
    return segments.put(flat, shrink_groups(segments.take(flat), segments, steps, lam, metric)).view_as(z)


def prox_sgl(
    z: Tensor, groups: Sequence[Tensor], *, step: float | Tensor, lam: float, alpha: float, metric: Metric = "median"
) -> Tensor:
    """Proximal operator of the sparse group lasso penalty (SparseNAS, Eq. 2 and 5).

    The penalty is ``lam * (alpha * ||z||_1 + (1 - alpha) * sum_n sqrt(|z_(n)|) * ||z_(n)||_2)``: the lasso for
    ``alpha=1``, the group lasso for ``alpha=0``. Its operator is the composition of its parts', l1 first: the other
    order is not the proximal operator.

    Args:
        z: floating-point tensor of any shape.
        groups: for each group the positions of its entries in ``z.flatten()``, disjoint.
        step: step size, at least 0, or a tensor of them in the shape of ``z``.
        lam: strength of the penalty, at least 0.
        alpha: balance between single entries (1) and whole groups (0).
        metric: how a group takes step sizes that differ, ``"median"`` or ``"diagonal"``.

    Returns:
        A new tensor of the shape of ``z``.

    Raises:
        InputError: ``alpha`` outside [0, 1], a negative or infinite ``step`` or ``lam``, step sizes of another shape,
            an unknown ``metric``, or groups that do not fit ``z``.
    """
    check_strength(lam)
    check_balance(alpha)
    shrunk = prox_l1(z, step=step, lam=lam * alpha)
    return prox_group_l2(shrunk, groups, step=step, lam=lam * (1 - alpha), metric=metric)


def soft_threshold(z: Tensor, step: float | Tensor, lam: float) -> Tensor:
    """Eq. 9 with a step size, or one for each entry; what is asked of them was checked."""
    excess = z.abs() - (reach(step, lam) if isinstance(step, Tensor) else step * lam)
    return torch.where(excess <= 0, 0, excess * z.sign())  # torch's softshrink makes negative zeros


def shrink_groups(entries: Tensor, segments: Segments, step: float | Tensor, lam: float, metric: Metric) -> Tensor:
    """Eq. 10 on the entries of groups, with a step size, or one for each entry; all was checked."""
    half = entries.dtype in (torch.float16, torch.bfloat16)
    wide = entries.float() if half else entries
    roots = segments.sizes.to(wide.dtype).sqrt()
    if not isinstance(step, Tensor):
        shrunk = _shrink(wide, segments, torch.ones_like(roots) * (step * lam), roots)
    elif metric == "median":
        shrunk = _shrink(wide, segments, reach(segments.medians(step.to(wide.dtype)), lam), roots)
    else:
        shrunk = shrink_in_metric(wide, segments, step.to(wide.dtype), lam * roots)
    return shrunk.to(entries.dtype)


def _shrink(entries: Tensor, segments: Segments, thresholds: Tensor, roots: Tensor) -> Tensor:
    """Eq. 10 with the step size times lambda of each group, and the root of its size."""
    unit = segments.units(entries)
    norm, threshold = segments.norms(entries / segments.spread(unit)), thresholds / unit * roots
    # A norm of zero is divided by 1 instead: such a group stays zero.
    scale = segments.spread((norm - threshold).clamp(min=0) / torch.where(norm > 0, norm, 1))
    return torch.where(scale <= 0, 0, entries * scale)  # and not a negative zero


def check_strength(lam: float) -> None:
    """Raise ``InputError`` for a strength of the penalty that is negative, infinite or NaN."""
    if not 0 <= lam < math.inf:
        raise InputError(f"lam is {lam}; it may not be negative, infinite or NaN")


def check_balance(alpha: float) -> None:
    """Raise ``InputError`` for a balance of the two penalties outside [0, 1]."""
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; it balances two penalties and must lie in [0, 1]")


def check_metric(metric: str) -> None:
    """Raise ``InputError`` for an unknown metric."""
    if metric not in METRICS:
        raise InputError(f"metric is {metric!r}; it must be one of {', '.join(map(repr, METRICS))}")


def _checked_step(step: float | Tensor, z: Tensor) -> float | Tensor:
    """Return the step size as a number, or step sizes in the shape of z on its device."""
    if isinstance(step, Tensor) and step.dim() > 0:
        if step.shape != z.shape:
            raise InputError(f"step has shape {tuple(step.shape)} and z {tuple(z.shape)}; pass one for each entry")
        if not bool(((step >= 0) & (step < math.inf)).all()):
            raise InputError("an entry of step is negative, infinite or NaN")
        return step.to(z.device)
    number = float(step)
    if not 0 <= number < math.inf:
        raise InputError(f"step is {number}; it may not be negative, infinite or NaN")
    return number


def _segments(groups: Sequence[Tensor], z: Tensor) -> Segments:
    for number, group in enumerate(groups):
        if (
            not isinstance(group, Tensor)
            or group.is_floating_point()
            or group.is_complex()
            or group.dtype is torch.bool
        ):
            kind = f"a tensor of {group.dtype}" if isinstance(group, Tensor) else f"a {type(group).__name__}"
            raise InputError(f"group {number} is {kind}; pass a tensor of whole numbers, its positions in z.flatten()")
    segments = Segments(groups)
    index = segments.index
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= z.numel()):
        raise InputError(f"groups hold positions outside z, which has {z.numel()} entries")
    distinct: Tensor = torch.unique(index)
    if distinct.numel() != index.numel():
        raise InputError("an entry is in two groups; the proximal operator is known for disjoint groups only")
    return segments.to(z.device)
