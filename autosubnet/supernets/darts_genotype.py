"""Genotypes: what a search leaves of DARTS' two cells, and how they are kept as JSON.

Mixed-path search derives a cell by "removing the operations with zero weights and the nodes with all zero incoming
weights" (SparseNAS, Sparse Supernet). So a node may have any number of paths, and there may be any number of nodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from reprlib import repr  # shortened: what is told may be long or deep
from typing import Any

import torch
from torch import Tensor

from autosubnet.errors import InputError, NonFiniteError
from autosubnet.supernets.darts_cnn import Darts
from autosubnet.supernets.darts_operations import OPERATIONS
from autosubnet.supernets.darts_skeleton import EDGES, INNER, KINDS

Paths = tuple[tuple[str, int], ...]
"""The paths into one node: names of operations, each with the node that it reads."""


@dataclass(frozen=True)
class Genotype:
    """The paths of a normal and of a reduction cell.

    Args:
        normal: for each inner node that lives (2 to 5) the paths into it; nodes 0 and 1 are the cell's inputs.
        reduce: the same of the reduction cell.

    Raises:
        InputError: if a cell has no node, a node is none of 2 to 5 or has no path, or a path has an unknown operation,
            reads a node that does not live or is not before its own, or is there twice. The message says where.
    """

    normal: dict[int, Paths]
    reduce: dict[int, Paths]

    def __post_init__(self) -> None:
        for kind in KINDS:
            _check_cell(kind, getattr(self, kind))

    def to_json(self) -> str:
        """Return ``{"normal": {"2": [["sep_conv_3x3", 0], ...], ...}, "reduce": {...}}``."""
        return json.dumps({kind: getattr(self, kind) for kind in KINDS})

    @classmethod
    def from_json(cls, text: str) -> Genotype:
        """Read what :meth:`to_json` wrote.

        Raises:
            InputError: if it is no JSON, names something twice, has another form, or is no genotype. The message says
                where.
        """
        try:
            read = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise InputError(f"A genotype is JSON, but: {error or 'nested too deeply'}.") from error
        if not isinstance(read, dict) or set(read) != set(KINDS):
            raise InputError(f"A genotype is a JSON object with the keys {' and '.join(KINDS)}, got {repr(read)}.")
        return cls(**{kind: _read_cell(kind, cell) for kind, cell in read.items()})


def genotype(model: Darts) -> Genotype:
    """Return what the architecture weights of a supernet leave of its cells.

    Paths with a weight other than zero stay, but for those from nodes that are gone; a node with none goes.

    Raises:
        InputError: if the model is no Darts, its cells have no architecture weights, do not share them or are of one
            kind only, or a cell has no node left.
        NonFiniteError: if an architecture weight is NaN or infinite.
    """
    if not isinstance(model, Darts):
        raise InputError(f"A genotype is that of a Darts, got {type(model).__name__}.")
    if set(model.architecture) != set(KINDS):
        raise InputError(
            f"A genotype needs the architecture weights {' and '.join(KINDS)}, got "
            f"{', '.join(model.architecture) or 'none'}; create the supernet with architecture_weights=True, "
            "share=True and at least 3 cells."
        )
    return Genotype(**{kind: _derive(kind, model.architecture[kind], model.operations[kind]) for kind in KINDS})


def _derive(kind: str, weights: Tensor, names: tuple[str, ...]) -> dict[int, Paths]:
    if not torch.isfinite(weights).all():
        raise NonFiniteError(f"architecture.{kind} holds a weight that is NaN or infinite; no path can be told by it.")
    nodes: dict[int, Paths] = {}
    for inner in INNER:
        paths = tuple(
            (name, source)
            for (source, node), row in zip(EDGES, weights.tolist(), strict=True)
            for name, weight in zip(names, row, strict=True)
            if node == inner and weight != 0 and (source not in INNER or source in nodes)
        )
        if paths:
            nodes[inner] = paths
    return nodes


def _check_cell(kind: str, nodes: dict[int, Paths]) -> None:
    if not nodes:
        raise InputError(f"{kind}: no node is left, so the cell would return nothing.")
    for node, paths in nodes.items():
        if not _is_number(node) or node not in INNER:
            raise InputError(f"{kind}: inner nodes are {', '.join(map(str, INNER))}, got {repr(node)}.")
        if not paths:
            raise InputError(f"{kind}, node {node}: a node without a path goes; leave it out.")
        living = {0, 1, *(other for other in nodes if other < node)}
        for number, (name, source) in enumerate(paths):
            place = f"{kind}, node {node}, path {number}"
            if not isinstance(name, str) or name not in OPERATIONS:
                raise InputError(f"{place}: an operation is one of {', '.join(OPERATIONS)}, got {repr(name)}.")
            if not _is_number(source) or source not in living:
                raise InputError(f"{place}: it can read {', '.join(map(str, sorted(living)))}, got {repr(source)}.")
            if (name, source) in paths[:number]:
                raise InputError(f"{place}: {name} from {source} is there twice.")


def _read_cell(kind: str, read: Any) -> dict[int, Paths]:
    if not isinstance(read, dict):
        raise InputError(f"{kind}: a cell is a JSON object of nodes, got {repr(read)}.")
    numbers = {str(node): node for node in INNER}
    unknown = [key for key in read if key not in numbers]
    if unknown:
        raise InputError(f"{kind}: inner nodes are {', '.join(numbers)}, got {repr(unknown[0])}.")
    return {numbers[key]: _read_paths(f"{kind}, node {key}", read[key]) for key in sorted(read)}


def _read_paths(place: str, read: Any) -> Paths:
    if not isinstance(read, list) or not all(isinstance(path, list) and len(path) == 2 for path in read):
        raise InputError(f"{place}: paths are a list of [operation, node], got {repr(read)}.")
    return tuple((name, source) for name, source in read)


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{repr(key)} is there twice")
        found[key] = value
    return found


def _is_number(value: Any) -> bool:
    """Whether it is an integer; ``True`` and ``2.0`` equal one but are none."""
    return isinstance(value, int) and not isinstance(value, bool)
