"""The network that is stacked from the cells of a genotype and trained from scratch (SparseNAS, appendix).

As in DARTS: 20 cells of 36 channels for CIFAR, 14 for ImageNet (48 channels in DARTS' code), dropped paths, and an
auxiliary head behind the second reduction cell. Norms have a weight and a bias; no norm follows a pooling. Cutout
belongs to the data and is not here.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosubnet.errors import InputError
from autosubnet.supernets.darts_genotype import Genotype
from autosubnet.supernets.darts_operations import OPERATIONS, FactorizedReduce, relu_conv_norm
from autosubnet.supernets.darts_skeleton import KINDS, CellPlan, Stem, check_size, plan
from autosubnet.supernets.darts_space import Paths


class DropPath(nn.Module):
    """In training, set whole examples of a path to zero and scale the others up.

    Args:
        probability: that an example is dropped, at least 0 and less than 1. DARTS lets it grow linearly over the
            epochs: set the attribute of the same name.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape ``(N, C, H, W)`` of ``x``."""
        if not self.training:
            return x
        return x * F.dropout(x.new_ones(x.shape[0], 1, 1, 1), self.probability)


class DerivedCell(nn.Module):
    """A cell with the paths of a genotype.

    Args:
        plan: its kind and sizes.
        nodes: for each living node the paths into it.
        drop_path: probability of :class:`DropPath` on each path but the identity.
    """

    def __init__(self, plan: CellPlan, nodes: dict[int, Paths], drop_path: float) -> None:
        super().__init__()
        before_last, last = plan.in_channels
        reduction = FactorizedReduce if plan.halves else relu_conv_norm
        self._nodes = nodes
        self.preprocess0 = reduction(before_last, plan.channels, True)
        self.preprocess1 = relu_conv_norm(last, plan.channels, True)
        self.paths = nn.ModuleDict()
        for node, paths in nodes.items():
            for name, source in paths:
                operation = OPERATIONS[name](plan.channels, plan.stride(source), True)
                if drop_path and not isinstance(operation, nn.Identity):
                    operation = nn.Sequential(operation, DropPath(drop_path))
                self.paths[f"{source}_{node}_{name}"] = operation

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        """Return ``(N, living nodes * channels, H, W)``, of half the size of ``last`` in a reduction cell.

        Args:
            before_last: output of the last cell but one.
            last: output of the last cell.
        """
        states = {0: self.preprocess0(before_last), 1: self.preprocess1(last)}
        for node, paths in self._nodes.items():
            outputs = [self.paths[f"{source}_{node}_{name}"](states[source]) for name, source in paths]
            states[node] = reduce(add, outputs)
        return torch.cat([states[node] for node in self._nodes], 1)


def _auxiliary_head(in_channels: int, num_classes: int) -> nn.Sequential:
    """Return DARTS' head, but for an adaptive pooling to its 2x2, so that images of any size pass."""
    return nn.Sequential(
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Conv2d(in_channels, 128, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.Conv2d(128, 768, 2, bias=False),
        nn.BatchNorm2d(768),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(768, num_classes),
    )


class DartsNetwork(nn.Module):
    """The network of a genotype, for images of any size.

    Args:
        genotype: the paths of its cells.
        channels: of the nodes of the first cell.
        cells: number of cells; those at one and two thirds are reduction cells.
        drop_path: probability that a path is dropped in training, for each example.
        auxiliary_weight: of the auxiliary head in :meth:`loss`; with 0 there is none.
        stem: ``"cifar"`` for small images, ``"imagenet"`` for one that takes an eighth of the resolution.
        in_channels: channels of the images.
        num_classes: number of outputs.

    Raises:
        InputError: if there are less than two channels or no cell, the stem is unknown, ``drop_path`` is not in [0, 1)
            or ``auxiliary_weight`` is negative.
    """

    def __init__(
        self,
        genotype: Genotype,
        channels: int = 36,
        cells: int = 20,
        *,
        drop_path: float = 0.2,
        auxiliary_weight: float = 0.4,
        stem: str = "cifar",
        in_channels: int = 3,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        check_size(channels, cells)
        if not 0 <= drop_path < 1 or not auxiliary_weight >= 0:
            raise InputError(
                f"DartsNetwork needs a drop_path in [0, 1) and an auxiliary_weight of at least 0, got {drop_path} and "
                f"{auxiliary_weight}."
            )
        nodes = {kind: dict(sorted(getattr(genotype, kind).items())) for kind in KINDS}
        concats = {kind: len(nodes[kind]) for kind in KINDS}
        self.stem = Stem(stem, in_channels, channels)
        plans = list(plan(self.stem, cells, channels, concats))
        self.cells = nn.ModuleList(DerivedCell(each, nodes[each.kind], drop_path) for each in plans)
        widths = [concats[each.kind] * each.channels for each in plans]
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(widths[-1], num_classes)
        self.auxiliary_weight = auxiliary_weight
        self._tapped = 2 * cells // 3
        self.auxiliary = _auxiliary_head(widths[self._tapped], num_classes) if auxiliary_weight else None

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits ``(N, num_classes)`` for images ``(N, in_channels, H, W)``.

        In train mode, where there is an auxiliary head, return its logits too, as the second of a pair.
        """
        before_last, last = self.stem(images)
        auxiliary = None
        for number, cell in enumerate(self.cells):
            before_last, last = last, cell(before_last, last)
            if number == self._tapped and self.training and self.auxiliary is not None:
                auxiliary = self.auxiliary(last)
        logits: Tensor = self.linear(self.pool(last).flatten(1))
        return logits if auxiliary is None else (logits, auxiliary)

    def loss(self, outputs: Tensor | tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
        """Return the mean cross-entropy, plus that of the auxiliary head times its weight.

        Args:
            outputs: what :meth:`forward` returned, in either mode.
            labels: class numbers ``(N,)``.
        """
        if isinstance(outputs, Tensor):
            return F.cross_entropy(outputs, labels)
        logits, auxiliary = outputs
        return F.cross_entropy(logits, labels) + self.auxiliary_weight * F.cross_entropy(auxiliary, labels)
