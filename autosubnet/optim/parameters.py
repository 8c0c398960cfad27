"""Parameters by name, found again after they were replaced in the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autosubnet.errors import StateError
from autosubnet.optim.sharding import split_as, whole


class NamedParameters:
    """The parameters of a model, followed by name.

    ``model.load_state_dict(..., assign=True)`` puts new Parameter objects where the old ones were. An
    optimizer that holds on to the old ones would silently train nothing.

    Attributes:
        current: name to parameter, as of the last ``refresh()``.
    """

    def __init__(self, model: nn.Module) -> None:
        self.current: dict[str, nn.Parameter] = dict(model.named_parameters())
        self._owners: dict[str, tuple[nn.Module, str]] = {}
        for name in self.current:
            path, _, attribute = name.rpartition(".")
            self._owners[name] = (model.get_submodule(path), attribute)

    def refresh(self) -> dict[Tensor, nn.Parameter]:
        """Look every name up again; the replaced parameters, old to new.

        Raises:
            StateError: a parameter is gone or has another shape.
        """
        replaced: dict[Tensor, nn.Parameter] = {}
        found: dict[str, nn.Parameter] = {}
        for name, (module, attribute) in self._owners.items():
            old, new = self.current[name], getattr(module, attribute, None)
            if not isinstance(new, nn.Parameter):
                raise StateError(f"parameter {name!r} is gone from the model; make a new optimizer for the new model")
            if new is not old:
                if new.shape != old.shape:
                    raise StateError(
                        f"parameter {name!r} had shape {tuple(old.shape)} and now has {tuple(new.shape)}; "
                        f"make a new optimizer for the new model"
                    )
                replaced[old] = new
            found[name] = new
        self.current = found
        return replaced


def replace_parameters(optimizer: torch.optim.Optimizer, replaced: Mapping[Tensor, nn.Parameter]) -> None:
    """Exchange parameters in the optimizer's groups, and move their state along."""
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(p, p) for p in group["params"]]
    for old, new in replaced.items():
        if old in optimizer.state:
            state = optimizer.state.pop(old)
            optimizer.state[new] = {key: _like(value, old, new) for key, value in state.items()}


def _like(value: Any, old: Tensor, new: Tensor) -> Any:
    """State shaped like the old parameter as the new one is: device, dtype, split; step counters and the like as is."""
    if isinstance(value, Tensor) and value.shape == old.shape and value.dim() > 0:
        return laid_out_as(split_as(whole(value).to(new.device, new.dtype), new), new)
    return value


def laid_out_as(value: Tensor, parameter: Tensor) -> Tensor:
    """Return state in the memory layout of its parameter: fused steps pair entries by their places in memory."""
    if value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device, requires_grad=False).copy_(value)
