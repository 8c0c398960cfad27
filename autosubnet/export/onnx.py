"""ONNX, checked against ONNX Runtime before a file is left behind."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
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

INSTALL_HINT = "pip install 'autosubnet[onnx]'"
_LARGEST_IN_ONE_FILE = 1_900_000_000  # bytes; protobuf ends at 2 GiB, so larger weights lie beside the graph


def export_onnx(module: nn.Module, path: str | Path, example_inputs: Any, *, tolerance: float = 1e-4) -> float:
    """Write ``module`` in eval mode to ``path`` as ONNX, and return how far ONNX Runtime is from it.

    The batch, which is the first dimension of the first tensor and of all that have as many rows, is dynamic. The file
    is run at the batch size of the examples and at one more, on other values, and compared. The module is not changed.

    Args:
        module: any module; its outputs may be a tensor, or tuples, lists or dicts of them.
        path: of the file; replaced only when all went well. Weights beyond 1.9 GB lie beside it.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.
        tolerance: the largest difference allowed, absolute for outputs up to 1 and relative to the largest beyond. The
            default is for float32.

    Returns:
        The largest absolute difference of any output.

    Raises:
        InputError: the example inputs are none of the above.
        ExportError: ONNX is not installed, the module cannot be exported, or the file computes something else. No file
            is written then.
    """
    if not isinstance(module, nn.Module):
        raise ExportError(f"cannot export a {type(module).__name__}; pass a torch.nn.Module")
    path = Path(path)
    _require_installed()
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
            _write(module, written, more if rows == 1 else inputs, 2 if rows == 1 else rows)
        found = [_run(written, each) for each in (inputs, more)]
        difference = max(_difference(*each, tolerance) for each in zip(expected, found, strict=True))
        for file in sorted(Path(beside).iterdir(), key=lambda file: file == written):  # the graph last
            os.replace(file, path.with_name(file.name))
    return difference


def _require_installed() -> None:
    try:
        import onnx  # noqa: F401  # only whether it is there
        import onnxruntime  # noqa: F401  # the same
        import onnxscript  # noqa: F401  # the same
    except ImportError as missing:
        raise ExportError(
            f"exporting to ONNX needs the package {missing.name}; install it by {INSTALL_HINT}"
        ) from missing


def _other(inputs: Inputs, rows: int | None, wanted: int | None) -> Inputs:
    """Return inputs of other values, with ``wanted`` rows where there were ``rows``."""

    def other(tensor: torch.Tensor) -> torch.Tensor:
        size = wanted if tensor.ndim and tensor.shape[0] == rows else None
        changed: torch.Tensor = others(Inputs((tensor,), {}), size).args[0]
        return changed

    return inputs.map(other)


def _write(module: nn.Module, path: Path, inputs: Inputs, rows: int | None) -> None:
    batch = torch.export.Dim("batch")

    def dynamic(value: Any) -> dict[int, Any] | None:
        is_batch = isinstance(value, torch.Tensor) and value.ndim > 0 and value.shape[0] == rows
        return {0: batch} if is_batch else None

    shapes = tree_map(dynamic, inputs.args) if inputs.args else tree_map(dynamic, dict(inputs.kwargs))
    size = sum(tensor.nbytes for tensor in module.state_dict().values())
    try:
        with _quiet():
            torch.onnx.export(
                module, inputs.args, str(path), kwargs=dict(inputs.kwargs), dynamic_shapes=shapes, dynamo=True,
                external_data=size > _LARGEST_IN_ONE_FILE, verbose=False,
            )  # fmt: skip
    except Exception as error:  # the exporter passes on whatever the module and its passes raise
        raise ExportError(
            f"{type(module).__name__} cannot be exported to ONNX: {_cause(error)}; where the batch size is at fault, "
            "the network holds it fixed, and where an operator is, ONNX does not know it"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _cause(error: BaseException) -> str:
    """Return the first line of what lies at the root of an exporter's chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"


def _outputs(module: nn.Module, inputs: Inputs) -> list[NDArray[Any]]:
    try:
        return _arrays(module(*inputs.args, **inputs.kwargs))
    except Exception as error:  # the module is the user's: whatever it raises means that it refuses
        raise ExportError(
            f"{type(module).__name__} fails on inputs of {[tuple(each.shape) for each in inputs.tensors()]} with "
            f"{_cause(error)}; an exported network must take any batch size"
        ) from error


def _arrays(values: Any) -> list[NDArray[Any]]:
    """Return the tensors anywhere in ``values``, in the order in which the exporter takes them."""
    leaves = (each for each in tree_leaves(values) if isinstance(each, torch.Tensor))
    return [each.detach().cpu().contiguous().numpy() for each in leaves]


def session_of(path: Path, inputs: Inputs) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return a session of ONNX Runtime for a file, on the CPU, and what it is fed for ``inputs``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    arrays = _arrays((inputs.args, dict(inputs.kwargs)))
    return session, dict(zip((each.name for each in session.get_inputs()), arrays, strict=True))


def _run(path: Path, inputs: Inputs) -> list[NDArray[Any]]:
    try:
        session, feed = session_of(path, inputs)
        return list(session.run(None, feed))
    except Exception as error:  # its errors share no class
        raise ExportError(
            f"ONNX Runtime cannot run the exported network: {_cause(error)}; no file was written; float32 is "
            "supported best"
        ) from error


def _difference(expected: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]], tolerance: float) -> float:
    shapes = [[each.shape for each in arrays] for arrays in (expected, found)]
    if shapes[0] != shapes[1]:
        raise ExportError(
            f"the ONNX file returns the shapes {shapes[1]}, and the network {shapes[0]}; no file was written"
        )
    largest = 0.0
    for number, (right, seen) in enumerate(zip(expected, found, strict=True)):
        difference = _largest(right, seen)
        allowed = tolerance * max(1.0, float(np.max(np.abs(right[np.isfinite(right)]), initial=0.0)))
        if not difference <= allowed:
            raise ExportError(
                f"output {number} of the ONNX file differs from the network's by {difference:.3g}, and {allowed:.3g} "
                "is allowed; no file was written; a larger tolerance= accepts it"
            )
        largest = max(largest, difference)
    return largest


def _largest(right: NDArray[Any], seen: NDArray[Any]) -> float:
    """Return the largest absolute difference, infinite or NaN where only one of the two is."""
    right, seen = right.astype(np.float64), seen.astype(np.float64)
    different = ~((right == seen) | (np.isnan(right) & np.isnan(seen)))
    return float(np.abs(right[different] - seen[different]).max(initial=0.0))
