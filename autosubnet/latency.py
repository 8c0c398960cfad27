"""Seconds that a network takes on its inputs, in eval mode: in PyTorch on its device, or in ONNX Runtime on the CPU."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autosubnet.capture import Inputs
from autosubnet.capture.preserve import preserved
from autosubnet.export import export_onnx
from autosubnet.export.onnx import session_of

_RUNS = 20


def eager_seconds(network: nn.Module, inputs: Inputs) -> float:
    """Return the median seconds of a forward pass as PyTorch runs it."""
    cuda = any(tensor.is_cuda for tensor in (*inputs.tensors(), *network.parameters()))

    def run() -> None:
        network(*inputs.args, **inputs.kwargs)
        if cuda:
            torch.cuda.synchronize()

    with preserved(network, training=False), torch.no_grad():
        return _median_seconds(run)


def onnx_seconds(network: nn.Module, inputs: Inputs) -> float:
    """Return the median seconds of a forward pass in ONNX Runtime.

    Raises:
        ExportError: the network cannot be exported.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(network, path, dict(inputs.kwargs) or inputs.args)
        session, feed = session_of(path, inputs)
        return _median_seconds(lambda: session.run(None, feed))


def _median_seconds(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
