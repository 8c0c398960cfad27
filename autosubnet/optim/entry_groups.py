"""Disjoint groups of entries of several parameters, such as the incoming weights of each node (SparseNAS, Eq. 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autosubnet.errors import GroupError
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.optim.group_index import check_slice
from autosubnet.optim.prox import Metric, shrink_groups, soft_threshold
from autosubnet.optim.segments import Segments


class EntryGroups:
    """Groups of parameter slices as groups of positions in one vector, and the sparse group lasso over them.

    Args:
        groups: their slices name the parameters; no entry is in two groups.
        shapes: shape of each parameter by name, those in no group among them.

    Attributes:
        names: the parameters that the groups use.

    Raises:
        GroupError: a slice that the parameters do not have, a group without entries, or two groups with one entry.
    """

    def __init__(self, groups: Sequence[Group], shapes: Mapping[str, Sequence[int]]) -> None:
        for group in groups:
            for piece in group.slices:
                check_slice(group, piece, shapes)
        used = {piece.name for group in groups for piece in group.slices}
        self.names = tuple(name for name in shapes if name in used)
        self._groups = tuple(groups)
        self._shapes = [tuple(shapes[name]) for name in self.names]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        parts = torch.split(torch.arange(sum(self._sizes), device="cpu"), self._sizes)
        grids = {name: part.view(shape) for name, part, shape in zip(self.names, parts, self._shapes, strict=True)}
        positions = [_positions(group, grids) for group in groups]
        _check_disjoint(groups, positions, sum(self._sizes))
        self._segments = Segments(positions)

    def prox(
        self,
        values: Mapping[str, Tensor],
        steps: Mapping[str, float | Tensor],
        *,
        lam: float,
        alpha: float,
        metric: Metric,
    ) -> dict[str, Tensor]:
        """Apply the operator of Eq. 5 to the groups' entries; all others are in no penalty, and stay.

        Args:
            values: z of each of ``names``, in the parameter's shape.
            steps: of each of them: all the same number, or tensors of step sizes in the parameters' shapes.
            lam: strength of the penalty.
            alpha: its balance between entries (1) and groups (0).
            metric: as in :func:`autosubnet.optim.prox_sgl`.

        Returns:
            New tensors, in the shapes, types and places of ``values``.
        """
        if not self.names:
            return {}
        flat = self._flat(values)
        segments = self._segments.to(flat.device)
        step = steps[self.names[0]]
        if isinstance(step, Tensor):
            step = segments.take(self._flat(steps))
        entries = soft_threshold(segments.take(flat), step, lam * alpha)
        shrunk = segments.put(flat, shrink_groups(entries, segments, step, lam * (1 - alpha), metric))
        parts = zip(self.names, torch.split(shrunk, self._sizes), self._shapes, strict=True)
        return {name: part.view(shape).to(values[name]) for name, part, shape in parts}

    def zero_groups(self, values: Mapping[str, Tensor]) -> list[str]:
        """Return the names of the groups all of whose entries are zero in these tensors, one for each of ``names``."""
        if not self.names:
            return []
        flat = self._flat(values)
        segments = self._segments.to(flat.device)
        zero = segments.maxima(segments.take(flat).abs()) == 0
        return [group.name for group, is_zero in zip(self._groups, zero.tolist(), strict=True) if is_zero]

    def _flat(self, values: Mapping[str, object]) -> Tensor:
        tensors = [value for name in self.names if isinstance(value := values[name], Tensor)]
        return torch.cat([tensor.flatten().to(tensors[0].device) for tensor in tensors])


def clear(tensor: Tensor, piece: ParameterSlice) -> None:
    """Set the slice to zero in a tensor of its parameter's shape."""
    if piece.dim is None or piece.indices is None:
        tensor.zero_()
    else:
        tensor.index_fill_(piece.dim, torch.tensor(piece.indices, dtype=torch.long, device=tensor.device), 0)


def _positions(group: Group, grids: Mapping[str, Tensor]) -> Tensor:
    pieces = [torch.empty(0, dtype=torch.long, device="cpu")]
    for piece in group.slices:
        grid = grids[piece.name]
        if piece.dim is not None and piece.indices is not None:
            grid = grid.index_select(piece.dim, torch.tensor(piece.indices, dtype=torch.long, device="cpu"))
        pieces.append(grid.flatten())
    distinct: Tensor = torch.unique(torch.cat(pieces))
    return distinct


def _check_disjoint(groups: Sequence[Group], positions: Sequence[Tensor], size: int) -> None:
    owner = torch.full((size,), -1, dtype=torch.long, device="cpu")
    for number, (group, mine) in enumerate(zip(groups, positions, strict=True)):
        if not mine.numel():
            raise GroupError(f"group {group.name!r} has no entries")
        taken = owner[mine]
        if bool((taken >= 0).any()):
            other = groups[int(taken.max())]
            raise GroupError(
                f"groups {other.name!r} and {group.name!r} share an entry; the proximal operator is known for "
                f"disjoint groups only"
            )
        owner[mine] = number
