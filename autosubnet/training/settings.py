"""The arguments of a search, without anything that is slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autosubnet.training.fields import Count, Data, Positive, Seed, Share


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
        method: what drives operators to zero.
    """

    supernet: str = "demo"
    data: Data = "digits"
    data_dir: Path | None = None
    epochs: Count = 20
    batch_size: Count = 64
    lr: Positive = 0.05
    sparsity: Share | None = None
    num_params: Positive | None = None
    flops: Positive | None = None
    width: Positive | None = None
    seed: Seed = 0
    method: Literal["h2spg"] = "h2spg"
