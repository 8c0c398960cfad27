"""The path of lambda: it grows by the same amount in every epoch (SparseNAS, Section Bi-level Optimization)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autosubnet.errors import InputError, StateError
from autosubnet.optim.hapg import HAPG


class LambdaPath:
    """Raises the strength of the penalty of HAPG or AdamHAPG epoch by epoch, like a scheduler of the learning rate.

    In epoch e = 0, 1, ... it is ``lam + e * increment``, with the ``lam`` that the optimizer was made with. The paper
    says that lambda grows linearly, by 0.01 an epoch, and not where it starts.

    Args:
        optimizer: HAPG or AdamHAPG; each of its parameter groups has its own start.
        increment: what an epoch adds, at least 0.

    Raises:
        InputError: another optimizer, or a negative or infinite ``increment``.
    """

    def __init__(self, optimizer: HAPG, increment: float = 0.01) -> None:
        if not isinstance(optimizer, HAPG):
            raise InputError(f"{type(optimizer).__name__} has no lambda; pass HAPG or AdamHAPG")
        if not 0 <= increment < math.inf:
            raise InputError(f"increment is {increment}; it must be finite and at least 0")
        self._optimizer, self._increment, self._epoch = optimizer, float(increment), 0
        for group in optimizer.param_groups:
            # Kept in the optimizer's state dict, as torch's schedulers keep initial_lr.
            group.setdefault("initial_lam", group["lam"])

    def step(self) -> None:
        """Go on to the next epoch."""
        self._epoch += 1
        for group in self._optimizer.param_groups:
            start = group.setdefault("initial_lam", group["lam"])
            group["lam"] = start + self._epoch * self._increment

    def state_dict(self) -> dict[str, Any]:
        """The epoch and the increment; lambda itself is in the optimizer's state dict."""
        return {"epoch": self._epoch, "increment": self._increment}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the state dict was taken.

        Raises:
            StateError: it is damaged, or not of a ``LambdaPath``.
        """
        try:
            self._epoch, self._increment = int(state_dict["epoch"]), float(state_dict["increment"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"not a state dict of LambdaPath: {error!r}") from error
