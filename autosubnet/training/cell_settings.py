"""The arguments of the training of a derived network, without anything that is slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autosubnet.training.fields import Count, Data, NotNegative, Positive, Seed, Share, Size


@dataclass(frozen=True)
class CellSettings:
    """Which cells to stack and train from new weights, on what, and how; defaults are DARTS' for CIFAR-10.

    Attributes:
        genotype: file that a search wrote.
        data: see :func:`autosubnet.training.data.load`.
        data_dir: the same.
        epochs: passes over the training images; 600 in DARTS, 1,200 in SparseNAS.
        batch_size: images a step.
        lr: learning rate of SGD with momentum 0.9 and weight decay 3e-4; a cosine takes it to zero.
        channels: of the first cell.
        cells: how many are stacked.
        cutout: side of the square of each image that is set to zero in training, 0 for none; 16 of 32 in DARTS.
        drop_path: probability that a path is dropped, in the last epoch; it grows linearly from zero.
        auxiliary_weight: of the loss of the auxiliary head, 0 for none.
        seed: of the weights, the order of the images and everything random.
    """

    genotype: Path
    data: Data = "digits"
    data_dir: Path | None = None
    epochs: Count = 600
    batch_size: Count = 96
    lr: Positive = 0.025
    channels: Count = 36
    cells: Count = 20
    cutout: Size = 0
    drop_path: Share = 0.2
    auxiliary_weight: NotNegative = 0.4
    seed: Seed = 0


@dataclass(frozen=True)
class RecurrentSettings:
    """Which recurrent cell to train from new weights, on what, and how; defaults are SparseNAS' for Penn Treebank.

    Attributes:
        genotype: file that a search wrote.
        data_dir: see :func:`autosubnet.training.text.read_text`; the text is Python's help if ``None``.
        epochs: passes over the training part of the text; 8,000 in DARTS, 4,000 in SparseNAS.
        batch_size: columns that it is cut into.
        lr: learning rate of SGD, and of its averages.
        size: of words and states.
        window: words of a column that are run at once.
        dropout: factor on the probabilities of :class:`autosubnet.supernets.Dropouts`, 0 for none.
        seed: of the weights and everything random.
    """

    genotype: Path
    data_dir: Path | None = None
    epochs: Count = 4000
    batch_size: Count = 64
    lr: Positive = 20.0
    size: Count = 850
    window: Count = 35
    dropout: NotNegative = 1.0
    seed: Seed = 0
