"""The arguments of a search, without anything that is slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What to search, on what, and how.

    Attributes:
        supernet: see :func:`autosubnet.supernets.create`.
        data: see :func:`autosubnet.training.data.load`.
        data_dir: the same.
        epochs: passes over the training images.
        batch_size: images a step.
        lr: learning rate of SGD with momentum 0.9 and weight decay 5e-4; a cosine takes it to zero.
        sparsity: share of the groups to remove, 0 to 1; a half where no budget is given.
        num_params: scalar parameters that the subnet may have, instead.
        flops: floating-point operations for one image that it may take.
        width: factor on the channels of the demo supernet, ``None`` for other supernets.
        seed: of the weights, the order of the images and the search.
    """

    supernet: str = "demo"
    data: str = "digits"
    data_dir: Path | None = None
    epochs: int = 20
    batch_size: int = 64
    lr: float = 0.05
    sparsity: float | None = None
    num_params: float | None = None
    flops: float | None = None
    width: float | None = None
    seed: int = 0
