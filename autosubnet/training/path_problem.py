"""What a search over paths needs to know of its supernet and its data; one implementation for images, one for texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from autosubnet.graph.groups import Group, ParameterSlice


@dataclass(frozen=True)
class Recipe:
    """How a supernet's weights and paths are trained by default.

    Attributes:
        lr: learning rate of SGD on the weights.
        momentum: of it.
        weight_decay: of it.
        cosine: whether a cosine takes the learning rate to zero.
        clip: norm that the gradients of the weights may have at most, all together.
        adamhapg_lr: learning rate of AdamHAPG on the paths.
        hapg_lr: learning rate of HAPG on the paths; a cosine takes it to zero.
    """

    lr: float
    momentum: float
    weight_decay: float
    cosine: bool
    clip: float
    adamhapg_lr: float
    hapg_lr: float = 0.025


@dataclass(frozen=True)
class Paths:
    """The path weights of a supernet.

    Attributes:
        groups: those into one joint each.
        outgoing: for a group by name the weights of the paths out of its node, where that is known.
    """

    groups: tuple[Group, ...]
    outgoing: Mapping[str, Sequence[ParameterSlice]]


@dataclass(frozen=True)
class Cell:
    """A derived cell, and how it is drawn.

    Attributes:
        kind: of cell.
        nodes: for each inner node that lives the paths into it: operations, and the nodes that they read.
        inputs: names of its inputs, nodes 0, 1, and so on.
        output: name of its output.
        weights: name of its path weights.
        rows: names of their rows, the edges.
        columns: names of their columns, the operations.
    """

    kind: str
    nodes: Mapping[int, Sequence[tuple[str, int]]]
    inputs: Sequence[str]
    output: str
    weights: str
    rows: Sequence[str]
    columns: Sequence[str]


class PathProblem(Protocol):
    """A supernet with path weights, and data to search on."""

    @property
    def title(self) -> str:
        """The search, for people."""

    @property
    def model(self) -> nn.Module:
        """The supernet."""

    @property
    def paths(self) -> Paths:
        """Its path weights."""

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""

    @property
    def measure(self) -> str:
        """What :meth:`score` returns, in one word."""

    @property
    def steps(self) -> int:
        """How many an epoch has."""

    def batches(self, order: torch.Generator, device: torch.device) -> Iterator[tuple[Any, Any]]:
        """Yield what each step of an epoch trains the weights on, and what it trains the paths on."""

    def loss(self, network: Callable[..., Any], batch: Any) -> Tensor:
        """Return the mean loss of a network on one of these; ``network`` is called as the model is."""

    def score(self, model: nn.Module, *, test: bool = False) -> float:
        """Return how good a network is on the data that the paths are trained on, or on the test data."""

    def genotype(self) -> tuple[str, Sequence[Cell]] | None:
        """Return the genotype that the path weights leave as JSON, and its cells; ``None`` for supernets without cells.

        Raises:
            InputError: nothing is left of a cell.
        """

    def captured(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return the network that is constructed, or the part of it, and example inputs."""

    def with_subnet(self, subnet: nn.Module) -> nn.Module:
        """Return the model with that part replaced."""


def edge_names(edges: Sequence[tuple[int, int]], inputs: Sequence[str]) -> list[str]:
    """Return names of the edges of a cell, such as ``"cell k-1 to 0"``; inner nodes are counted from 0."""
    names = dict(enumerate(inputs))
    return [
        f"{names.get(source, source - len(inputs))} to {names.get(node, node - len(inputs))}" for source, node in edges
    ]
