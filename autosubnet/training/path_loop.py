"""The loop of SparseNAS: network weights w and path weights A in turn.

Section "Bi-level Optimization": every step takes A along the gradient of the validation loss, by HAPG or AdamHAPG, and
then w along that of the training loss, by SGD; lambda grows from epoch to epoch. Scores are measured in eval mode with
the paths as they are, and with statistics of norms that are theirs.
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
from torch.optim.lr_scheduler import CosineAnnealingLR

from autosubnet.api import WARMUP_STEPS
from autosubnet.errors import InputError
from autosubnet.graph.groups import ParameterSlice
from autosubnet.optim import HAPG, AdamHAPG, LambdaPath, first_order_gradient, second_order_gradient
from autosubnet.training.checkpoint import Run, Stateful
from autosubnet.training.path_problem import PathProblem
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.statistics import recalibrate

METHODS = ("hapg", "adamhapg")
ORDERS = ("first", "second")


@dataclass(frozen=True)
class Epoch:
    """What an epoch ended with.

    Attributes:
        lam: strength of the penalty in it; 0 as long as the warm-up goes on.
        loss: mean of the training loss over its steps.
        score: on the data that the paths are trained on.
        weights: the path weights by name, with the zeros that ``derive()`` would write.
        zero_nodes: names of the groups that are wholly zero.
    """

    lam: float
    loss: float
    score: float
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
    problem: PathProblem,
    settings: PathSettings,
    *,
    watch: Callable[[Sequence[Epoch], int], None] = lambda epochs, step: None,
    checkpoint: Path | None = None,
) -> tuple[HAPG, list[Epoch]]:
    """Train weights and paths in place.

    Args:
        problem: the supernet, which stays on the device of the training, and the data.
        settings: how.
        watch: is told after each step the epochs so far and how many steps were taken.
        checkpoint: a file that is replaced after every epoch; if it is there, training goes on from it, bit for bit.

    Returns:
        The optimizer of the paths, whose ``derive()`` is still to be called, and what every epoch ended with.

    Raises:
        InputError: see :func:`check`.
        StateError: the checkpoint is none, or of another run.
    """
    check(problem, settings)
    set_seed(settings.seed)
    order = torch.Generator().manual_seed(settings.seed)
    device = Accelerator().device
    problem.model.to(device).train()
    search = Search.start(problem, settings)
    about = {name: str(value) for name, value in asdict(settings).items() if name != "data_dir"}
    run = Run(search.parts, order, about)

    def train_epoch(record: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        epochs, step = [Epoch(**each) for each in record], len(record) * problem.steps
        total = torch.zeros((), device=device)
        for seen, unseen in problem.batches(order, device):
            search.step_paths(seen, unseen)
            total += search.step_weights(seen)
            step += 1
            watch(epochs, step)
        last = search.end_epoch(total.item() / problem.steps)
        watch([*epochs, last], step)
        return asdict(last)

    record = run.complete(settings.epochs, train_epoch, checkpoint)
    return search.architecture, [Epoch(**each) for each in record]


@dataclass(frozen=True)
class Search:
    """The two optimizers and what changes their settings."""

    problem: PathProblem
    paths: tuple[str, ...]
    others: tuple[nn.Parameter, ...]
    weights: torch.optim.Optimizer
    architecture: HAPG
    growth: LambdaPath
    schedules: Mapping[str, CosineAnnealingLR]
    second_order: bool

    @classmethod
    def start(cls, problem: PathProblem, settings: PathSettings) -> Search:
        """Return the optimizers at their first step."""
        model, groups, recipe = problem.model, problem.paths.groups, problem.recipe
        paths = tuple(dict.fromkeys(piece.name for group in groups for piece in group.slices))
        others = tuple(p for name, p in model.named_parameters() if name not in paths and p.requires_grad)
        lr = recipe.lr if settings.lr is None else settings.lr
        weights = torch.optim.SGD(others, lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
        adam = settings.method == "adamhapg"
        path_lr = (recipe.adamhapg_lr if adam else recipe.hapg_lr) if settings.path_lr is None else settings.path_lr
        architecture = (AdamHAPG if adam else HAPG)(
            model, groups, lr=path_lr, lam=0.0, alpha=settings.alpha, warmup_steps=_warmup(problem, settings)
        )
        growth = LambdaPath(architecture, settings.lambda_step)
        falling = ({"schedule": weights} if recipe.cosine else {}) | ({} if adam else {"path_schedule": architecture})
        steps = settings.epochs * problem.steps
        schedules = {name: CosineAnnealingLR(optimizer, steps) for name, optimizer in falling.items()}
        return cls(problem, paths, others, weights, architecture, growth, schedules, settings.order == "second")

    @property
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        optimizers: dict[str, Stateful] = {"architecture": self.architecture, "weights": self.weights}
        return {**optimizers, "model": self.problem.model, "growth": self.growth, **self.schedules}

    def step_paths(self, seen: Any, unseen: Any) -> None:
        """Take a step of A, along the gradient of the loss on what the weights are not trained on."""
        model, loss = self.problem.model, self.problem.loss
        if self.second_order:
            gamma = self.weights.param_groups[0]["lr"]
            gradients = second_order_gradient(model, loss, self.paths, seen, unseen, gamma=gamma)
        else:
            gradients = first_order_gradient(model, loss, self.paths, unseen)
        for name, gradient in gradients.items():
            model.get_parameter(name).grad = gradient
        self.architecture.step()

    def step_weights(self, batch: Any) -> Tensor:
        """Take a step of w and of the schedules; return the loss."""
        self.weights.zero_grad()
        loss = self.problem.loss(self.problem.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        nn.utils.clip_grad_norm_(self.others, self.problem.recipe.clip)
        self.weights.step()
        for schedule in self.schedules.values():
            schedule.step()
        return loss.detach()

    def end_epoch(self, loss: float) -> Epoch:
        """Raise lambda; return what there is at the end of the epoch."""
        lam = 0.0 if self.architecture.warming_up else self.architecture.param_groups[0]["lam"]
        values = {name: value.cpu() for name, value in self.architecture.proximal().items()}
        groups = self.architecture.groups
        zero = [group.name for group in groups if not any(_part(values, each) for each in group.slices)]
        self.growth.step()
        recalibrate(self.problem)
        score = self.problem.score(self.problem.model)
        return Epoch(lam, loss, score, {name: value.tolist() for name, value in values.items()}, zero)


def _part(values: Mapping[str, Tensor], piece: ParameterSlice) -> bool:
    """Whether anything of a slice is not zero."""
    value = values[piece.name]
    if piece.indices is not None:
        value = value.index_select(piece.dim or 0, torch.tensor(piece.indices))
    return bool(value.any())


def check(problem: PathProblem, settings: PathSettings) -> None:
    """Refuse a search that makes no sense, before anything is written.

    Raises:
        InputError: a method or an order that there is not, no epoch, a warm-up that leaves no step for the penalty, or
            several processes.
    """
    if settings.method not in METHODS:
        raise InputError(f"The method is one of {', '.join(METHODS)}, got {settings.method!r}.")
    if settings.order not in ORDERS:
        raise InputError(f"The order is one of {', '.join(ORDERS)}, got {settings.order!r}.")
    if settings.epochs < 1:
        raise InputError(f"Training needs at least one epoch, got {settings.epochs}.")
    steps = settings.epochs * problem.steps
    if (settings.warmup_steps or 0) >= steps:
        raise InputError(
            f"warmup_steps is {settings.warmup_steps}, but the whole search has {steps} steps, so that there would be "
            "no penalty; take fewer, or more epochs."
        )
    if Accelerator().num_processes > 1:
        raise InputError("A search over paths runs in one process; start it without accelerate launch.")


def _warmup(problem: PathProblem, settings: PathSettings) -> int:
    if settings.warmup_steps is not None:
        return settings.warmup_steps
    steps = settings.epochs * problem.steps
    return 0 if settings.supernet in ("darts", "darts_rnn") else min(WARMUP_STEPS, steps // 4)
