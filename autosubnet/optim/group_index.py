"""Sums over groups of parameter slices, and their zeroing, for all groups at once.

A *cell* is what the slices of a parameter tell apart: the entries that agree in all dimensions that some
slice cuts. A parameter that is only used whole is one cell; one that is cut along dimension 0 has a cell for
each index there. Every group is a set of cells, every cell belongs to any number of groups, and all cells of
all parameters lie in one vector. So overlapping slices are a union by construction and count nothing twice.

Vectors over cells and groups are float64 on the CPU: they are short, their sums must not depend on the order
in which a device adds, and the decisions made from them are control flow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autosubnet.errors import GroupError
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.optim.sharding import is_split, split_as, whole

_CPU = torch.device("cpu")  # said wherever a tensor is made: the default device may be another
_PIECE = 1 << 17  # entries; three tensors of so many float32 fit into a core's second-level cache


@dataclass(frozen=True)
class _Block:
    """The cells of one parameter: its shape, the dimensions that are cut, the position of the first cell."""

    shape: tuple[int, ...]
    dims: tuple[int, ...]
    start: int

    @property
    def cell_shape(self) -> tuple[int, ...]:
        return tuple(self.shape[d] for d in self.dims)

    @property
    def count(self) -> int:
        return math.prod(self.cell_shape)

    @property
    def cells(self) -> slice:
        return slice(self.start, self.start + self.count)

    def broadcast(self, values: Tensor) -> Tensor:
        """One value a cell, shaped to broadcast against the parameter."""
        return values.view([n if d in self.dims else 1 for d, n in enumerate(self.shape)])

    def cells_of(self, piece: ParameterSlice) -> Tensor:
        grid = torch.arange(self.start, self.start + self.count, device=_CPU)
        if piece.dim is None or piece.indices is None:
            return grid
        indices = torch.tensor(piece.indices, dtype=torch.long, device=_CPU)
        return grid.view(self.cell_shape).index_select(self.dims.index(piece.dim), indices).flatten()

    def sums(self, x: Tensor, y: Tensor, difference: bool) -> Tensor:
        """Sums of x*x, x*y and y*y over each cell, of shape (3, cells); with ``difference``, y is x - y."""
        x, y = _wide(x), _wide(y)
        if not self.dims:
            return _three_dots(x, y, difference)
        y = x - y if difference else y
        rest = [d for d in range(len(self.shape)) if d not in self.dims]
        products = torch.stack([p.sum(rest) if rest else p for p in (x * x, x * y, y * y)])
        return products.flatten(1)


class ZeroSet:
    """Cells to be kept at zero.

    Attributes:
        whole: names of the parameters all of whose entries are in the set.
        names: names of all parameters with entries in the set.
    """

    def __init__(self, whole: frozenset[str], partial: dict[str, tuple[_Block, Tensor]]) -> None:
        self.whole = whole
        self.names = (*whole, *partial)
        self._partial = partial
        self._fill: dict[str, tuple[int | None, Tensor]] = {}
        for name, (block, mask) in partial.items():
            if len(block.dims) == 1:
                self._fill[name] = (block.dims[0], mask.nonzero().flatten())
            else:
                self._fill[name] = (None, block.broadcast(mask))

    def clear(self, name: str, tensor: Tensor) -> None:
        """Set to zero the entries of ``tensor``, shaped like parameter ``name``, that are in the set."""
        if name in self.whole:
            tensor.zero_()
            return
        if is_split(tensor):
            block, mask = self._partial[name]
            tensor.masked_fill_(split_as(block.broadcast(mask).expand(block.shape).to(tensor.device), tensor), 0)
            return
        dim, where = self._fill[name]
        if where.device != tensor.device:
            where = where.to(tensor.device)
            self._fill[name] = (dim, where)
        if dim is None:
            tensor.masked_fill_(where, 0)
        else:
            tensor.index_fill_(dim, where, 0)


class GroupIndex:
    """Groups over the parameters of one model, compiled.

    Attributes:
        groups: the groups, in the order of every vector over groups.
        names: the parameters that they use, in the model's order.
        num_cells: length of every vector over cells.
        sizes: number of scalar parameters of each group.

    Raises:
        GroupError: a slice that the model's parameters do not have.
    """

    def __init__(self, groups: Sequence[Group], shapes: Mapping[str, Sequence[int]]) -> None:
        self.groups = tuple(groups)
        self._blocks = _make_blocks(self.groups, shapes)
        self.names = tuple(self._blocks)
        self.num_cells = sum(block.count for block in self._blocks.values())
        members = [self._cells(group) for group in self.groups]
        empty = torch.empty(0, dtype=torch.long, device=_CPU)
        self._pair_cell = torch.cat([empty, *members])
        self._pair_group = torch.cat([empty, *(torch.full_like(m, g) for g, m in enumerate(members))])
        entries = [math.prod(b.shape) // max(1, b.count) for b in self._blocks.values() for _ in range(b.count)]
        self._entries = torch.tensor(entries, dtype=torch.float64, device=_CPU)
        self.sizes = self.group_sums(self._entries)

    def _cells(self, group: Group) -> Tensor:
        cells: Tensor = torch.unique(torch.cat([self._blocks[s.name].cells_of(s) for s in group.slices]))
        return cells

    def cell_sums(self, tensors: Mapping[str, tuple[Tensor, Tensor | None]], difference: bool = False) -> Tensor:
        """Sums of x*x, x*y and y*y over every cell.

        Args:
            tensors: for each parameter name x and y, both of the parameter's shape; ``None`` is a y that
                gives zeros. Cells of parameters that are left out sum to zero.
            difference: take x - y in the place of y.

        Returns:
            A matrix of three rows (x*x, x*y, y*y) and ``num_cells`` columns.
        """
        device = next((x.device for x, _ in tensors.values()), _CPU)
        columns = [torch.empty(3, 0, device=device)]
        for name, block in self._blocks.items():
            if name not in tensors:
                columns.append(torch.zeros(3, block.count, device=device))
                continue
            x, y = tensors[name]
            sums = block.sums(x, x if y is None else y, difference)
            if y is None:
                sums[1:] = 0
            columns.append(sums.to(device))
        return torch.cat(columns, 1).to(_CPU, torch.float64)

    def group_sums(self, cells: Tensor) -> Tensor:
        """Sums over the cells of each group: (..., cells) to (..., groups)."""
        sums = cells.new_zeros(*cells.shape[:-1], len(self.groups))
        return sums.index_add_(-1, self._pair_group, cells.index_select(-1, self._pair_cell))

    def spread(self, values: Tensor) -> Tensor:
        """For each cell the sum of its groups' values: (groups,) to (cells,)."""
        return values.new_zeros(self.num_cells).index_add_(0, self._pair_cell, values[self._pair_group])

    def union(self, chosen: Tensor) -> Tensor:
        """Which cells are in at least one of the groups that the mask ``chosen`` names."""
        return self.spread(chosen.to(torch.float64)) > 0

    def num_entries(self, cells: Tensor) -> int:
        """Number of scalar parameters in the mask ``cells``."""
        return int(self._entries[cells].sum())

    def names_of(self, cells: Tensor) -> tuple[str, ...]:
        """Parameters with a cell in the mask ``cells``."""
        return tuple(name for name, block in self._blocks.items() if bool(cells[block.cells].any()))

    def zero_set(self, cells: Tensor) -> ZeroSet:
        """The cells of the mask ``cells``, ready to be zeroed."""
        whole, partial = set(), {}
        for name in self.names_of(cells):
            block = self._blocks[name]
            mask = cells[block.cells]
            if bool(mask.all()):
                whole.add(name)
            else:
                partial[name] = (block, mask)
        return ZeroSet(frozenset(whole), partial)

    def subtract(self, name: str, target: Tensor, rates: Tensor, x: Tensor) -> None:
        """``target -= rate * x`` in place, with the rate of each cell; all shaped like parameter ``name``."""
        block = self._blocks[name]
        own = rates[block.cells]
        if not block.dims:
            target.sub_(x, alpha=own.item())
        else:
            spread = block.broadcast(own.to(x.device, x.dtype))
            target.sub_(x * (split_as(spread.expand(block.shape), x) if is_split(x) else spread))

    def first_non_finite(self, sums: Tensor) -> str | None:
        """The first parameter with a NaN or infinite sum in what ``cell_sums`` returned, if any."""
        finite = sums.isfinite().all(0)
        return None if bool(finite.all()) else self.names_of(~finite)[0]


