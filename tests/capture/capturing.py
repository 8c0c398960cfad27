"""Comparing a captured graph with its model: outputs, structure and what is left in the buffers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from autosubnet.capture import MODES, Inputs, Mode, Trace, capture


class Applied(nn.Module):
    """A model of one input whose forward is a function of the model and the input."""

    def __init__(self, body: Callable[[Any, Tensor], Any], **parts: Any) -> None:
        super().__init__()
        self.body = body
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


def images(batch: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(batch, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def rows(batch: int = 3, width: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(seed))


def check(model: nn.Module, *args: Any, batches: tuple[int, ...] = (2, 5), **kwargs: Any) -> Trace:
    """Capture, and assert that both modes return what the model returns, at these batch sizes."""
    trace = capture(model, Inputs(args, kwargs))
    for mode in MODES:
        graph = trace.module(mode)
        for seed, batch in enumerate(batches):
            inputs = redrawn(Inputs(args, kwargs), batch, seed)
            expected = run(model, inputs, mode)
            actual = run(graph, inputs, mode, model)
            assert_same(expected, actual)
    return trace


def redrawn(inputs: Inputs, batch: int, seed: int) -> Inputs:
    """Return inputs of the same kinds with other values and ``batch`` examples; 0-d tensors stay."""
    generator = torch.Generator().manual_seed(seed + 10)

    def one(tensor: Tensor) -> Tensor:
        if not tensor.ndim:
            return tensor.clone()
        shape = (batch, *tensor.shape[1:])
        if tensor.is_floating_point():
            return torch.randn(shape, generator=generator).to(tensor.dtype)
        return tensor.flatten()[torch.randint(tensor.numel(), shape, generator=generator)]

    return inputs.map(one)


def run(module: nn.Module, inputs: Inputs, mode: Mode, model: nn.Module | None = None) -> tuple[Any, list[Tensor]]:
    """Return what the module returns from a fixed random state, and the buffers of ``model`` afterwards."""
    model = model or module
    fed = inputs.map(lambda tensor: tensor.clone())
    with unchanged_buffers(model), torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        model.train(mode == "train")
        module.training = mode == "train"  # its leaves are the model's own
        result = copy.deepcopy(module(*fed.args, **fed.kwargs))
        return result, [buffer.clone() for buffer in model.buffers()]


@contextmanager
def unchanged_buffers(model: nn.Module) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)


def assert_same(expected: Any, actual: Any) -> None:
    """Assert equal structure and equal leaves, bit for bit."""
    leaves, spec = tree_flatten(expected)
    others, other_spec = tree_flatten(actual)
    assert spec == other_spec
    for a, b in zip(leaves, others, strict=True):
        if not isinstance(a, Tensor):
            assert a == b
            continue
        assert a.dtype == b.dtype
        torch.testing.assert_close(b, a, rtol=0, atol=0, equal_nan=True)
