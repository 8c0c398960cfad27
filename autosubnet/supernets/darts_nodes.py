"""The nodes of DARTS' cells as groups: A_(j) of SparseNAS, Eq. 2, is what enters node j."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from autosubnet.errors import InputError
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.supernets.darts_cnn import Darts
from autosubnet.supernets.darts_recurrent import SPACE as RECURRENT
from autosubnet.supernets.darts_rnn import DartsRnn, SearchCell
from autosubnet.supernets.darts_skeleton import SPACE as CONVOLUTIONAL
from autosubnet.supernets.darts_space import CellSpace


@dataclass(frozen=True)
class Nodes:
    """What :class:`autosubnet.optim.HAPG` and its ``derive()`` need to know of the nodes of a supernet.

    Attributes:
        groups: for every inner node the architecture weights of the paths into it.
        outgoing: for a group by name the architecture weights of the paths out of its node.
    """

    groups: tuple[Group, ...]
    outgoing: Mapping[str, tuple[ParameterSlice, ...]]


def nodes(model: nn.Module) -> Nodes:
    """Return the nodes of a ``Darts`` or a ``DartsRnn``, those of cells that share their weights once.

    Raises:
        InputError: another model, or one without architecture weights.
    """
    found = list(_cells(model))
    if not found:
        raise InputError(
            f"{type(model).__name__} has no cells with architecture weights; create 'darts' with "
            "architecture_weights=True, or 'darts_rnn'"
        )
    groups, outgoing = [], {}
    for kind, name, columns, space in found:
        for inner in space.inner:
            rows = tuple(space.rows(inner))
            group = Group(f"{kind} node {inner}", "paths", (ParameterSlice(name, 0, rows),), len(rows) * columns, ())
            groups.append(group)
            if leaving := space.rows_from(inner):
                outgoing[group.name] = (ParameterSlice(name, 0, leaving),)
    return Nodes(tuple(groups), outgoing)


def _cells(model: nn.Module) -> Iterator[tuple[str, str, int, CellSpace]]:
    """Yield the kind of each cell, the name of its architecture weights, their number of columns, and its space."""
    if isinstance(model, Darts):
        for kind, weights in model.architecture.items():
            yield kind, f"architecture.{kind}", weights.shape[1], CONVOLUTIONAL
    elif isinstance(model, DartsRnn) and isinstance(model.cell, SearchCell):
        yield "recurrent", "cell.architecture", model.cell.architecture.shape[1], RECURRENT
