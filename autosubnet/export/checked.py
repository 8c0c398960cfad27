"""What all exported files share: inputs of two batch sizes, and that no file is left that computes something else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from autosubnet.capture.inputs import Inputs, others
from autosubnet.capture.preserve import preserved
from autosubnet.errors import ExportError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Write = Callable[[nn.Module, Path, Inputs, Any], None]
"""Writes a module to a file, by example inputs and their dynamic shapes."""
Run = Callable[[Path, Inputs], "list[NDArray[Any]]"]
"""Runs the file on inputs."""


def write_checked(
    module: nn.Module, path: Path, example_inputs: Any, tolerance: float, write: Write, run: Run
) -> float:
    """Write a module in eval mode beside ``path``, compare it at two batch sizes, and put it in place.

    Args:
        module: not changed.
        path: of the file; replaced only when all went well.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.
        tolerance: the largest difference allowed, absolute for outputs up to 1 and relative to the largest beyond.
        write: writes the file.
        run: runs it.

    Returns:
        The largest absolute difference of any output.

    Raises:
        InputError: the example inputs are none of the above.
        ExportError: the folder does not exist, the module or the file fails, or they differ.
    """
    if not isinstance(module, nn.Module):
        raise ExportError(f"cannot export a {type(module).__name__}; pass a torch.nn.Module")
    if not path.parent.is_dir():
        raise ExportError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    inputs = Inputs.of(example_inputs)
    rows = next((tensor.shape[0] for tensor in inputs.tensors() if tensor.ndim), None)
    more = _other(inputs, rows, None if rows is None else rows + 1)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as beside:
        written = Path(beside, path.name)
        with preserved(module, training=False):
            expected = [_outputs(module, each) for each in (inputs, more)]
            # A batch of one would be taken for a constant.
            given, count = (more, 2) if rows == 1 else (inputs, rows)
            write(module, written, given, _dynamic_shapes(given, count))
        found = [run(written, each) for each in (inputs, more)]
        difference = max(_difference(*each, tolerance) for each in zip(expected, found, strict=True))
        for file in sorted(Path(beside).iterdir(), key=lambda file: file == written):  # the graph last
            os.replace(file, path.with_name(file.name))
    return difference


def _dynamic_shapes(inputs: Inputs, rows: int | None) -> Any:
    """Return which dimensions are the batch: the first of all tensors that have as many rows."""
    batch = torch.export.Dim("batch")

    def dynamic(value: Any) -> dict[int, Any] | None:
        is_batch = isinstance(value, torch.Tensor) and value.ndim > 0 and value.shape[0] == rows
        return {0: batch} if is_batch else None

    return tree_map(dynamic, inputs.args) if inputs.args else tree_map(dynamic, dict(inputs.kwargs))


def _other(inputs: Inputs, rows: int | None, wanted: int | None) -> Inputs:
    """Return inputs of other values, with ``wanted`` rows where there were ``rows``."""

    def other(tensor: torch.Tensor) -> torch.Tensor:
        size = wanted if tensor.ndim and tensor.shape[0] == rows else None
        changed: torch.Tensor = others(Inputs((tensor,), {}), size).args[0]
        return changed

    return inputs.map(other)


def cause_of(error: BaseException) -> str:
    """Return the first line of what lies at the root of an exporter's chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"


def _outputs(module: nn.Module, inputs: Inputs) -> list[NDArray[Any]]:
    try:
        return arrays_of(module(*inputs.args, **inputs.kwargs))
    except Exception as error:  # the module is the user's: whatever it raises means that it refuses
        raise ExportError(
            f"{type(module).__name__} fails on inputs of {[tuple(each.shape) for each in inputs.tensors()]} with "
            f"{cause_of(error)}; an exported network must take any batch size"
        ) from error


def arrays_of(values: Any) -> list[NDArray[Any]]:
    """Return the tensors anywhere in ``values``, in the order in which the exporter takes them."""
    leaves = (each for each in tree_leaves(values) if isinstance(each, torch.Tensor))
    return [each.detach().cpu().contiguous().numpy() for each in leaves]


def _difference(expected: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]], tolerance: float) -> float:
    shapes = [[each.shape for each in arrays] for arrays in (expected, found)]
    if shapes[0] != shapes[1]:
        raise ExportError(f"the file returns the shapes {shapes[1]}, and the network {shapes[0]}; no file was written")
    largest = 0.0
    for number, (right, seen) in enumerate(zip(expected, found, strict=True)):
        difference = _largest(right, seen)
        allowed = tolerance * max(1.0, float(np.max(np.abs(right[np.isfinite(right)]), initial=0.0)))
        if not difference <= allowed:
            raise ExportError(
                f"output {number} of the file differs from the network's by {difference:.3g}, and {allowed:.3g} "
                "is allowed; no file was written; a larger tolerance= accepts it"
            )
        largest = max(largest, difference)
    return largest


def _largest(right: NDArray[Any], seen: NDArray[Any]) -> float:
    """Return the largest absolute difference, infinite or NaN where only one of the two is."""
    right, seen = right.astype(np.float64), seen.astype(np.float64)
    different = ~((right == seen) | (np.isnan(right) & np.isnan(seen)))
    return float(np.abs(right[different] - seen[different]).max(initial=0.0))