def first_non_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The first tensor with a NaN or infinite entry, if any; the device is asked once."""
    sums = [_wide(x).sum() for x in tensors.values()]
    finite = [s.isfinite().to(sums[0].device) for s in sums]
    if not finite or bool(torch.stack(finite).all()):
        return None
    return next(name for name, good in zip(tensors, finite, strict=True) if not good)


def _make_blocks(groups: Iterable[Group], shapes: Mapping[str, Sequence[int]]) -> dict[str, _Block]:
    dims: dict[str, set[int]] = {}
    for group in groups:
        for piece in group.slices:
            check_slice(group, piece, shapes)
            dims.setdefault(piece.name, set()).update(() if piece.dim is None else (piece.dim,))
    blocks: dict[str, _Block] = {}
    start = 0
    for name in shapes:
        if name in dims:
            blocks[name] = _Block(tuple(shapes[name]), tuple(sorted(dims[name])), start)
            start += blocks[name].count
    return blocks


def check_slice(group: Group, piece: ParameterSlice, shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise ``GroupError`` for a slice of a group that the parameters do not have."""
    if piece.name not in shapes:
        raise GroupError(f"group {group.name!r} holds {piece.name!r}, which is no parameter of the model")
    if piece.dim is None or piece.indices is None:
        return
    shape = tuple(shapes[piece.name])
    if not 0 <= piece.dim < len(shape) or not all(0 <= i < shape[piece.dim] for i in piece.indices):
        raise GroupError(
            f"group {group.name!r} cuts {piece.name!r} of shape {shape} along dimension {piece.dim} "
            f"at indices that it does not have"
        )


def _wide(x: Tensor) -> Tensor:
    """Whole, dense, and at least float32: sums of half-precision products then neither overflow nor stall."""
    x = whole(x)
    dense = x.to_dense() if x.is_sparse else x
    return dense.float() if dense.dtype in (torch.float16, torch.bfloat16) else dense


def _three_dots(x: Tensor, y: Tensor, difference: bool) -> Tensor:
    """Sums of x*x, x*y and y*y, of shape (3, 1); with ``difference``, y is x - y.

    In x's order in memory, so that a channels-last tensor is not copied; on a CPU in pieces that stay in its
    cache, so that memory is read once and not three times.
    """
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    size = _PIECE if x.device.type == "cpu" else max(1, x.numel())
    flat_x, flat_y = (t.permute(order).reshape(-1) for t in (x, y))
    piece = torch.empty_like(flat_x[:size])
    dots = [flat_x.new_zeros(())] * 3
    for start in range(0, flat_x.numel(), size):
        a, b = flat_x[start : start + size], flat_y[start : start + size]
        b = torch.sub(a, b, out=piece[: a.numel()]) if difference else b
        dots += [torch.dot(a, a), torch.dot(a, b), torch.dot(b, b)]
    return torch.stack(dots).view(-1, 3).sum(0).unsqueeze(1)
