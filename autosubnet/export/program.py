"""Programs of ``torch.export``, checked before a file is left behind."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autosubnet.capture.inputs import Inputs
from autosubnet.errors import ExportError
from autosubnet.export.checked import arrays_of, cause_of, write_checked

if TYPE_CHECKING:
    from numpy.typing import NDArray


def export_program(module: nn.Module, path: str | Path, example_inputs: Any, *, tolerance: float = 1e-4) -> float:
    """Write ``module`` in eval mode to ``path`` as a program of ``torch.export``; return how far that is from it.

    The batch is dynamic, as in :func:`autosubnet.export_onnx`; the file is loaded and compared at two batch sizes.
    ``torch.export.load(path).module()`` runs it, without this package and without the code of the model.

    Args:
        module: any module; not changed.
        path: of the file, ``.pt2``; replaced only when all went well.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.
        tolerance: the largest difference allowed, absolute for outputs up to 1 and relative to the largest beyond.

    Returns:
        The largest absolute difference of any output.

    Raises:
        InputError: the example inputs are none of the above.
        ExportError: the module cannot be exported, or the file computes something else. No file is written then.
    """
    return write_checked(module, Path(path), example_inputs, tolerance, _write, _run)


def _write(module: nn.Module, path: Path, inputs: Inputs, shapes: Any) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, inputs.args, dict(inputs.kwargs), dynamic_shapes=shapes)
            torch.export.save(program, path)
    except Exception as error:  # the exporter passes on whatever the module and its passes raise
        raise ExportError(
            f"{type(module).__name__} cannot be exported as a program: {cause_of(error)}; where the batch size is at "
            "fault, the network holds it fixed"
        ) from error


def _run(path: Path, inputs: Inputs) -> list[NDArray[Any]]:
    try:
        with torch.no_grad():
            return arrays_of(torch.export.load(path).module()(*inputs.args, **inputs.kwargs))
    except Exception as error:  # whatever the program raises means that it refuses
        raise ExportError(f"the exported program fails: {cause_of(error)}; no file was written") from error
