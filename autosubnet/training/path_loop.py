"""The reference loop of SparseNAS: network weights w and path weights A in turn, on two halves of the images.

Section "Bi-level Optimization": every step takes A along the gradient of the validation loss, by HAPG or AdamHAPG, and
then w along that of the training loss, by SGD; lambda grows from epoch to epoch. Gradients of w are clipped to norm 5,
as in DARTS' code. Validation accuracy is measured in eval mode with the paths as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from autosubnet.errors import InputError
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.optim import HAPG, AdamHAPG, LambdaPath, first_order_gradient, second_order_gradient
from autosubnet.training.checkpoint import Run, Stateful
from autosubnet.training.loop import accuracy, num_steps
from autosubnet.training.path_settings import PathSettings

MOMENTUM = 0.9
WEIGHT_DECAY = 3e-4
CLIP = 5.0
PATH_LR = {"hapg": 0.025, "adamhapg": 3e-4}  # of the appendix; HAPG's falls to zero by a cosine
ORDERS = ("first", "second")
Batch = Sequence[Tensor]


@dataclass(frozen=True)
class Epoch:
    """What an epoch ended with.

    Attributes:
        lam: strength of the penalty in it.
        loss: mean of the training loss over its steps.
        accuracy: 0 to 1, on the half of the images that the paths are trained on.
        weights: the path weights by name, with the zeros that ``derive()`` would write.
        zero_nodes: names of the groups that are wholly zero.
    """

    lam: float
    loss: float
    accuracy: float
    weights: Mapping[str, Any]
    zero_nodes: Sequence[str]

    @property
    def zero_paths(self) -> int:
        """How many paths have a weight of zero."""
        return sum(int((torch.tensor(value) == 0).sum()) for value in self.weights.values())

    @property
    def num_paths(self) -> int:
        """How many paths there are."""
        return sum(torch.tensor(value).numel() for value in self.weights.values())


def search_paths(
    model: nn.Module,
    groups: Sequence[Group],
    part: TensorDataset,
    settings: PathSettings,
    *,
    watch: Callable[[Sequence[Epoch], int], None] = lambda epochs, step: None,
    checkpoint: Path | None = None,
) -> tuple[HAPG, list[Epoch]]:
    """Train weights and paths in place.

    Args:
        model: maps images ``(N, C, H, W)`` to logits ``(N, classes)``; stays on the device of the training.
        groups: of the path weights, those into one joint each.
        part: images and labels, of which one half trains the weights and the other the paths.
        settings: how.
        watch: is told after each step the epochs so far and how many steps were taken.
        checkpoint: a file that is replaced after every epoch; if it is there, training goes on from it, bit for bit.

    Returns:
        The optimizer of the paths, whose ``derive()`` is still to be called, and what every epoch ended with.

    Raises:
        InputError: a method or an order that there is not, several processes, or see
            :func:`autosubnet.training.loop.num_steps`.
        StateError: the checkpoint is none, or of another run.
    """
    _check(settings)
    set_seed(settings.seed)
    order = torch.Generator().manual_seed(settings.seed)
    halves = _halves(part, order)
    steps = path_steps(part, settings)
    device = Accelerator().device
    model.to(device).train()
    search = _Search.start(model, groups, settings, steps)
    about = {name: str(value) for name, value in asdict(settings).items() if name != "data_dir"}
    run = Run(search.parts, order, about)
    epochs = [Epoch(**each) for each in run.read(checkpoint)] if checkpoint is not None and checkpoint.exists() else []
    loaders = [DataLoader(half, settings.batch_size, shuffle=True, drop_last=True, generator=order) for half in halves]
    step = len(epochs) * (steps // settings.epochs)
    while len(epochs) < settings.epochs:
        total = torch.zeros((), device=device)
        for batches in zip(*loaders, strict=False):
            seen, unseen = ([each.to(device) for each in batch] for batch in batches)
            search.step_paths(seen, unseen)
            total += search.step_weights(seen)
            step += 1
            watch(epochs, step)
        epochs.append(search.end_epoch(total.item() / (steps // settings.epochs), accuracy(model, halves[1])))
        watch(epochs, step)
        if checkpoint is not None:
            run.write(checkpoint, [asdict(each) for each in epochs])
    return search.architecture, epochs


def path_steps(part: TensorDataset, settings: PathSettings) -> int:
    """Return the steps that :func:`search_paths` takes.

    Raises:
        InputError: see :func:`autosubnet.training.loop.num_steps`, of a half of the images.
    """
    return num_steps(_halves(part, torch.Generator())[1], settings.batch_size, settings.epochs)


def _halves(part: TensorDataset, order: torch.Generator) -> tuple[TensorDataset, TensorDataset]:
    places = torch.randperm(len(part), generator=order)
    first, second = (TensorDataset(*(each[half] for each in part.tensors)) for half in places.tensor_split(2))
    return first, second


@dataclass(frozen=True)
class _Search:
    """The two optimizers and what changes their settings."""

    model: nn.Module
    paths: tuple[str, ...]
    others: tuple[nn.Parameter, ...]
    weights: torch.optim.Optimizer
    architecture: HAPG
    growth: LambdaPath
    schedules: Mapping[str, CosineAnnealingLR]
    second_order: bool

    @classmethod
    def start(cls, model: nn.Module, groups: Sequence[Group], settings: PathSettings, steps: int) -> _Search:
        paths = tuple(dict.fromkeys(piece.name for group in groups for piece in group.slices))
        others = tuple(p for name, p in model.named_parameters() if name not in paths and p.requires_grad)
        weights = torch.optim.SGD(others, settings.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
        kind = AdamHAPG if settings.method == "adamhapg" else HAPG
        lr = PATH_LR[settings.method] if settings.path_lr is None else settings.path_lr
        architecture = kind(model, groups, lr=lr, lam=0.0, alpha=settings.alpha)
        growth = LambdaPath(architecture, settings.lambda_step)
        schedules = {"schedule": CosineAnnealingLR(weights, steps)}
        if settings.method == "hapg":
            schedules["path_schedule"] = CosineAnnealingLR(architecture, steps)
        return cls(model, paths, others, weights, architecture, growth, schedules, settings.order == "second")

    @property
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        optimizers: dict[str, Stateful] = {"architecture": self.architecture, "weights": self.weights}
        return {**optimizers, "model": self.model, "growth": self.growth, **self.schedules}

    def step_paths(self, seen: Batch, unseen: Batch) -> None:
        """Take a step of A, along the gradient of the loss on images that the weights are not trained on."""
        if self.second_order:
            gamma = self.weights.param_groups[0]["lr"]
            gradients = second_order_gradient(self.model, _loss, self.paths, seen, unseen, gamma=gamma)
        else:
            gradients = first_order_gradient(self.model, _loss, self.paths, unseen)
        for name, gradient in gradients.items():
            self.model.get_parameter(name).grad = gradient
        self.architecture.step()

    def step_weights(self, batch: Batch) -> Tensor:
        """Take a step of w and of the schedules; return the loss."""
        self.weights.zero_grad()
        loss = _loss(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        nn.utils.clip_grad_norm_(self.others, CLIP)
        self.weights.step()
        for schedule in self.schedules.values():
            schedule.step()
        return loss.detach()

    def end_epoch(self, loss: float, valid: float) -> Epoch:
        """Raise lambda; return what there is at the end of the epoch."""
        lam = self.architecture.param_groups[0]["lam"]
        values = {name: value.cpu() for name, value in self.architecture.proximal().items()}
        zero = [
            group.name for group in self.architecture.groups if not any(_part(values, each) for each in group.slices)
        ]
        self.growth.step()
        return Epoch(lam, loss, valid, {name: value.tolist() for name, value in values.items()}, zero)


def _part(values: Mapping[str, Tensor], piece: ParameterSlice) -> bool:
    """Whether anything of a slice is not zero."""
    value = values[piece.name]
    if piece.indices is not None:
        value = value.index_select(piece.dim or 0, torch.tensor(piece.indices))
    return bool(value.any())


def _check(settings: PathSettings) -> None:
    if settings.method not in PATH_LR:
        raise InputError(f"The method is one of {', '.join(PATH_LR)}, got {settings.method!r}.")
    if settings.order not in ORDERS:
        raise InputError(f"The order is one of {', '.join(ORDERS)}, got {settings.order!r}.")
    if Accelerator().num_processes > 1:
        raise InputError("A search over paths runs in one process; start it without accelerate launch.")


def _loss(network: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
    return cross_entropy(network(batch[0]), batch[1])
