"""Proximal operators of the sparse group lasso (SparseNAS, Eq. 5, 9 and 10)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from autosubnet.errors import InputError


def prox_l1(z: Tensor, *, step: float, lam: float) -> Tensor:
    """Proximal operator of ``step * lam * ||z||_1``: soft thresholding (SparseNAS, Eq. 9).

    Args:
        z: floating-point tensor of any shape.
        step: step size, at least 0.
        lam: strength of the penalty, at least 0.

    Returns:
        A new tensor of the shape of ``z``.

    Raises:
        InputError: a negative ``step`` or ``lam``.
    """
    return softshrink(z, _threshold(step, lam))


def prox_group_l2(z: Tensor, groups: Sequence[Tensor], *, step: float, lam: float) -> Tensor:
    """Proximal operator of ``step * lam * sum_n sqrt(|z_(n)|) * ||z_(n)||_2`` (SparseNAS, Eq. 10).

    Args:
        z: floating-point tensor of any shape.
        groups: for each group the positions of its entries in ``z.flatten()``; the groups are disjoint,
            entries in no group are left as they are.
        step: step size, at least 0.
        lam: strength of the penalty, at least 0.

    Returns:
        A new tensor of the shape of ``z``; a group whose norm is at most its threshold is exactly zero.

    Raises:
        InputError: a negative ``step`` or ``lam``, a position outside ``z``, or an entry in two groups.
    """
    threshold = _threshold(step, lam)
    if not groups:
        return z.clone()
    index, group = _flat_groups(groups, z)
    flat = z.flatten()
    entries = flat[index]
    norm = flat.new_zeros(len(groups)).index_add(0, group, entries.square()).sqrt()
    sizes = torch.bincount(group, minlength=len(groups)).to(flat.dtype)
    # A zero norm is divided by 1 instead: its numerator is zero, so the group stays zero.
    scale = (norm - threshold * sizes.sqrt()).clamp(min=0) / norm.where(norm > 0, torch.ones_like(norm))
    return flat.index_copy(0, index, entries * scale[group]).view_as(z)


def prox_sgl(z: Tensor, groups: Sequence[Tensor], *, step: float, lam: float, alpha: float) -> Tensor:
    """Proximal operator of the sparse group lasso penalty (SparseNAS, Eq. 2 and 5).

    The penalty is ``lam * (alpha * ||z||_1 + (1 - alpha) * sum_n sqrt(|z_(n)|) * ||z_(n)||_2)``. Its operator
    is the composition of its parts', l1 first: the other order is not the proximal operator.

    Args:
        z: floating-point tensor of any shape.
        groups: for each group the positions of its entries in ``z.flatten()``, disjoint.
        step: step size, at least 0.
        lam: strength of the penalty, at least 0.
        alpha: balance between single entries (1) and whole groups (0).

    Returns:
        A new tensor of the shape of ``z``.

    Raises:
        InputError: ``alpha`` outside [0, 1], a negative ``step`` or ``lam``, or groups that do not fit ``z``.
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; it balances two penalties and must lie in [0, 1]")
    shrunk = prox_l1(z, step=step, lam=lam * alpha)
    return prox_group_l2(shrunk, groups, step=step, lam=lam * (1 - alpha))


def _threshold(step: float, lam: float) -> float:
    if not (step >= 0 and lam >= 0):
        raise InputError(f"step is {step} and lam is {lam}; neither may be negative or NaN")
    return step * lam


def _flat_groups(groups: Sequence[Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """All positions in one vector, and the group of each."""
    index = torch.cat([g.flatten() for g in groups]).to(z.device)
    sizes = torch.tensor([g.numel() for g in groups], device=z.device)
    group = torch.repeat_interleave(torch.arange(len(groups), device=z.device), sizes)
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= z.numel()):
        raise InputError(f"groups hold positions outside z, which has {z.numel()} entries")
    if len(set(index.tolist())) != index.numel():
        raise InputError("an entry is in two groups; the proximal operator is known for disjoint groups only")
    return index, group
