"""What the training of derived cells needs to know of its network and its data; once for images, once for texts."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from rich.console import Console
from torch import Tensor, nn

from autosubnet.errors import InputError
from autosubnet.supernets import Genotype, RecurrentGenotype


class CellProblem(Protocol):
    """A network of derived cells with new weights, and data to train it on."""

    @property
    def num_params(self) -> int:
        """Scalar parameters of the network, without what only training needs."""

    def train(self, console: Console | None, checkpoint: Path | None) -> list[dict[str, float]]:
        """Train the network in place; return what every epoch ended with.

        Args:
            console: where the progress bar goes.
            checkpoint: see :meth:`autosubnet.training.checkpoint.Run.complete`.

        Raises:
            AutoSubnetError: input errors before any training, or a checkpoint of another run.
        """

    def captured(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return the network on the CPU in eval mode, as it is saved and exported, and example inputs."""

    def scores(self) -> dict[str, float]:
        """Return how good the network is on data that it was not trained on, each by what is measured."""


def read_genotype(path: Path) -> Genotype | RecurrentGenotype:
    """Read the genotype that a search wrote.

    Raises:
        InputError: there is no such file, or it holds no genotype.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); pass the genotype.json that a search wrote.") from error
    try:
        return (RecurrentGenotype if '"recurrent"' in text else Genotype).from_json(text)
    except InputError as error:
        raise InputError(f"{path} holds no genotype of darts or darts_rnn: {error}") from error
