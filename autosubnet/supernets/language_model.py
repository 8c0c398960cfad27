"""A recurrent cell as a language model: embedding, the cell over a sequence, decoder (DARTS, Section 3.1.2).

The cell computes one time step, and so is what AutoSubnet captures: a graph of the whole model would hold as many
copies of the cell as its example is long. Any cell fits, also a constructed one: ``model.cell = subnet``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosubnet.errors import InputError

_REACH = 0.04
"""Weights start uniformly in plus and minus this, as in DARTS' code."""


@dataclass(frozen=True)
class Dropouts:
    """Probabilities of variational dropout: in training, a mask is drawn for a sequence and holds at all its steps.

    Defaults are those of DARTS' code, in search and in evaluation; SparseNAS follows it.

    Attributes:
        embedding: on the embedded words.
        input: on what the cell reads of them; a mask of its own.
        hidden: on the states that the matrices of the cell read, the same mask for all its nodes.
        output: on the cell's output, ahead of the decoder.

    Raises:
        InputError: if one is not at least 0 and less than 1.
    """

    embedding: float = 0.2
    input: float = 0.75
    hidden: float = 0.25
    output: float = 0.75

    def __post_init__(self) -> None:
        for name, probability in vars(self).items():
            if not 0 <= probability < 1:
                raise InputError(
                    f"Dropouts needs probabilities of at least 0 and less than 1, got {name}={probability}."
                )


NO_DROPOUT = Dropouts(0, 0, 0, 0)


def unroll(cell: nn.Module, inputs: Tensor, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
    """Run a cell over a sequence.

    Args:
        cell: maps the input of one step ``(B, I)`` and the state before ``(B, H)`` to the state after; also a
            constructed subnet.
        inputs: ``(T, B, I)``.
        hidden: state before the first step.
        mask: a third argument for the cell at each step, or nothing.

    Returns:
        The states after each step ``(T, B, H)``.

    Raises:
        InputError: if the sequence is empty.
    """
    if not len(inputs):
        raise InputError(f"A sequence needs at least one step, got inputs of the shape {tuple(inputs.shape)}.")
    states = []
    for step in inputs:
        hidden = cell(step, hidden) if mask is None else cell(step, hidden, mask)
        states.append(hidden)
    return torch.stack(states)


class LanguageModel(nn.Module):
    """Predicts each word of a text from those before it.

    Embedding and decoder share their matrix, as in DARTS' code: without it, the network of 850 units for Penn Treebank
    would have 31 M parameters, and SparseNAS reports 23 M (Table 3).

    Args:
        cell: see :func:`unroll`, with ``I = size`` and ``H = state_size``. It reads a mask ``(B, state_size)`` as a
            third argument if ``dropouts.hidden`` is not 0.
        vocabulary_size: number of words.
        size: of embedded words and of what is decoded, the first entries of the state.
        dropouts: of training.
        state_size: of the state where it holds more than that, as an LSTM's; ``size`` if ``None``.

    Raises:
        InputError: if there are no words.
    """

    def __init__(
        self, cell: nn.Module, vocabulary_size: int, size: int, dropouts: Dropouts, state_size: int | None = None
    ) -> None:
        super().__init__()
        if vocabulary_size < 1:
            raise InputError(f"A language model needs at least one word, got {vocabulary_size}.")
        self.size = size
        self.state_size = state_size or size
        self.dropouts = dropouts
        self.encoder = nn.Embedding(vocabulary_size, size)
        self.cell = cell
        self.decoder = nn.Linear(size, vocabulary_size)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -_REACH, _REACH)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits ``(T, B, vocabulary_size)`` of the words that follow, and the last state ``(B, state_size)``.

        Detach that state before it is the next sequence's, or gradients go back to the start of the text.

        Args:
            tokens: numbers of words ``(T, B)``, a text a column.
            hidden: the state before them; zero if ``None``.

        Raises:
            InputError: if the sequence is empty.
        """
        embedded = self.encoder(tokens)
        if hidden is None:
            hidden = embedded.new_zeros(tokens.shape[1], self.state_size)
        read = self._drop(self._drop(embedded, self.dropouts.embedding), self.dropouts.input)
        mask = None
        if self.training and self.dropouts.hidden:
            mask = F.dropout(torch.ones_like(hidden), self.dropouts.hidden)
        states = unroll(self.cell, read, hidden, mask)
        return self.decoder(self._drop(states[..., : self.size], self.dropouts.output)), states[-1]

    def _drop(self, sequence: Tensor, probability: float) -> Tensor:
        """Multiply all steps by one mask."""
        if not self.training or not probability:
            return sequence
        return sequence * F.dropout(torch.ones_like(sequence[:1]), probability)


class NextWord(nn.Module):
    """One step of a language model without dropout, for files and other runtimes: texts of any length run word by word.

    Args:
        model: whose parameters it shares.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.size = model.size
        self.encoder, self.cell, self.decoder = model.encoder, model.cell, model.decoder

    def forward(self, words: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(B, vocabulary_size)`` of the next words, and the state after ``(B, state_size)``.

        Args:
            words: their numbers ``(B,)``, one a text.
            hidden: the state before, zero at the start of a text.
        """
        hidden = self.cell(self.encoder(words), hidden)
        return self.decoder(hidden[..., : self.size]), hidden


def uniform_linear(in_features: int, out_features: int) -> nn.Linear:
    """Return a linear layer without a bias that starts as all of DARTS' recurrent weights do."""
    linear = nn.Linear(in_features, out_features, bias=False)
    nn.init.uniform_(linear.weight, -_REACH, _REACH)
    return linear
