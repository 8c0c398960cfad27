"""Checkpoints of a training run: written whole or not at all, read without running code from them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from autosubnet.errors import StateError


class Stateful(Protocol):
    """What can be written down and read again: modules, optimizers, schedules."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Go on from a state."""


@dataclass(frozen=True)
class Run:
    """Everything that a training run goes on from, at the end of an epoch.

    Attributes:
        parts: what has a state, by name: the model, its optimizers, their schedules; read in this order.
        order: draws the order of the data.
        about: the settings of the run by name, so that a checkpoint of another run is refused.
    """

    parts: Mapping[str, Stateful]
    order: torch.Generator
    about: Mapping[str, str]

    def complete(
        self,
        epochs: int,
        train: Callable[[Sequence[Any]], Any],
        checkpoint: Path | None = None,
        *,
        writes: bool = True,
    ) -> list[Any]:
        """Train epoch after epoch, and return what each ended with.

        Args:
            epochs: how many there are in all.
            train: is told what the epochs so far ended with; trains the next and returns the same of it, as plain data.
            checkpoint: a file that is replaced after every epoch; if it is there, training goes on from it, bit for
                bit.
            writes: whether this process writes it.

        Raises:
            StateError: see :meth:`read`.
        """
        record = self.read(checkpoint) if checkpoint is not None and checkpoint.exists() else []
        while len(record) < epochs:
            record.append(train(record))
            if checkpoint is not None and writes:
                self.write(checkpoint, record)
        return record

    def write(self, path: Path, record: list[Any]) -> None:
        """Replace ``path`` by the present state; a crash on the way leaves the old file.

        Args:
            path: the file.
            record: what each epoch ended with, as plain data.
        """
        state = {
            "about": dict(self.about),
            "record": record,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
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

    def read(self, path: Path) -> list[Any]:
        """Go on where ``path`` was written; return what its epochs ended with.

        Raises:
            StateError: it is no checkpoint, or one of another run; nothing was changed.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            record, about, parts = state["record"], state["about"], state["parts"]
        except Exception as error:  # torch and pickle raise many kinds
            raise StateError(f"{path} is no checkpoint of a training run ({error}); remove it to start anew") from error
        for name, value in self.about.items():
            if about.get(name) != value:
                raise StateError(
                    f"{path} is the checkpoint of another run: {name} is {about.get(name)} there and {value} here; "
                    f"use the same settings, or remove it to start anew"
                )
        for name, part in self.parts.items():
            part.load_state_dict(parts[name])
        self.order.set_state(state["order"])
        _set_random_states(state["random"])
        return list(record)


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
