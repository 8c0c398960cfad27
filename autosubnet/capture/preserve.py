"""Running a user's model without changing it: modes, buffers and random state are put back."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from autosubnet.errors import CaptureError


@contextmanager
def preserved(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Run ``model`` in train or eval mode inside the block; afterwards it is as it was.

    Training flags, the values of buffers and the random states (torch's on the CPU and on the devices that hold the
    model, numpy's and Python's) are restored. What ``torch.compile`` was applied to runs as plain Python.

    Raises:
        CaptureError: a buffer was replaced by another tensor during the block (its old one is back).
    """
    flags = {module: module.training for module in model.modules()}
    buffers = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding) and m.max_norm is not None]
    rows = [(table, table.detach().clone()) for table in tables]  # their rows are renormalised when read
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
            for table, value in rows:
                table.copy_(value)
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
    held: dict[int, tuple[Any, Any]] = {}
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
        for container, content in held.values():
            container.clear()
            if isinstance(container, list):
                container.extend(content)
            else:
                container.update(content)


def _hold(value: Any, held: dict[int, tuple[Any, Any]]) -> None:
    """Note the content of a list, dict or set, and of those that it holds."""
    if id(value) in held or type(value) not in (list, dict, set, OrderedDict):  # the last hold hooks
        return
    held[id(value)] = (value, value.copy())
    for each in value.values() if isinstance(value, dict) else value:
        _hold(each, held)


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
        buffer.copy_(value)
    return replaced
