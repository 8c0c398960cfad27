"""The reference training loop: cross-entropy on `accelerate`, one progress bar, nothing special for H2SPG.

Under ``accelerate launch`` the processes share each batch, so that what is trained does not depend on their number but
for batch statistics.

Any ``torch.optim.Optimizer`` fits, so that a search and its baseline differ in the optimizer alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from autosubnet.errors import InputError
from autosubnet.training.checkpoint import Run


@dataclass(frozen=True)
class Epoch:
    """What an epoch ended with.

    Attributes:
        loss: mean training loss.
        seen: what was observed, plain data by name.
    """

    loss: float
    seen: Mapping[str, Any]


def num_steps(part: TensorDataset, batch_size: int, epochs: int) -> int:
    """Return the optimizer steps that :func:`train` takes; what is left after the last whole batch is unused.

    Raises:
        InputError: if there is not one whole batch, or no epoch.
    """
    if epochs < 1:
        raise InputError(f"Training needs at least one epoch, got {epochs}.")
    if not 1 <= batch_size <= len(part):
        raise InputError(f"The batch size is {batch_size}, but must lie between 1 and the {len(part)} images.")
    return len(part) // batch_size * epochs


def train(
    model: nn.Module,
    optimizer: Optimizer,
    part: TensorDataset,
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    loss: Callable[[Any, Tensor], Tensor] = cross_entropy,
    augment: Callable[[Tensor], Tensor] = lambda images: images,
    clip: float | None = None,
    begin_epoch: Callable[[int], None] = lambda epoch: None,
    title: str = "training",
    status: Callable[[], str] = str,
    observe: Callable[[], Mapping[str, Any]] = dict,
    console: Console | None = None,
    checkpoint: Path | None = None,
    about: Mapping[str, str] | None = None,
) -> list[Epoch]:
    """Train in place with a cosine schedule from the optimizer's learning rate to zero.

    Args:
        model: maps images ``(N, C, H, W)`` to logits ``(N, classes)``; stays on the device of the training.
        optimizer: over the model's parameters.
        part: images and labels.
        epochs: passes over them.
        batch_size: images a step, of all processes together.
        seed: of the order of the images, and of everything random in the model.
        loss: of what the model returns and the labels, to be minimised.
        augment: changes the images of a step.
        clip: norm that the gradients may have at most, all together.
        begin_epoch: is told the number of each epoch, from 0, ahead of it.
        title: what the progress bar is called.
        status: a few words on the state of the search, shown behind the bar.
        observe: returns what is to be noted at the end of every epoch, as plain data.
        console: where the progress bar goes; standard output if ``None``.
        checkpoint: a file that is replaced after every epoch; if it is there, training goes on from it, bit for bit.
        about: the settings of the run, by name; the checkpoint of a run with others is refused.

    Returns:
        What every epoch ended with.

    Raises:
        InputError: see :func:`num_steps`; or the batch size is no multiple of the number of processes.
        StateError: the checkpoint is none, or of another run.
    """
    steps = num_steps(part, batch_size, epochs)
    set_seed(seed)
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(part, batch_size=batch_size, shuffle=True, drop_last=True, generator=order)
    schedule = CosineAnnealingLR(optimizer, T_max=steps)
    # A step is one batch of this size, however many processes share it.
    accelerator = Accelerator(dataloader_config=DataLoaderConfiguration(split_batches=True))
    if batch_size % accelerator.num_processes:
        raise InputError(f"The batch size is {batch_size}, which {accelerator.num_processes} processes cannot share.")
    run = Run({"optimizer": optimizer, "model": model, "schedule": schedule}, order, about or {})
    model, prepared, batches = accelerator.prepare(model, optimizer, loader)
    model.train()

    def train_epoch(record: Sequence[dict[str, Any]]) -> dict[str, Any]:
        progress.update(task, completed=len(record) * len(batches))
        begin_epoch(len(record))
        total = torch.zeros((), device=accelerator.device)
        for images, labels in batches:
            prepared.zero_grad()
            value = loss(model(augment(images)), labels)
            accelerator.backward(value)
            if clip is not None:
                accelerator.clip_grad_norm_(model.parameters(), clip)
            prepared.step()
            schedule.step()
            total += value.detach()
            progress.update(task, advance=1, status=status())
        mean: float = accelerator.reduce(total, "mean").item() / len(batches)
        progress.update(task, loss=f"loss {mean:.3f}")
        return asdict(Epoch(mean, observe()))

    with progress_bar(console, disable=not accelerator.is_main_process) as progress:
        task = progress.add_task(title, total=steps, loss="", status=status())
        record = run.complete(epochs, train_epoch, checkpoint, writes=accelerator.is_main_process)
    return [Epoch(**each) for each in record]


def progress_bar(console: Console | None = None, *, disable: bool = False) -> Progress:
    """Return a bar with a title, and the fields ``loss`` and ``status`` behind it; on standard output by default."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[loss]}", style="cyan"),
        TextColumn("{task.fields[status]}", style="magenta"),
        TimeRemainingColumn(),
        console=console,
        disable=disable,
    )


@torch.no_grad()
def accuracy(model: nn.Module, part: TensorDataset, batch_size: int = 500) -> float:
    """Return the share of images, 0 to 1, whose largest logit is that of their label; in eval mode."""
    was_training = model.training
    device = next(model.parameters()).device
    model.eval()
    right = 0
    for images, labels in DataLoader(part, batch_size=batch_size):
        right += int((model(images.to(device)).argmax(1) == labels.to(device)).sum())
    model.train(was_training)
    return right / len(part)
