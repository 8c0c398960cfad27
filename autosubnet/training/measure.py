"""What a network costs: parameters, multiply-adds, and the latency of its ONNX file."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from autosubnet.capture import Inputs
from autosubnet.capture.flops import count_flops

_PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "accelerate")


def num_params(model: nn.Module) -> int:
    """Return the number of scalar parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, *inputs: Tensor) -> int:
    """Return the multiply-adds of one example of the inputs ``(N, ...)``: half the floating-point operations."""
    return count_flops(model, Inputs.of(inputs)) // 2


def onnx_latency(paths: Mapping[str, Path], images: Tensor, rounds: int = 200) -> dict[str, float]:
    """Return the median milliseconds of ONNX Runtime on one thread of the CPU for each file.

    The files take turns, so that a busy moment of the machine hits all of them alike.

    Args:
        paths: ONNX files with one input, by a name of your choice.
        images: what they get, ``(N, C, H, W)``.
        rounds: runs of each file that count; a tenth as many go before to warm up.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {
        name: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for name, path in paths.items()
    }
    feeds = {name: {session.get_inputs()[0].name: images.numpy()} for name, session in sessions.items()}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for count in range(rounds + rounds // 10):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, feeds[name])
            if count >= rounds // 10:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def environment() -> dict[str, str]:
    """Return what a timing depends on: machine, threads, Python and the packages."""
    versions = {package: version(package) for package in _PACKAGES}
    machine = {"machine": platform.machine(), "system": platform.system(), "cores": str(os.cpu_count())}
    threads = {"threads": str(torch.get_num_threads())}
    return {**machine, **threads, "python": platform.python_version(), **versions}
