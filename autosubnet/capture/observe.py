"""What the tracer looks at: the tensors in a structure or a model, their memory, the line that is running."""

from __future__ import annotations

import operator
import pickle
import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn

from autosubnet.capture.trace import TensorInfo

_PLAIN = frozenset({bool, int, float, str, type(None)})
_OF_ALL_MODULES = frozenset(vars(nn.Module()))
_OURS = __file__.rpartition("/")[0]


def autocast() -> tuple[bool, ...]:
    """Return whether autocast is on, for the CPU and for CUDA."""
    return tuple(torch.is_autocast_enabled(device) for device in ("cpu", "cuda"))


def tensors_of(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield parameters, buffers, then plain tensor attributes, the last under names of our own."""
    yield from model.named_parameters()
    yield from model.named_buffers()
    for count, (_, tensor) in enumerate(attributes_of(model)):
        yield f"_constant{count}", tensor


def attributes_of(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors that modules hold as plain attributes, or in such, with the attributes' names."""
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in _OF_ALL_MODULES and type(value) not in _PLAIN:
                yield from ((f"{path}.{key}".lstrip("."), tensor) for tensor in tensors_in(value))


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a structure of tuples, lists, dicts and dataclasses."""
    if isinstance(value, torch.Tensor):
        yield value
    else:
        for _, _, each in parts_of(value):
            yield from tensors_in(each)


@torch.no_grad()
def alias_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return another tensor object over the same memory, which does not keep ``tensor`` itself alive."""
    alias = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return alias.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())


def storage_of(tensor: torch.Tensor) -> int:
    """Return what tells a tensor's memory from any other, on every device; of a sparse one, what tells itself."""
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


def same_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors share a storage."""
    return storage_of(a) == storage_of(b)


def parts_of(value: Any) -> list[tuple[Callable[[Any, Any], Any], Any, Any]]:
    """Return what a container holds, each with the function and the key that take it out."""
    if type(value) in _PLAIN:  # most of what modules hold: asked first, since it is asked often
        return []
    if isinstance(value, (tuple, list)):
        return [(operator.getitem, position, each) for position, each in enumerate(value)]
    if isinstance(value, dict):
        return [(operator.getitem, key, each) for key, each in value.items()]
    if is_dataclass(value) and not isinstance(value, type):
        return [(getattr, each.name, getattr(value, each.name, None)) for each in fields(value)]
    return []


def leaves_of(value: Any) -> Iterator[Any]:
    """Yield what a structure of containers holds that is none itself."""
    parts = parts_of(value)
    if not parts and not isinstance(value, (tuple, list, dict)):
        yield value
    for _, _, each in parts:
        yield from leaves_of(each)


def info_of(value: Any) -> Any:
    """Return what is known of a tensor, or of those in a container, in its order; ``None`` for anything else."""
    if isinstance(value, torch.Tensor):
        return TensorInfo.of(value)
    parts = parts_of(value)
    return tuple(info_of(each) for _, _, each in parts) if parts or isinstance(value, (tuple, list)) else None


def random_state() -> tuple[bytes, ...]:
    """Return the states of torch's generators, of the CPU and of the devices in use."""
    generators = [torch.default_generator]
    generators += torch.cuda.default_generators  # none before the first use of a device
    return tuple(generator.get_state().numpy().tobytes() for generator in generators)


def other_random_states() -> tuple[Any, ...]:
    """Return the states of Python's and numpy's generators, which no graph can hold."""
    return random.getstate(), pickle.dumps(np.random.get_state())


def is_users(frame: FrameType) -> bool:
    """Whether a frame runs the user's code: neither torch's nor this package's."""
    name = frame.f_code.co_filename
    return "/torch/" not in name and not name.startswith(_OURS)


def source_line() -> str:
    """The innermost line of the user's code: outside torch's and this package's own files."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(_OURS) and "/torch/" not in frame.filename:
            return f"{frame.filename}:{frame.lineno}"
    return "an unknown line"
