"""What DARTS' supernet and the networks derived from it share: a cell's nodes, the stem, the sequence of cells.

A cell has seven nodes (SparseNAS, appendix): 0 and 1 are the outputs of the last cell but one and of the last cell,
2 to 5 are sums of operations on the nodes before them, and the seventh is the concat of those. Stems, and reduction
cells at one and two thirds of the depth, are those of DARTS (Liu, Simonyan and Yang, 2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from autosubnet.errors import InputError
from autosubnet.supernets.darts_operations import OPERATIONS
from autosubnet.supernets.darts_space import CellSpace

INNER = (2, 3, 4, 5)
SPACE = CellSpace(INNER, tuple(OPERATIONS))
EDGES = SPACE.edges
KINDS = ("normal", "reduce")
STEMS = ("cifar", "imagenet")


def rows(node: int) -> range:
    """Return the rows of the architecture weights that belong to an inner node: its group A_(j) of SparseNAS, Eq. 2.

    Rows follow :data:`EDGES`: two for node 2, three for node 3, four for node 4, five for node 5.

    Raises:
        InputError: if ``node`` is no inner node.
    """
    return SPACE.rows(node)


class Stem(nn.Module):
    """What turns images into the two inputs of the first cell.

    Args:
        kind: ``"cifar"``: one 3x3 convolution, read twice; ``"imagenet"``: three of stride 2, of which the last two are
            read.
        in_channels: channels of the images.
        channels: of the first cell.

    Raises:
        InputError: if the kind is unknown.

    Attributes:
        out_channels: of both inputs.
        halves: whether the second input has half the height and width of the first.
    """

    def __init__(self, kind: str, in_channels: int, channels: int) -> None:
        super().__init__()
        if kind not in STEMS:
            raise InputError(f"The stem is one of {', '.join(STEMS)}, got {kind!r}.")
        self.halves = kind == "imagenet"
        self.out_channels = channels if self.halves else 3 * channels
        self.first: nn.Module
        self.second: nn.Module | None = None
        if self.halves:
            half = channels // 2
            self.first = nn.Sequential(*_strided(in_channels, half), nn.ReLU(), *_strided(half, channels))
            self.second = nn.Sequential(nn.ReLU(), *_strided(channels, channels))
        else:
            conv = nn.Conv2d(in_channels, self.out_channels, 3, padding=1, bias=False)
            self.first = nn.Sequential(conv, nn.BatchNorm2d(self.out_channels))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return both inputs for images ``(N, in_channels, H, W)``."""
        first = self.first(images)
        return first, first if self.second is None else self.second(first)


def _strided(in_channels: int, out_channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(out_channels)


@dataclass(frozen=True)
class CellPlan:
    """What a cell is built from.

    Attributes:
        kind: ``"normal"`` or ``"reduce"``.
        in_channels: of the last output but one and of the last output.
        channels: of its nodes.
        halves: whether the last output has half the height and width of the one before.
    """

    kind: str
    in_channels: tuple[int, int]
    channels: int
    halves: bool

    def stride(self, source: int) -> int:
        """Return the stride of the operations on a node: 2 on the inputs of a reduction cell."""
        return 2 if self.kind == "reduce" and source not in INNER else 1


def plan(stem: Stem, cells: int, channels: int, concats: Mapping[str, int]) -> Iterator[CellPlan]:
    """Yield the cells one after the other; the channels double in each reduction cell.

    Args:
        stem: what is ahead of them.
        cells: their number.
        channels: of the nodes of the first one.
        concats: for each kind how many nodes a cell's output is made of.
    """
    before_last, last, halves = stem.out_channels, stem.out_channels, stem.halves
    for number in range(cells):
        kind = "reduce" if number in (cells // 3, 2 * cells // 3) else "normal"
        channels *= 2 if kind == "reduce" else 1
        yield CellPlan(kind, (before_last, last), channels, halves)
        before_last, last, halves = last, concats[kind] * channels, kind == "reduce"


def check_size(channels: int, cells: int) -> None:
    """Refuse a network without cells, or too narrow for the halves of a factorised reduction.

    Raises:
        InputError: if there are less than two channels or no cell, or they are no whole numbers.
    """
    if not (isinstance(channels, int) and isinstance(cells, int) and channels >= 2 and cells >= 1):
        raise InputError(f"A DARTS network needs at least 2 channels and 1 cell, got {channels} and {cells}.")
