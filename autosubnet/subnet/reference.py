"""The runs of a model that its subnet is compared with: on the example inputs, and on others that the model takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from autosubnet.capture import Inputs, Trace, others
from autosubnet.capture.resize import RESIZES
from autosubnet.errors import VerificationError
from autosubnet.subnet.running import Draws, Run, run


def runs_in_eval(model: nn.Module, inputs: Inputs, trace: Trace) -> Iterator[tuple[Inputs, Run]]:
    """Run a model on the example inputs, and where it takes them on one example more, and on other sizes."""
    yield inputs, run(model, inputs, training=False)
    batch = inputs.batch()
    if batch is not None and not _is_frozen(trace, "batch size"):
        yield from _first_that_runs(model, [others(inputs, batch + 1)], training=False)
    if _is_frozen(trace, "a size: at other sizes", "values: "):
        return
    shapes = [tensor.shape for tensor in inputs.tensors()]
    resized = [others(inputs, None, resize=resize) for resize in RESIZES]
    if not _is_frozen(trace, "a size"):  # else only at what capture has compared
        resized.insert(0, inputs.map(_larger))
    unlike = [each for each in resized if [tensor.shape for tensor in each.tensors()] != shapes]
    yield from _first_that_runs(model, unlike, training=False)


def runs_in_training(model: nn.Module, inputs: Inputs, trace: Trace, draws: Draws) -> Iterator[tuple[Inputs, Run]]:
    """Run a model on eight examples or more, where it takes them: batch statistics over fewer magnify rounding.

    Raises:
        VerificationError: it does not even run on the example inputs.
    """
    batch = inputs.batch()
    candidates = [inputs]
    if not _is_frozen(trace, "values: "):
        candidates.insert(0, others(inputs, None))
        if batch is not None and not _is_frozen(trace, "batch size"):
            candidates.insert(0, others(inputs, max(8, batch + 1)))
    found = list(_first_that_runs(model, candidates, training=True, draws=draws))
    if not found:
        raise VerificationError(
            "in train mode the model does not run on its example inputs, so nothing can be compared; pass inputs on "
            "which it does (more examples, say)"
        )
    yield from found


def _is_frozen(trace: Trace, *kinds: str) -> bool:
    return any(each.startswith(kinds) for each in trace.frozen)


def _first_that_runs(
    model: nn.Module, candidates: Sequence[Inputs], *, training: bool, draws: Draws = "in order"
) -> Iterator[tuple[Inputs, Run]]:
    for each in candidates:
        try:
            found = run(model, each, training, draws)
        except Exception:  # noqa: BLE001  # the model is the user's: whatever it raises means that it refuses
            continue
        yield each, found
        return


def _larger(tensor: torch.Tensor) -> torch.Tensor:
    """An image half as large again; anything else as it is."""
    if tensor.ndim != 4 or not tensor.is_floating_point() or not tensor.numel():
        return tensor
    return nn.functional.interpolate(tensor, scale_factor=1.5)
