"""Genotypes: what a search leaves of DARTS' two convolutional cells, and how they are kept as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

from autosubnet.errors import InputError
from autosubnet.supernets.darts_cnn import Darts
from autosubnet.supernets.darts_skeleton import KINDS, SPACE
from autosubnet.supernets.darts_space import Paths, read_json


@dataclass(frozen=True)
class Genotype:
    """The paths of a normal and of a reduction cell.

    Args:
        normal: for each inner node that lives (2 to 5) the paths into it; nodes 0 and 1 are the cell's inputs.
        reduce: the same of the reduction cell.

    Raises:
        InputError: if a cell has another form or no node, a node is none of 2 to 5 or has no path, or a path has an
            unknown operation, reads a node that does not live or is not before its own, or is there twice. The message
            says where.
    """

    normal: dict[int, Paths]
    reduce: dict[int, Paths]

    def __post_init__(self) -> None:
        for kind in KINDS:
            SPACE.check(kind, getattr(self, kind))

    def to_json(self) -> str:
        """Return ``{"normal": {"2": [["sep_conv_3x3", 0], ...], ...}, "reduce": {...}}``."""
        return json.dumps({kind: getattr(self, kind) for kind in KINDS})

    @classmethod
    def from_json(cls, text: str) -> Genotype:
        """Read what :meth:`to_json` wrote.

        Raises:
            InputError: if it is no text, or no JSON, names something twice, has another form, or is no genotype. The
                message says where.
        """
        return cls(**{kind: SPACE.read(kind, cell) for kind, cell in read_json(text, KINDS).items()})


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
    return Genotype(
        **{
            kind: SPACE.derive(f"architecture.{kind}", model.architecture[kind], model.operations[kind])
            for kind in KINDS
        }
    )
