"""What the recurrent supernet of DARTS and the cells derived from it share: nodes, activations and the highway gate.

A cell has nine nodes (DARTS' code, STEPS = CONCAT = 8): 0 is made of the input and the state before, each of 1 to 8 of
nodes ahead of it, and the state after is the average of these eight. A path from node i to node j with activation f is

    o(s_i) = s_i + c (f(h) - s_i),   (c, h) = (sigmoid(s_i W_j), s_i W_j),

each of one half of the columns of W_j, which all paths into a node share: hence the number of parameters depends on the
nodes alone. It is 23 M in Table 3 of SparseNAS whatever the architecture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from autosubnet.errors import InputError
from autosubnet.supernets.darts_space import CellSpace
from autosubnet.supernets.language_model import uniform_linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda h: h,
}
"""By the names of DARTS' code, in its order, without *none* (SparseNAS, appendix)."""

SPACE = CellSpace(tuple(range(1, 9)), tuple(ACTIVATIONS))


class FirstNode(nn.Module):
    """Node 0: ``h + c (tanh(g) - h)`` with ``(c, g)`` linear in input and state, ``c`` behind a sigmoid.

    Args:
        size: of input and state.

    Raises:
        InputError: if the size is less than 1.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 1:
            raise InputError(f"A recurrent cell needs a size of at least 1, got {size}.")
        self.linear = uniform_linear(2 * size, 2 * size)

    def forward(self, x: Tensor, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return ``(B, size)``.

        Args:
            x: input ``(B, size)``.
            h: state before ``(B, size)``.
            mask: what the matrix reads the state through, ``(B, size)``; the gate carries the state itself.
        """
        read = torch.cat([x, h if mask is None else h * mask], -1)
        gate, candidate = self.linear(read).chunk(2, -1)
        return h + torch.sigmoid(gate) * (torch.tanh(candidate) - h)


def gate_and_candidate(linear: nn.Module, state: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return c and h of the paths from a state, each ``(B, size)``; see :class:`FirstNode` for the mask."""
    gate, candidate = linear(state if mask is None else state * mask).chunk(2, -1)
    return torch.sigmoid(gate), candidate


def path(name: str, state: Tensor, gate: Tensor, candidate: Tensor) -> Tensor:
    """Return o(s) for an activation by name."""
    return state + gate * (ACTIVATIONS[name](candidate) - state)
