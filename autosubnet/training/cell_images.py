"""The evaluation of SparseNAS on images: cells are stacked, and trained with dropped paths and an auxiliary head."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from accelerate.utils import set_seed
from rich.console import Console
from torch import Tensor, nn

from autosubnet.supernets import DartsNetwork, Genotype
from autosubnet.supernets.darts_evaluation import DropPath
from autosubnet.training import loop
from autosubnet.training.cell_settings import CellSettings
from autosubnet.training.cutout import cutout
from autosubnet.training.data import ImageData, load

MOMENTUM = 0.9
WEIGHT_DECAY = 3e-4
CLIP = 5.0
_EXAMPLES = 8


class ImageCells:
    """See :class:`autosubnet.training.cell_problem.CellProblem`.

    Args:
        genotype: the cells.
        data: images and labels.
        settings: the sizes of the network, and how it is trained.

    Raises:
        InputError: see :class:`autosubnet.supernets.DartsNetwork`.
    """

    def __init__(self, genotype: Genotype, data: ImageData, settings: CellSettings) -> None:
        set_seed(settings.seed)
        self.data, self.settings = data, settings
        self.model = DartsNetwork(
            genotype, settings.channels, settings.cells, drop_path=settings.drop_path,
            auxiliary_weight=settings.auxiliary_weight, in_channels=data.shape[0], num_classes=data.num_classes,
        )  # fmt: skip

    @classmethod
    def build(cls, genotype: Genotype, settings: CellSettings) -> ImageCells:
        """Load the data.

        Raises:
            InputError: see :class:`ImageCells`, :func:`autosubnet.training.data.load` and :func:`loop.num_steps`.
        """
        data = load(settings.data, settings.data_dir)
        loop.num_steps(data.train, settings.batch_size, settings.epochs)  # wrong numbers show before training
        return cls(genotype, data, settings)

    @property
    def num_params(self) -> int:
        """Those of the auxiliary head do not count."""
        return sum(p.numel() for name, p in self.model.named_parameters() if not name.startswith("auxiliary."))

    def train(self, console: Console | None = None, checkpoint: Path | None = None) -> list[dict[str, float]]:
        """Train with SGD; each epoch ends with its mean ``loss``."""
        model, settings = self.model, self.settings
        dropped = [module for module in model.modules() if isinstance(module, DropPath)]

        def grow(epoch: int) -> None:
            for module in dropped:
                module.probability = settings.drop_path * epoch / settings.epochs

        epochs = loop.train(
            model,
            torch.optim.SGD(model.parameters(), settings.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
            self.data.train,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            seed=settings.seed,
            loss=model.loss,
            augment=partial(cutout, side=settings.cutout),
            clip=CLIP,
            begin_epoch=grow,
            title=f"{settings.genotype.name} on {self.data.name}",
            console=console,
            checkpoint=checkpoint,
            about={name: str(value) for name, value in asdict(settings).items() if name != "data_dir"},
        )
        return [{"loss": each.loss} for each in epochs]

    def captured(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return the network, and images."""
        return self.model.cpu().eval(), (self.data.test.tensors[0][:_EXAMPLES],)

    def scores(self) -> dict[str, float]:
        """Return the share of test images, 0 to 1, that are classified right."""
        return {"accuracy": loop.accuracy(self.model, self.data.test)}
