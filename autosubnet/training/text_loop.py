"""The training of a language model: gradient descent, and averages of its weights once it no longer gets better.

That is NT-ASGD of Merity, Keskar and Socher (2018), by which DARTS and so SparseNAS train the derived network; weight
decay and clipped gradients are theirs. Two things of DARTS' code are not here: windows of random length, and a penalty
on the difference of successive states.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import ASGD

from autosubnet.errors import InputError
from autosubnet.training.checkpoint import Run
from autosubnet.training.loop import progress_bar
from autosubnet.training.sequences import columns, perplexity, windows
from autosubnet.training.text import TextData

WEIGHT_DECAY = 8e-7
CLIP = 0.25
PATIENCE = 5
"""Averages begin when the perplexity is above the best of all epochs but the last so many."""


def train(
    model: nn.Module,
    data: TextData,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    window: int = 35,
    seed: int = 0,
    title: str = "training",
    console: Console | None = None,
    checkpoint: Path | None = None,
    about: Mapping[str, str] | None = None,
) -> list[dict[str, float]]:
    """Train in place on the training part, and leave the weights that were best on the validation part.

    Args:
        model: maps words ``(T, B)`` and a state, ``None`` at first, to logits ``(T, B, vocabulary)`` and a state; stays
            on the device of the training.
        data: the text.
        epochs: passes over its training part; each begins with no state.
        batch_size: columns that it is cut into.
        lr: learning rate.
        window: words of a column that are run at once; gradients go back to the first of them.
        seed: of everything random in the model.
        title: what the progress bar is called.
        console: where the progress bar goes; standard output if ``None``.
        checkpoint: see :meth:`autosubnet.training.checkpoint.Run.complete`.
        about: the settings of the run, by name; the checkpoint of a run with others, or on another text, is refused.

    Returns:
        What every epoch ended with: ``loss``, the mean of the training, and ``perplexity``, on the validation part with
        the averages where there are some.

    Raises:
        InputError: no epoch, several processes, or see :func:`autosubnet.training.sequences.columns` and ``windows``.
        StateError: the checkpoint is none, or of another run.
    """
    if epochs < 1:
        raise InputError(f"Training needs at least one epoch, got {epochs}.")
    if Accelerator().num_processes > 1:
        raise InputError("A language model is trained in one process; start it without accelerate launch.")
    set_seed(seed)
    device = Accelerator().device
    pairs = list(windows(columns(data.train, batch_size).to(device), window))
    best = copy.deepcopy(model.to(device))
    # Plain gradient descent until averages begin: torch's with the second step after t0.
    optimizer = ASGD(model.parameters(), lr, lambd=0, t0=math.inf, weight_decay=WEIGHT_DECAY)
    text = {"words": str(len(data.train)), "vocabulary": str(len(data.vocabulary))}
    run = Run({"optimizer": optimizer, "model": model, "best": best}, torch.Generator(), {**(about or {}), **text})

    def train_epoch(record: Sequence[dict[str, float]]) -> dict[str, float]:
        progress.update(task, completed=len(record) * len(pairs))
        model.train()
        total, hidden = torch.zeros((), device=device), None
        for words, following in pairs:
            optimizer.zero_grad()
            logits, hidden = model(words, hidden)
            loss = cross_entropy(logits.flatten(0, 1), following.flatten())
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            hidden = hidden.detach()
            total += loss.detach()
            progress.update(task, advance=1)
        before = [each["perplexity"] for each in record]
        with averages(optimizer):
            reached = perplexity(model, data.valid, length=window)
            if reached < min(before, default=math.inf):
                best.load_state_dict(model.state_dict())
        (settings,) = optimizer.param_groups
        averaged = "" if math.isinf(settings["t0"]) else ", averaged"
        if not averaged and reached > min(before[:-PATIENCE], default=math.inf):
            settings["t0"] = (len(record) + 1) * len(pairs)
        mean = total.item() / len(pairs)
        progress.update(task, loss=f"loss {mean:.3f}", status=f"perplexity {reached:,.1f}{averaged}")
        return {"loss": mean, "perplexity": reached}

    with progress_bar(console) as progress:
        task = progress.add_task(title, total=epochs * len(pairs), loss="", status="")
        record = run.complete(epochs, train_epoch, checkpoint)
    model.load_state_dict(best.state_dict())
    return record


@contextmanager
def averages(optimizer: ASGD) -> Iterator[None]:
    """Let the parameters be their averages inside the block; before ``t0`` these are the parameters themselves."""
    held = [p for group in optimizer.param_groups for p in group["params"] if p in optimizer.state]
    _exchange(optimizer, held)
    try:
        yield
    finally:
        _exchange(optimizer, held)


def _exchange(optimizer: ASGD, held: Sequence[nn.Parameter]) -> None:
    for p in held:
        state = optimizer.state[p]
        p.data, state["ax"] = state["ax"], p.data
