"""What is done out of the tracer's sight, by modules and functions that cannot be followed: writes, and results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from autosubnet.capture.observe import tensors_in
from autosubnet.capture.trace import Mode
from autosubnet.capture.values import Values
from autosubnet.errors import CaptureError


class Unseen:
    """Watches the calls of what cannot be followed.

    Args:
        values: the tensors of the run.

    Attributes:
        results: what is known of that which each call returned, by module.
    """

    def __init__(self, values: Values) -> None:
        self.results: dict[str, list[Any]] = {}
        self._values = values
        self._writes: dict[str, str] = {}  # tensor of the model -> the module that wrote it

    @contextmanager
    def leaves_alone(self, arguments: Any, who: str) -> Iterator[None]:
        """Require that what runs inside leaves its inputs as they are."""
        inputs = _noted(list(tensors_in(arguments)))
        yield
        if any(map(_has_changed, inputs)):
            raise CaptureError(f"{who} cannot be followed, and writes to its inputs; let it copy them first")

    @contextmanager
    def may_write(self, tensors: Sequence[torch.Tensor], module: str) -> Iterator[None]:
        """Note which of a module's own tensors it writes inside."""
        before = _noted(tensors)
        yield
        self._writes.update((str(self._values.name(each[0])), module) for each in before if _has_changed(each))

    def require_visible(self, mode: Mode) -> None:
        """Refuse writes that others would have to see: in eval mode, or of what operations read by themselves."""
        for name, module in self._writes.items():
            where = "in eval mode" if mode == "eval" else "and others read it" if name in self._values.fetched else ""
            if where:
                raise CaptureError(
                    f"module {module!r} cannot be followed, and writes {name!r} in forward {where}; write it where the "
                    f"graph can see it, in a module of plain torch operations"
                )


_Noted = tuple[torch.Tensor, int, torch.Tensor]  # a tensor, how often it was written so far, and what it held


def _noted(tensors: Sequence[torch.Tensor]) -> list[_Noted]:
    return [(tensor, _version(tensor), tensor.detach().clone()) for tensor in tensors]


def _has_changed(noted: _Noted) -> bool:
    tensor, version, value = noted
    return _version(tensor) != version or not _equal(tensor, value)


def _equal(tensor: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether a tensor still holds what it held; one on the meta device holds nothing."""
    return tensor.is_meta or torch.equal(tensor.nan_to_num(), value.nan_to_num())


def _version(tensor: torch.Tensor) -> int:
    """Return how often a tensor was written in place, as far as torch counts."""
    return 0 if tensor.is_inference() else tensor._version
