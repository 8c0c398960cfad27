"""DartsRnn: the recurrent supernet of DARTS, as SparseNAS searches it (Eq. 1; appendix, Recurrent).

Every node is the sum of all four activations of all nodes ahead of it, each path scaled by an architecture weight,
linear instead of DARTS' softmax. A zero takes the path away: each weight is read as an entry of one matrix, which zero
propagation knows entry by entry.

DARTS normalises each node in the search, by a BatchNorm without weight and bias, since gradients explode else; with
linear weights the state itself would grow from step to step. SparseNAS follows that setup and says no more. Here it is
different in two ways:

- Paths read the norm of a node, but the state after is the average of the nodes themselves. Behind the sum, where DARTS
  has it, a norm undoes the scale of the weights into a node, and the penalty would take every node away at no cost.
- It is a LayerNorm without weight and bias. In eval mode a BatchNorm scales by numbers that are fixed, which does not
  bound a recurrence: short searches at size 8 ended with an infinite perplexity in eval mode, about one in four. And a
  dead node is zero behind a LayerNorm, but in eval mode not behind a BatchNorm.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from autosubnet.supernets.darts_recurrent import ACTIVATIONS, SPACE, FirstNode, gate_and_candidate, path
from autosubnet.supernets.language_model import Dropouts, LanguageModel, uniform_linear


class SearchCell(nn.Module):
    """One time step of the supernet: all activations on all edges.

    Args:
        size: of input and state.
        initial_weight: of every path.

    Raises:
        InputError: if the size is less than 1.

    Attributes:
        architecture: the architecture weights ``(36, 4)``: a row an edge as in ``darts_recurrent.SPACE.edges``, a
            column an activation.
    """

    def __init__(self, size: int, initial_weight: float) -> None:
        super().__init__()
        self.first = FirstNode(size)
        self.linears = nn.ModuleDict({str(node): uniform_linear(size, 2 * size) for node in SPACE.inner})
        # The last node is read by none.
        self.norms = nn.ModuleList(nn.LayerNorm(size, elementwise_affine=False) for _ in SPACE.inner)
        self.architecture = nn.Parameter(torch.full((len(SPACE.edges), len(ACTIVATIONS)), initial_weight))

    def forward(self, x: Tensor, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the state after ``(B, size)``.

        Args:
            x: input ``(B, size)``.
            h: state before ``(B, size)``.
            mask: what the matrices read states through, ``(B, size)``.
        """
        read = [self.norms[0](self.first(x, h, mask))]
        nodes: list[Tensor] = []
        for node in SPACE.inner:
            paths = []
            for source, row in enumerate(SPACE.rows(node)):
                gate, candidate = gate_and_candidate(self.linears[str(node)], read[source], mask)
                for column, name in enumerate(ACTIVATIONS):
                    weight = self.architecture[row, column]
                    paths.append(weight * path(name, read[source], gate, candidate))
            nodes.append(reduce(add, paths))
            if node < len(self.norms):
                read.append(self.norms[node](nodes[-1]))
        return reduce(add, nodes) / len(nodes)


class DartsRnn(LanguageModel):
    """The supernet, for texts of any length; :attr:`cell` is what AutoSubnet captures, on two tensors ``(B, size)``.

    Args:
        vocabulary_size: number of words; 10,000 in Penn Treebank.
        size: of embedded words and of the state; DARTS searches at 300.
        dropouts: of training, DARTS' by default.
        initial_weight: of every path. SparseNAS is silent on it; by default one by the number of activations on an
            edge, about the value of DARTS' softmax at its start.

    Raises:
        InputError: if there are no words, or the size is less than 1.
    """

    def __init__(
        self,
        vocabulary_size: int = 10_000,
        size: int = 300,
        *,
        dropouts: Dropouts | None = None,
        initial_weight: float = 1 / len(ACTIVATIONS),
    ) -> None:
        super().__init__(SearchCell(size, initial_weight), vocabulary_size, size, dropouts or Dropouts())
