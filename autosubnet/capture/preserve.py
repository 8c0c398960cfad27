"""Running a user's model without changing it: modes, buffers and random state are put back."""

from __future__ import annotations

import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from autosubnet.capture.observe import attributes_of
from autosubnet.errors import CaptureError


@contextmanager
def preserved(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Run ``model`` in train or eval mode inside the block; afterwards it is as it was.

    Training flags, the values of buffers and of plain tensor attributes, and the random states (torch's on the CPU and
    on the devices that hold the model, numpy's and Python's) are restored. What ``torch.compile`` was applied to runs
    as plain Python.

    Raises:
        CaptureError: a buffer was replaced by another tensor during the block (its old one is back).
    """
    flags = {module: module.training for module in model.modules()}
    buffers = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
    written = [tensor for _, tensor in attributes_of(model)]
    # Rows of these are renormalised when they are read.
    written += [m.weight for m in model.modules() if isinstance(m, nn.Embedding) and m.max_norm is not None]
    values = [(tensor, tensor.detach().clone()) for tensor in written]
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    generators = random.getstate(), np.random.get_state()
    model.train(training)
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad(), _uncompiled():
            yield
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        model.train(flags[model])  # for modules that do more than set the flag
        for module, flag in flags.items():
            module.training = flag
        replaced = _restore(model, buffers)
        with torch.no_grad():
            for tensor, value in values:
                _put_back(tensor, value)
    if replaced:
        raise CaptureError(
            f"buffer {replaced[0]!r} is re-assigned in forward; update it in place (buffer.copy_(value)), "
            f"so that a captured graph can keep it up to date"
        )


@contextmanager
def keeps_attributes(model: nn.Module) -> Iterator[None]:
    """Take away afterwards what forward leaves on the modules: cached tensors, hooks, late buffers, list entries."""
    modules = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    plain = {module: dict(vars(module)) for module in modules}
    buffers = {module: dict(module._buffers) for module in modules}
    held: dict[int, Callable[[], object]] = {}
    for attributes in plain.values():
        for value in attributes.values():
            _hold(value, held)
    try:
        yield
    finally:
        for module, attributes in plain.items():
            vars(module).clear()
            vars(module).update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers[module])
        for restore in held.values():
            restore()


def _hold(value: Any, held: dict[int, Callable[[], object]]) -> None:
    """Note how to restore what a container, an array or a generator holds, and what is in it."""
    if id(value) in held:
        return
    kind = type(value)
    if kind in (list, deque, dict, OrderedDict, defaultdict, Counter, set):  # ordered ones hold hooks
        content = value.copy()
        held[id(value)] = partial(_refill, value, content)
        for each in content.values() if isinstance(content, dict) else content:
            _hold(each, held)
    elif kind is np.ndarray:
        held[id(value)] = partial(value.__setitem__, ..., value.copy())
    elif kind is torch.Generator:
        held[id(value)] = partial(value.set_state, value.get_state())
    elif kind is random.Random:
        held[id(value)] = partial(value.setstate, value.getstate())


def _refill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, (list, deque)):
        container.extend(content)
    else:
        container.update(content)


def _uncompiled() -> AbstractContextManager[None]:
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and its import takes seconds
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


@torch.no_grad()
def _restore(model: nn.Module, buffers: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> list[str]:
    now = dict(model.named_buffers())
    replaced = []
    for name, (buffer, value) in buffers.items():
        if now.get(name) is not buffer:
            replaced.append(name)
            path, _, leaf = name.rpartition(".")
            model.get_submodule(path)._buffers[leaf] = buffer
        _put_back(buffer, value)
    return replaced


def _put_back(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """Give a tensor the values that it had; one that is expanded takes none, and one on meta has none."""
    comparable = tensor.layout == torch.strided and not tensor.is_meta
    if not (comparable and torch.equal(tensor, value)):
        tensor.copy_(value)
