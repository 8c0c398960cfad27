"""Genotypes of the recurrent cell, and the network of one that is trained from scratch (SparseNAS, appendix).

As in DARTS: one cell of 850 units for Penn Treebank, variational dropout, no norm. What else DARTS trains with belongs
to the loop, :mod:`autosubnet.training.text_loop`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import reduce
from operator import add

from torch import Tensor, nn

from autosubnet.errors import InputError
from autosubnet.supernets.darts_recurrent import SPACE, FirstNode, gate_and_candidate, path
from autosubnet.supernets.darts_rnn import DartsRnn, SearchCell
from autosubnet.supernets.darts_space import Paths, read_json
from autosubnet.supernets.language_model import Dropouts, LanguageModel, uniform_linear

_KIND = "recurrent"


@dataclass(frozen=True)
class RecurrentGenotype:
    """The paths of a recurrent cell.

    Args:
        recurrent: for each inner node that lives (1 to 8) the paths into it; node 0 is made of input and state.

    Raises:
        InputError: if it has another form or no node, a node is none of 1 to 8 or has no path, or a path has an unknown
            activation, reads a node that does not live or is not before its own, or is there twice. The message says
            where.
    """

    recurrent: dict[int, Paths]

    def __post_init__(self) -> None:
        SPACE.check(_KIND, self.recurrent)

    def to_json(self) -> str:
        """Return ``{"recurrent": {"1": [["tanh", 0], ...], ...}}``."""
        return json.dumps({_KIND: self.recurrent})

    @classmethod
    def from_json(cls, text: str) -> RecurrentGenotype:
        """Read what :meth:`to_json` wrote.

        Raises:
            InputError: if it is no text, or no JSON, names something twice, has another form, or is no genotype. The
                message says where.
        """
        return cls(SPACE.read(_KIND, read_json(text, (_KIND,))[_KIND]))


def recurrent_genotype(model: DartsRnn) -> RecurrentGenotype:
    """Return what the architecture weights of a supernet leave of its cell.

    Paths with a weight other than zero stay, but for those from nodes that are gone; a node with none goes.

    Raises:
        InputError: if the model is no DartsRnn, its cell is not the one it was made with, or has no node left.
        NonFiniteError: if an architecture weight is NaN or infinite.
    """
    if not isinstance(model, DartsRnn) or not isinstance(model.cell, SearchCell):
        cell = f" with a cell of another kind, {type(model.cell).__name__}" if isinstance(model, DartsRnn) else ""
        raise InputError(f"A recurrent genotype is that of a DartsRnn, got {type(model).__name__}{cell}.")
    return RecurrentGenotype(SPACE.derive("cell.architecture", model.cell.architecture, SPACE.operations))


class DerivedRecurrentCell(nn.Module):
    """One time step with the paths of a genotype.

    A node is the average of its paths, and the state after that of the living nodes. SparseNAS does not say what
    becomes of the architecture weights; without them and without a norm, sums of several paths would grow from step to
    step. With one path a node, as in DARTS, average and sum are the same.

    Args:
        nodes: for each living node the paths into it.
        size: of input and state.

    Raises:
        InputError: if the size is less than 1.
    """

    def __init__(self, nodes: dict[int, Paths], size: int) -> None:
        super().__init__()
        self._nodes = nodes
        self.first = FirstNode(size)
        self.linears = nn.ModuleDict({str(node): uniform_linear(size, 2 * size) for node in nodes})

    def forward(self, x: Tensor, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the state after ``(B, size)``.

        Args:
            x: input ``(B, size)``.
            h: state before ``(B, size)``.
            mask: what the matrices read states through, ``(B, size)``.
        """
        states = {0: self.first(x, h, mask)}
        for node, paths in self._nodes.items():
            linear = self.linears[str(node)]
            read = {source: gate_and_candidate(linear, states[source], mask) for _, source in paths}
            outputs = [path(name, states[source], *read[source]) for name, source in paths]
            states[node] = reduce(add, outputs) / len(outputs)
        state_after: Tensor = reduce(add, [states[node] for node in self._nodes]) / len(self._nodes)
        return state_after


class DartsRnnNetwork(LanguageModel):
    """The network of a recurrent genotype.

    Args:
        genotype: the paths of its cell.
        vocabulary_size: number of words; 10,000 in Penn Treebank.
        size: of embedded words and of the state.
        dropouts: of training, DARTS' by default.

    Raises:
        InputError: if there are no words, or the size is less than 1.
    """

    def __init__(
        self,
        genotype: RecurrentGenotype,
        vocabulary_size: int = 10_000,
        size: int = 850,
        *,
        dropouts: Dropouts | None = None,
    ) -> None:
        cell = DerivedRecurrentCell(dict(sorted(genotype.recurrent.items())), size)
        super().__init__(cell, vocabulary_size, size, dropouts or Dropouts())
