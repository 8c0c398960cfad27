"""What a leaf module computes with besides its operands: forward may exchange it for one call."""

from __future__ import annotations

from typing import Any

from torch import nn

_PLAIN = (bool, int, float, str, tuple, type(None))


def settings_of(module: nn.Module) -> dict[str, Any]:
    """Return the plain attributes of a module, its mode among them, and which tensors it holds."""
    plain = {name: value for name, value in vars(module).items() if isinstance(value, _PLAIN)}
    held = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    return {**plain, "tensors": {name: id(tensor) for name, tensor in held}}
