"""What DARTS' convolutional and recurrent cells have in common: nodes, edges, and the paths that a search leaves.

Mixed-path search derives a cell by "removing the operations with zero weights and the nodes with all zero incoming
weights" (SparseNAS, Sparse Supernet). So a node may have any number of paths, and there may be any number of nodes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from reprlib import repr  # shortened: what is told may be long or deep
from typing import Any

import torch
from torch import Tensor

from autosubnet.errors import InputError, NonFiniteError

Paths = tuple[tuple[str, int], ...]
"""The paths into one node: names of operations, each with the node that it reads."""


@dataclass(frozen=True)
class CellSpace:
    """What a cell can be made of.

    Attributes:
        inner: numbers of the inner nodes, from the first to the last; the numbers before are the cell's inputs.
        operations: names of all operations.
    """

    inner: tuple[int, ...]
    operations: Collection[str]

    @property
    def inputs(self) -> range:
        """Numbers of the cell's inputs."""
        return range(self.inner[0])

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Source and node of each edge, node by node: the rows of the architecture weights."""
        return tuple((source, node) for node in self.inner for source in range(node))

    def rows(self, node: int) -> range:
        """Return the rows of the architecture weights that enter an inner node: its group A_(j) of SparseNAS, Eq. 2.

        Raises:
            InputError: if ``node`` is no inner node.
        """
        if node not in self.inner:
            raise InputError(f"A cell has the inner nodes {', '.join(map(str, self.inner))}, got {node!r}.")
        found = [row for row, (_, target) in enumerate(self.edges) if target == node]
        return range(found[0], found[-1] + 1)

    def rows_from(self, node: int) -> tuple[int, ...]:
        """Return the rows of the architecture weights of the edges that leave a node, an input or an inner one."""
        return tuple(row for row, (source, _) in enumerate(self.edges) if source == node)

    def derive(self, place: str, weights: Tensor, names: Collection[str]) -> dict[int, Paths]:
        """Return the paths that architecture weights leave, by node.

        Paths with a weight other than zero stay, but for those from nodes that are gone; a node with none goes.

        Args:
            place: the parameter's name, for the error.
            weights: ``(edges, operations)``, a row an edge.
            names: of the operations, for the columns.

        Raises:
            NonFiniteError: if a weight is NaN or infinite.
        """
        if not torch.isfinite(weights).all():
            raise NonFiniteError(f"{place} holds a weight that is NaN or infinite; no path can be told by it.")
        nodes: dict[int, Paths] = {}
        for inner in self.inner:
            paths = tuple(
                (name, source)
                for (source, node), row in zip(self.edges, weights.tolist(), strict=True)
                for name, weight in zip(names, row, strict=True)
                if node == inner and weight != 0 and (source in self.inputs or source in nodes)
            )
            if paths:
                nodes[inner] = paths
        return nodes

    def check(self, kind: str, nodes: Mapping[int, Paths]) -> None:
        """Refuse what is no cell.

        Args:
            kind: of cell, for the errors.
            nodes: for each inner node that lives the paths into it.

        Raises:
            InputError: if it has another form, there is no node, a node is no inner node or has no path, or a path has
                an unknown operation, reads a node that does not live or is not before its own, or is there twice. The
                message says where.
        """
        if not isinstance(nodes, Mapping):
            raise InputError(f"{kind}: a cell is a dict from nodes to paths, got {repr(nodes)}.")
        if not nodes:
            raise InputError(f"{kind}: no node is left, so the cell would return nothing.")
        for node in nodes:
            if not _is_number(node) or node not in self.inner:
                raise InputError(f"{kind}: inner nodes are {', '.join(map(str, self.inner))}, got {repr(node)}.")
        for node, paths in nodes.items():
            if not _is_pair_list(paths):
                raise InputError(f"{kind}, node {node}: paths are a tuple of (operation, node), got {repr(paths)}.")
            if not paths:
                raise InputError(f"{kind}, node {node}: a node without a path goes; leave it out.")
            living = {*self.inputs, *(other for other in nodes if other < node)}
            for number, (name, source) in enumerate(paths):
                place = f"{kind}, node {node}, path {number}"
                if not isinstance(name, str) or name not in self.operations:
                    raise InputError(f"{place}: an operation is one of {', '.join(self.operations)}, got {repr(name)}.")
                if not _is_number(source) or source not in living:
                    raise InputError(f"{place}: it can read {', '.join(map(str, sorted(living)))}, got {repr(source)}.")
                if (name, source) in map(tuple, paths[:number]):
                    raise InputError(f"{place}: {name} from {source} is there twice.")

    def read(self, kind: str, read: Any) -> dict[int, Paths]:
        """Return the paths by node for what JSON holds of a cell; :meth:`check` is still to be done.

        Raises:
            InputError: if it has another form. The message says where.
        """
        if not isinstance(read, dict):
            raise InputError(f"{kind}: a cell is a JSON object of nodes, got {repr(read)}.")
        numbers = {str(node): node for node in self.inner}
        unknown = [key for key in read if key not in numbers]
        if unknown:
            raise InputError(f"{kind}: inner nodes are {', '.join(numbers)}, got {repr(unknown[0])}.")
        return {numbers[key]: _read_paths(f"{kind}, node {key}", read[key]) for key in sorted(read)}


def read_json(text: str, kinds: Collection[str]) -> dict[str, Any]:
    """Return the JSON of each kind of cell.

    Raises:
        InputError: if it is no text, or no JSON, names something twice, or is no object with just these keys.
    """
    if not isinstance(text, str | bytes | bytearray):
        raise InputError(f"A genotype is read from a text of JSON, got {repr(text)}.")
    try:
        read = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InputError(f"A genotype is JSON, but: {error or 'nested too deeply'}.") from error
    if not isinstance(read, dict) or set(read) != set(kinds):
        keys = f"key{'s' if len(kinds) > 1 else ''} {' and '.join(kinds)}"
        raise InputError(f"A genotype is a JSON object with the {keys}, got {repr(read)}.")
    return read


def _read_paths(place: str, read: Any) -> Paths:
    if not isinstance(read, list) or not _is_pair_list(read):
        raise InputError(f"{place}: paths are a list of [operation, node], got {repr(read)}.")
    return tuple((name, source) for name, source in read)


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{repr(key)} is there twice")
        found[key] = value
    return found


def _is_pair_list(value: Any) -> bool:
    """Whether it is a sequence of pairs; a string of two letters is none."""
    return isinstance(value, tuple | list) and all(isinstance(each, tuple | list) and len(each) == 2 for each in value)


def _is_number(value: Any) -> bool:
    """Whether it is an integer; ``True`` and ``2.0`` equal one but are none."""
    return isinstance(value, int) and not isinstance(value, bool)
