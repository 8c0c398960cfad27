"""In which numbers two networks are compared: float64 where they allow it, else their own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from autosubnet.capture import Inputs, Trace
from autosubnet.capture.observe import tensors_in
from autosubnet.errors import VerificationError
from autosubnet.subnet.running import run


@dataclass(frozen=True)
class Pair:
    """Copies of a model and of what stands for it.

    Attributes:
        model: the copy of the model.
        network: the copy of the other.
        inputs: example inputs for both.
        dtype: the least precise floating-point dtype in which they compute.
    """

    model: nn.Module
    network: nn.Module
    inputs: Inputs
    dtype: torch.dtype


def pairs(trace: Trace, subnet: fx.GraphModule) -> Iterator[Pair]:
    """Yield copies in float64, if they run, and then in their own dtypes, unless the first computed in float64 only.

    A graph that casts may cast float64 down, to a dtype that was another when it was captured: then only the dtypes
    of the example inputs tell whether the two are equal.
    """
    model = _copy(trace.model).double()
    wide = Pair(
        model,
        copy.deepcopy(subnet, _in_common(trace.model, subnet, model)).double(),
        Inputs(trace.args, trace.kwargs).map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor),
        torch.float64,
    )
    if _runs(wide):
        yield wide
        if _is_pure(wide):
            return
    own = Pair(_copy(trace.model), copy.deepcopy(subnet), Inputs(trace.args, trace.kwargs), torch.float32)
    yield replace(own, dtype=max(_dtypes(own.model, own.inputs), key=_coarseness, default=torch.float32))


def _in_common(model: nn.Module, subnet: nn.Module, wide: nn.Module) -> dict[int, Any]:
    """Return, by the identity of the subnet's, the wide parameters that stand for both: equal ones, laid out alike."""
    theirs, copies = dict(model.named_parameters()), dict(wide.named_parameters())
    return {
        id(parameter): copies[name]
        for name, parameter in subnet.named_parameters()
        if name in theirs and parameter.stride() == theirs[name].stride() and torch.equal(parameter, theirs[name])
    }


def _runs(pair: Pair) -> bool:
    try:
        run(pair.model, pair.inputs, training=False)
    except Exception:  # noqa: BLE001  # torch refuses to mix dtypes, or the user's forward refuses this one
        return False
    return True


def _is_pure(pair: Pair) -> bool:
    """Whether both networks run in one dtype only."""
    try:
        return _dtypes(pair.model, pair.inputs) | _dtypes(pair.network, pair.inputs) == {pair.dtype}
    except Exception:  # noqa: BLE001  # the network holds a dtype that its model has not
        return False


def _coarseness(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def _dtypes(module: nn.Module, inputs: Inputs) -> set[torch.dtype]:
    """Return the real dtypes of all floating-point and complex results, in both modes."""
    seen: set[torch.dtype] = set()
    with _Watch(seen):
        for training in (False, True):
            run(module, inputs, training)
    return seen


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's class has no types
    def __init__(self, seen: set[torch.dtype]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.seen = seen

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            if tensor.is_floating_point() or tensor.is_complex():
                self.seen.add(tensor.dtype.to_real())
        return result


def _copy(model: nn.Module) -> nn.Module:
    """Copy a model, tensors that are computed from its parameters (pruning masks, weight norm) included."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        computed = [each for each in vars(module).values() if isinstance(each, torch.Tensor) and not each.is_leaf]
        memo.update({id(each): each.detach().clone() for each in computed})
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise VerificationError(
            f"the model cannot be copied, so that nothing can be compared: {error}; pass verify=False to do without"
        ) from error
