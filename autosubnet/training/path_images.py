"""A search over paths on images: one half of the training images for the weights, the other for the paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from autosubnet.api import AutoSubnet
from autosubnet.errors import InputError
from autosubnet.supernets import Darts, create, genotype, nodes
from autosubnet.supernets.darts_skeleton import EDGES, KINDS
from autosubnet.training.data import ImageData, load
from autosubnet.training.loop import accuracy
from autosubnet.training.path_problem import Cell, Paths, Recipe, edge_names
from autosubnet.training.path_settings import PathSettings

_EXAMPLES = 8
_INPUTS = ("cell k-2", "cell k-1")


class ImagePaths:
    """See :class:`autosubnet.training.path_problem.PathProblem`; the recipe is that of SparseNAS for CIFAR-10.

    Args:
        model: maps images ``(N, C, H, W)`` to logits ``(N, classes)``.
        paths: its path weights.
        data: images and labels.
        batch_size: images a step, of each half.
        seed: of the halves.

    Raises:
        InputError: if there is not one whole batch in each half.
    """

    recipe = Recipe(lr=0.025, momentum=0.9, weight_decay=3e-4, cosine=True, clip=5.0, adamhapg_lr=3e-4)
    measure = "accuracy"

    def __init__(self, model: nn.Module, paths: Paths, data: ImageData, batch_size: int, seed: int, title: str) -> None:
        places = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
        self.halves = [TensorDataset(*(each[half] for each in data.train.tensors)) for half in places.tensor_split(2)]
        smaller = len(self.halves[1])
        if not 1 <= batch_size <= smaller:
            raise InputError(
                f"The batch size is {batch_size}, but must lie between 1 and the {smaller} images of each half."
            )
        self.model, self.paths, self.data, self.batch_size, self.title = model, paths, data, batch_size, title
        self.steps = smaller // batch_size

    @classmethod
    def build(cls, settings: PathSettings) -> ImagePaths:
        """Create the supernet and load the data.

        Raises:
            InputError: see :func:`autosubnet.supernets.create`, :func:`autosubnet.training.data.load`,
                :func:`autosubnet.supernets.genotype` and :func:`autosubnet.paths.with_path_weights`.
        """
        data = load(settings.data or "digits", settings.data_dir)
        set_seed(settings.seed)
        if settings.supernet == "darts":
            model = create(
                "darts", architecture_weights=True, channels=settings.channels, cells=settings.cells,
                space=settings.space, in_channels=data.shape[0], num_classes=data.num_classes,
            )  # fmt: skip
            found = nodes(model)
            paths = Paths(found.groups, found.outgoing)
        else:
            zoo = ":" in settings.supernet
            data = data.with_channels(3) if zoo else data
            sizes = {} if zoo else {"in_channels": data.shape[0]}
            plain = create(settings.supernet, num_classes=data.num_classes, **sizes)
            oto = AutoSubnet(plain, data.train.tensors[0][:_EXAMPLES], architecture_weights=True)
            model, paths = oto.model, Paths(oto.paths, {})
        built = cls(model, paths, data, settings.batch_size, settings.seed, f"{settings.supernet} on {data.name}")
        built.genotype()  # what a supernet lacks for one shows before the search
        return built

    def batches(self, order: torch.Generator, device: torch.device) -> Iterator[tuple[Any, Any]]:
        """Yield batches of both halves."""
        loaders = (
            DataLoader(half, self.batch_size, shuffle=True, drop_last=True, generator=order) for half in self.halves
        )
        for seen, unseen in zip(*loaders, strict=False):
            yield [each.to(device) for each in seen], [each.to(device) for each in unseen]

    def loss(self, network: Callable[..., Any], batch: Sequence[Tensor]) -> Tensor:
        """Return the cross-entropy."""
        return cross_entropy(network(batch[0]), batch[1])

    def score(self, model: nn.Module, *, test: bool = False) -> float:
        """Return the share of images, 0 to 1, that are classified right."""
        return accuracy(model, self.data.test if test else self.halves[1])

    def genotype(self) -> tuple[str, Sequence[Cell]] | None:
        """Return the normal and the reduction cell of a ``Darts``."""
        if not isinstance(self.model, Darts):
            return None
        found = genotype(self.model)
        rows = edge_names(EDGES, _INPUTS)
        cells = [
            Cell(kind, getattr(found, kind), _INPUTS, "cell k", f"architecture.{kind}", rows,
                 self.model.operations[kind])
            for kind in KINDS
        ]  # fmt: skip
        return found.to_json(), cells

    def captured(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return the whole model, and images."""
        return self.model, (self.data.test.tensors[0][:_EXAMPLES],)

    def with_subnet(self, subnet: nn.Module) -> nn.Module:
        """Return the subnet, which is the whole."""
        return subnet
