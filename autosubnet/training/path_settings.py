"""The arguments of a search over paths, without anything that is slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PathSettings:
    """What to search, on what, and how; defaults are those of SparseNAS' appendix for CIFAR-10.

    Attributes:
        supernet: ``"darts"``, or any other of :func:`autosubnet.supernets.create`, whose paths then get weights.
        method: ``"hapg"`` or ``"adamhapg"``.
        data: see :func:`autosubnet.training.data.load`.
        data_dir: the same.
        epochs: passes over the half of the training images that the network's weights are trained on.
        batch_size: images a step, of each half.
        lr: learning rate of SGD with momentum 0.9 and weight decay 3e-4 on the network's weights; a cosine takes it to
            zero.
        path_lr: learning rate on the paths; 3e-4 for AdamHAPG, and 0.025 with a cosine to zero for HAPG.
        lambda_step: what every epoch adds to the strength of the penalty, which is zero in the first.
        alpha: its balance between single paths (1) and whole nodes (0).
        order: of the gradient of the paths: ``"first"`` or ``"second"``.
        channels: of the first cell of ``"darts"``.
        cells: of ``"darts"``, 3 at least.
        space: of ``"darts"``: ``"full"`` or ``"cherry_picked"``.
        seed: of the weights, the halves, the order of the images and everything random in the model.
    """

    supernet: str = "darts"
    method: str = "adamhapg"
    data: str = "digits"
    data_dir: Path | None = None
    epochs: int = 50
    batch_size: int = 64
    lr: float = 0.025
    path_lr: float | None = None
    lambda_step: float = 0.01
    alpha: float = 0.5
    order: str = "first"
    channels: int = 16
    cells: int = 8
    space: str = "full"
    seed: int = 0
