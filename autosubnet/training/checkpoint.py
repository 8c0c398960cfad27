"""Checkpoints of a training run: written whole or not at all, read without running code from them."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autosubnet.errors import StateError


@dataclass(frozen=True)
class Run:
    """Everything that a training run goes on from, at the end of an epoch.

    Attributes:
        model: what is trained.
        optimizer: over its parameters.
        schedule: of its learning rate.
        order: draws the order of the images.
        about: the settings of the run by name, so that a checkpoint of another run is refused.
    """

    model: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    order: torch.Generator
    about: Mapping[str, str]

    def write(self, path: Path, losses: list[float]) -> None:
        """Replace ``path`` by the present state; a crash on the way leaves the old file."""
        state = {
            "about": dict(self.about),
            "losses": losses,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.order.get_state(),
            "random": _random_states(),
        }
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with beside.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    def read(self, path: Path) -> list[float]:
        """Go on where ``path`` was written; return the losses so far.

        Raises:
            StateError: it is no checkpoint, or one of another run; nothing was changed.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            losses, about = state["losses"], state["about"]
        except Exception as error:  # torch and pickle raise many kinds
            raise StateError(f"{path} is no checkpoint of a training run ({error}); remove it to start anew") from error
        for name, value in self.about.items():
            if about.get(name) != value:
                raise StateError(
                    f"{path} is the checkpoint of another run: {name} is {about.get(name)} there and {value} here; "
                    f"use the same settings, or remove it to start anew"
                )
        self.optimizer.load_state_dict(state["optimizer"])
        self.model.load_state_dict(state["model"])
        self.schedule.load_state_dict(state["schedule"])
        self.order.set_state(state["order"])
        _set_random_states(state["random"])
        return list(losses)


def _random_states() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.array(keys, dtype=np.int64)), *rest),
    }


def _set_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
