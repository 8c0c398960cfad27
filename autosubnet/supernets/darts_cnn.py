"""Darts: the convolutional supernet of DARTS, as SparseNAS and as OTOv3 search it.

Both stack cells in which every two nodes are joined by all operations; they differ in what says that a path goes.

SparseNAS (Eq. 1, appendix): each path is scaled by an architecture weight, linear (no softmax), and its norms have no
weight and no bias, so that the scale of a path is in its architecture weight alone. A zero takes the path away: each is
read as an entry of one matrix, which zero propagation knows entry by entry, so ``remove_zeros`` needs no tensor for
each path. (A group of ``AutoSubnet`` is all of a matrix, since a parameter is shared by what reads it.)

OTOv3 (Section 4): no architecture weights; the norms have a weight and a bias, since a path goes where all its
trainable variables are zero, and an affine-free norm does not return zero then. A norm follows each pooling, as in
DARTS, which makes poolings removable. What has no trainable variables cannot be searched by OTOv3, the paper's own
example being the skip connection: at stride 1 it is the identity, as in DARTS, and stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from autosubnet.errors import InputError
from autosubnet.supernets.darts_operations import OPERATIONS, FactorizedReduce, relu_conv_norm
from autosubnet.supernets.darts_skeleton import EDGES, INNER, KINDS, CellPlan, Stem, check_size, plan

SPACES: dict[str, dict[str, tuple[str, ...]]] = {
    "full": dict.fromkeys(KINDS, tuple(OPERATIONS)),
    "cherry_picked": {"normal": ("sep_conv_3x3", "skip_connect"), "reduce": ("skip_connect", "max_pool_3x3")},
}
"""The search spaces of SparseNAS' appendix: for each kind of cell the operations on every edge."""


class Cell(nn.Module):
    """One cell of the supernet: all operations on all edges.

    Args:
        plan: its kind and sizes.
        operations: names of the operations on each edge.
        affine: whether norms have a weight and a bias.
    """

    def __init__(self, plan: CellPlan, operations: Sequence[str], affine: bool) -> None:
        super().__init__()
        before_last, last = plan.in_channels
        reduction = FactorizedReduce if plan.halves else relu_conv_norm
        self.preprocess0 = reduction(before_last, plan.channels, affine)
        self.preprocess1 = relu_conv_norm(last, plan.channels, affine)
        self.edges = nn.ModuleDict(
            {
                f"{source}_{node}": nn.ModuleDict(
                    {name: _candidate(name, plan.channels, plan.stride(source), affine) for name in operations}
                )
                for source, node in EDGES
            }
        )

    def forward(self, before_last: Tensor, last: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return ``(N, 4 * channels, H, W)``, of half the size of ``last`` in a reduction cell.

        Args:
            before_last: output of the last cell but one.
            last: output of the last cell.
            weights: architecture weights ``(14, number of operations)``, a row an edge.
        """
        nodes = [self.preprocess0(before_last), self.preprocess1(last)]
        for inner in INNER:
            paths = []
            for row, (source, node) in enumerate(EDGES):
                if node == inner:
                    for column, operation in enumerate(self.edges[f"{source}_{node}"].children()):
                        path = operation(nodes[source])
                        paths.append(path if weights is None else weights[row, column] * path)
            nodes.append(reduce(add, paths))
        return torch.cat(nodes[len(nodes) - len(INNER) :], 1)


def _candidate(name: str, channels: int, stride: int, affine: bool) -> nn.Module:
    operation = OPERATIONS[name](channels, stride, affine)
    return nn.Sequential(operation, nn.BatchNorm2d(channels, affine=affine)) if "pool" in name else operation


class Darts(nn.Module):
    """The supernet, for images of any size.

    OTOv3's on STL-10 (Table 1: 4.05 M parameters and 614 M multiply-adds; neither width nor input size is said) is met
    by ``channels=24`` for images of 32x32: 4.11 M and 600 M. That of SparseNAS on CIFAR-10 is
    ``architecture_weights=True`` and has 1.93 M parameters.

    Args:
        channels: of the nodes of the first cell.
        cells: number of cells; those at one and two thirds are reduction cells.
        architecture_weights: whether paths have architecture weights and norms none of their own (SparseNAS), or the
            reverse (OTOv3).
        share: whether all cells of a kind have the same architecture weights, as in DARTS; SparseNAS is silent on it.
        initial_weight: of every path. SparseNAS is silent on it too; by default one by the number of operations on an
            edge, the value of DARTS' softmax at its start.
        space: ``"full"`` for all seven operations, ``"cherry_picked"`` for the two that SparseNAS chose for each kind.
        stem: ``"cifar"`` for small images, ``"imagenet"`` for one that takes an eighth of the resolution.
        in_channels: channels of the images.
        num_classes: number of outputs.

    Raises:
        InputError: if there are less than two channels or no cell, space or stem are unknown, or the weight is not
            finite.

    Attributes:
        operations: names of the operations for each kind of cell: the columns of the architecture weights.
        architecture: the architecture weights ``(14, number of operations)`` under ``"normal"`` and ``"reduce"``, or
            under the numbers of the cells if they are not shared; rows as in
            :func:`autosubnet.supernets.darts_skeleton.rows`. Empty without them.
    """

    def __init__(
        self,
        channels: int = 16,
        cells: int = 8,
        *,
        architecture_weights: bool = False,
        share: bool = True,
        initial_weight: float | None = None,
        space: str = "full",
        stem: str = "cifar",
        in_channels: int = 3,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        check_size(channels, cells)
        if space not in SPACES:
            raise InputError(f"The space of Darts is one of {', '.join(SPACES)}, got {space!r}.")
        if initial_weight is not None and not math.isfinite(initial_weight):
            raise InputError(f"initial_weight is {initial_weight}; it must be finite.")
        self.operations = SPACES[space]
        self.stem = Stem(stem, in_channels, channels)
        plans = list(plan(self.stem, cells, channels, dict.fromkeys(KINDS, len(INNER))))
        self.cells = nn.ModuleList(Cell(each, self.operations[each.kind], not architecture_weights) for each in plans)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(len(INNER) * plans[-1].channels, num_classes)
        self.architecture = nn.ParameterDict()
        self._keys = [each.kind if share else str(number) for number, each in enumerate(plans)]
        if architecture_weights:
            for key, each in zip(self._keys, plans, strict=True):
                names = self.operations[each.kind]
                value = 1 / len(names) if initial_weight is None else initial_weight
                self.architecture[key] = nn.Parameter(torch.full((len(EDGES), len(names)), value))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` for images ``(N, in_channels, H, W)``."""
        before_last, last = self.stem(images)
        for cell, key in zip(self.cells, self._keys, strict=True):
            weights = self.architecture[key] if self.architecture else None
            before_last, last = last, cell(before_last, last, weights)
        logits: Tensor = self.linear(self.pool(last).flatten(1))
        return logits
