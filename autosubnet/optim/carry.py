"""Take an optimizer's state along from a model to its subnet (promise 3 of every construction)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autosubnet.errors import InputError, StateError
from autosubnet.optim.base import VARIANTS
from autosubnet.optim.h2spg import H2SPG
from autosubnet.optim.parameters import laid_out_as

Kept = Mapping[str, Mapping[int, Sequence[int]]]
"""Parameter name to dimension to surviving indices, only where a parameter was sliced."""


def carry_optimizer(
    optimizer: torch.optim.Optimizer,
    named_params_old: Mapping[str, nn.Parameter],
    subnet: nn.Module,
    kept: Kept,
) -> torch.optim.Optimizer:
    """A plain torch optimizer for the subnet that goes on where the model's optimizer stands.

    Parameter groups keep their order, options and learning rates; what a group lost is left out of it, and a
    group may become empty. State shaped like its parameter (momenta) is sliced as the parameter was, and lies in
    memory as the new one does; the rest (``step``) is copied. Parameters that are not the model's, such as a loss
    function's, are taken over as they are.

    Args:
        optimizer: an ``H2SPG``, or ``torch.optim.SGD``, ``Adam`` or ``AdamW``, over the model.
        named_params_old: the model's parameters by name.
        subnet: has those of them that survive, under the same names.
        kept: for each sliced parameter its surviving indices by dimension.

    Returns:
        ``SGD``, ``Adam`` or ``AdamW``; shares no tensor of its state with ``optimizer``.

    Raises:
        InputError: another kind of optimizer, or one of another model.
        StateError: a parameter of the subnet is not in the model, or not what ``kept`` makes of the model's.
    """
    make = _plain_class(optimizer)
    new_by_name = dict(subnet.named_parameters(remove_duplicate=False))
    for name, new in new_by_name.items():
        _check_shape(name, new, named_params_old, kept.get(name, {}))
    # A tied parameter may survive under any of its names.
    names: dict[Tensor, str] = {p: name for name, p in named_params_old.items()}
    names.update({p: name for name, p in named_params_old.items() if name in new_by_name})
    if not any(p in names for p in _parameters(optimizer)):
        raise InputError("the optimizer holds no parameter of this model; pass the one that trained it")
    successors = {p: new_by_name.get(names[p]) if p in names else p for p in _parameters(optimizer)}
    carried = make([_carry_group(group, successors) for group in optimizer.param_groups])
    carried.defaults.update(optimizer.defaults)
    for old, successor in successors.items():
        if successor is not None and old in optimizer.state:
            cut = kept.get(names[old], {}) if old in names else {}
            state = optimizer.state[old]
            carried.state[successor] = {key: _carry_value(value, old, successor, cut) for key, value in state.items()}
    return carried


def _plain_class(optimizer: torch.optim.Optimizer) -> Callable[..., torch.optim.Optimizer]:
    if isinstance(optimizer, H2SPG):
        return VARIANTS[optimizer.variant]
    if type(optimizer) in VARIANTS.values():
        return type(optimizer)
    raise InputError(f"cannot carry the state of {type(optimizer).__name__}; use H2SPG, SGD, Adam or AdamW")


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _check_shape(
    name: str, new: Tensor, named_params_old: Mapping[str, Tensor], cut: Mapping[int, Sequence[int]]
) -> None:
    if name not in named_params_old:
        raise StateError(f"the subnet's parameter {name!r} is not in the model; construct it from this model")
    expected = list(named_params_old[name].shape)
    for dim, indices in cut.items():
        expected[dim] = len(indices)
    if list(new.shape) != expected:
        raise StateError(
            f"the subnet's parameter {name!r} has shape {tuple(new.shape)}, "
            f"its kept indices say {tuple(expected)}; use the report of this very subnet"
        )


def _carry_group(group: Mapping[str, Any], successors: Mapping[Tensor, Tensor | None]) -> dict[str, Any]:
    """The group's options, with the parameters that survive."""
    surviving = [(i, successors[p]) for i, p in enumerate(group["params"]) if successors[p] is not None]
    carried = {**group, "params": [p for _, p in surviving]}
    if "param_names" in group:
        carried["param_names"] = [group["param_names"][i] for i, _ in surviving]
    return carried


def _carry_value(value: Any, old: Tensor, new: Tensor, cut: Mapping[int, Sequence[int]]) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.shape != old.shape:
        return value.clone()
    for dim, indices in cut.items():
        value = value.index_select(dim, torch.tensor(indices, dtype=torch.long, device=value.device))
    return laid_out_as(value if cut else value.clone(), new)
