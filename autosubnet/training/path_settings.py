"""The arguments of a search over paths, without anything that is slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autosubnet.errors import InputError
from autosubnet.training.fields import Cells, Count, Data, NotNegative, Positive, Seed, Share, Size

SILENT = {"darts": ("size", "window"), "darts_rnn": ("data", "channels", "cells", "space")}
"""Settings that say nothing to a supernet."""


@dataclass(frozen=True)
class PathSettings:
    """What to search, on what, and how; defaults are those of SparseNAS' appendix for CIFAR-10.

    Attributes:
        supernet: ``"darts"``, ``"darts_rnn"``, or any other of :func:`autosubnet.supernets.create`, whose paths get
            weights.
        method: ``"hapg"`` or ``"adamhapg"``.
        data: see :func:`autosubnet.training.data.load`; digits if ``None``. Of no meaning to ``"darts_rnn"``.
        data_dir: the same; for ``"darts_rnn"`` see :func:`autosubnet.training.text.read_text`, and the text is Python's
            help if ``None``.
        epochs: passes over the data that the network's weights are trained on: a half of the images, or the training
            part of the text.
        batch_size: images a step, of each half; or columns of text.
        lr: learning rate of SGD on the network's weights; that of the supernet's recipe if ``None``.
        path_lr: learning rate on the paths; the same.
        lambda_step: what every epoch adds to the strength of the penalty, which is zero in the first.
        alpha: its balance between single paths (1) and whole nodes (0).
        warmup_steps: first steps of the paths without a penalty. If ``None``, there are none for the supernets of
            DARTS, in which every path computes something from the first step on; for others as many as
            :meth:`autosubnet.AutoSubnet.hapg` has, but at most a quarter of all steps.
        order: of the gradient of the paths: ``"first"`` or ``"second"``.
        channels: of the first cell of ``"darts"``.
        cells: of ``"darts"``, 3 at least: of fewer none is a normal cell, which a genotype needs.
        space: of ``"darts"``: ``"full"`` or ``"cherry_picked"``.
        size: of words and states of ``"darts_rnn"``.
        window: words of a column of text that are run at once.
        seed: of the weights, the halves, the order of the images and everything random in the model.
    """

    supernet: str = "darts"
    method: Literal["hapg", "adamhapg"] = "adamhapg"
    data: Data | None = None
    data_dir: Path | None = None
    epochs: Count = 50
    batch_size: Count = 64
    lr: Positive | None = None
    path_lr: Positive | None = None
    lambda_step: NotNegative = 0.01
    alpha: Share = 0.5
    warmup_steps: Size | None = None
    order: Literal["first", "second"] = "first"
    channels: Count = 16
    cells: Cells = 8
    space: Literal["full", "cherry_picked"] = "full"
    size: Count = 300
    window: Count = 35
    seed: Seed = 0

    def require_in_place(self) -> None:
        """Refuse a setting that the supernet does not have, unless it is as it is by default.

        Raises:
            InputError: there is one.
        """
        for name in SILENT.get(self.supernet, ("channels", "cells", "space", "size", "window")):
            if getattr(self, name) != getattr(PathSettings, name):
                raise InputError(f"{name} says nothing to {self.supernet}; leave it out.")
