"""The evaluation of SparseNAS on texts: the language model of a derived recurrent cell."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from accelerate.utils import set_seed
from rich.console import Console
from torch import Tensor, nn

from autosubnet.errors import InputError
from autosubnet.supernets import DartsRnnNetwork, Dropouts, NextWord, RecurrentGenotype
from autosubnet.training import measure, text_loop
from autosubnet.training.cell_settings import RecurrentSettings
from autosubnet.training.sequences import columns, perplexity
from autosubnet.training.text import TextData, python_topics, read_text

_EXAMPLES = 4


class TextCells:
    """See :class:`autosubnet.training.cell_problem.CellProblem`; what is saved computes one step.

    Args:
        genotype: the cell.
        data: the text.
        settings: the sizes of the network, and how it is trained.

    Raises:
        InputError: see :class:`autosubnet.supernets.DartsRnnNetwork` and :func:`scaled`.
    """

    def __init__(self, genotype: RecurrentGenotype, data: TextData, settings: RecurrentSettings) -> None:
        set_seed(settings.seed)
        self.data, self.settings = data, settings
        dropouts = scaled(settings.dropout)
        self.model = DartsRnnNetwork(genotype, len(data.vocabulary), settings.size, dropouts=dropouts)

    @classmethod
    def build(cls, genotype: RecurrentGenotype, settings: RecurrentSettings) -> TextCells:
        """Read the text.

        Raises:
            InputError: see :class:`TextCells`, :func:`autosubnet.training.text.read_text` and
                :func:`autosubnet.training.sequences.columns`.
        """
        data = python_topics() if settings.data_dir is None else read_text(settings.data_dir)
        columns(data.train, settings.batch_size)  # wrong numbers show before training
        return cls(genotype, data, settings)

    @property
    def num_params(self) -> int:
        """The matrix that embedding and decoder share counts once."""
        return measure.num_params(self.model)

    def train(self, console: Console | None = None, checkpoint: Path | None = None) -> list[dict[str, float]]:
        """Train as :func:`autosubnet.training.text_loop.train` does; the network is the best on the validation part."""
        settings = self.settings
        return text_loop.train(
            self.model,
            self.data,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            lr=settings.lr,
            window=settings.window,
            seed=settings.seed,
            title=f"{settings.genotype.name} on {self.data.name}",
            console=console,
            checkpoint=checkpoint,
            about={name: str(value) for name, value in asdict(settings).items() if name != "data_dir"},
        )

    def captured(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return one step of the language model, and words and states."""
        words = torch.randint(len(self.data.vocabulary), (_EXAMPLES,))
        return NextWord(self.model.cpu()).eval(), (words, torch.randn(_EXAMPLES, self.settings.size))

    def scores(self) -> dict[str, float]:
        """Return the perplexities of the validation and the test part."""
        parts = {"validation perplexity": self.data.valid, "test perplexity": self.data.test}
        return {name: perplexity(self.model, words, length=self.settings.window) for name, words in parts.items()}


def scaled(factor: float) -> Dropouts:
    """Return DARTS' dropouts times a factor.

    Raises:
        InputError: if a probability would not be at least 0 and less than 1.
    """
    try:
        return Dropouts(**{name: factor * probability for name, probability in asdict(Dropouts()).items()})
    except InputError as error:
        raise InputError(f"A dropout of {factor:g} cannot be; 1 is that of DARTS, 0 is none. {error}") from error
