"""ONNX, checked against ONNX Runtime before a file is left behind."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autosubnet.capture.inputs import Inputs
from autosubnet.errors import ExportError
from autosubnet.export.checked import arrays_of, cause_of, write_checked

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
    _require_installed()
    return write_checked(module, Path(path), example_inputs, tolerance, _write, _run)


def _require_installed() -> None:
    try:
        import onnx  # noqa: F401  # only whether it is there
        import onnxruntime  # noqa: F401  # the same
        import onnxscript  # noqa: F401  # the same
    except ImportError as missing:
        raise ExportError(
            f"exporting to ONNX needs the package {missing.name}; install it by {INSTALL_HINT}"
        ) from missing


def _write(module: nn.Module, path: Path, inputs: Inputs, shapes: Any) -> None:
    size = sum(tensor.nbytes for tensor in module.state_dict().values())
    try:
        with _quiet():
            torch.onnx.export(
                module, inputs.args, str(path), kwargs=dict(inputs.kwargs), dynamic_shapes=shapes, dynamo=True,
                external_data=size > _LARGEST_IN_ONE_FILE, verbose=False,
            )  # fmt: skip
    except Exception as error:  # the exporter passes on whatever the module and its passes raise
        raise ExportError(
            f"{type(module).__name__} cannot be exported to ONNX: {cause_of(error)}; where the batch size is at fault, "
            "the network holds it fixed, and where an operator is, ONNX does not know it"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def session_of(path: Path, inputs: Inputs) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return a session of ONNX Runtime for a file, on the CPU, and what it is fed for ``inputs``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    arrays = arrays_of((inputs.args, dict(inputs.kwargs)))
    return session, dict(zip((each.name for each in session.get_inputs()), arrays, strict=True))


def _run(path: Path, inputs: Inputs) -> list[NDArray[Any]]:
    try:
        session, feed = session_of(path, inputs)
        return list(session.run(None, feed))
    except Exception as error:  # its errors share no class
        raise ExportError(
            f"ONNX Runtime cannot run the exported network: {cause_of(error)}; no file was written; float32 is "
            "supported best"
        ) from error
