"""Naive implementations that err about what a network returns, writes, draws and tells besides its activations."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import nn

from autosubnet.capture import functions, trace, tracer, values
from autosubnet.errors import CaptureError, NonFiniteError
from autosubnet.graph import suspicion
from autosubnet.ops import linear
from autosubnet.subnet import dual, effects

from .mutant import Mutant, never, no

# Their packages export functions of the same names.
capture = import_module("autosubnet.capture.capture")
construct, erase, going, verify = (
    import_module(f"autosubnet.subnet.{name}") for name in ("construct", "erase", "going", "verify")
)


def nothing_read(plan: Any, name: str, readers: Any) -> Any:
    return np.zeros(plan.view.parameters[name].shape, dtype=bool)


all_seen = effects.Effects.seen


def written_by_hand(self: Any) -> Any:
    """The statistics of a norm are its own affair."""
    return [node for node in all_seen(self) if node in self.effects]


def every_update(self: Any) -> Any:
    """A norm counts, whoever reads it."""
    return [node for node in (*self.effects, *self.updates) if node not in self.erasure.live]


def as_given(func: Any, kwargs: Any) -> Any:
    return kwargs


def torchs_alone(func: Any, kwargs: Any) -> Any:
    """What is not torch's own name is no argument."""
    return {name: value for name, value in kwargs.items() if name not in ("axis", "keepdims")}


def by_position(rule: Any, call: Any) -> Any:
    return call.node.args[0], call.node.args[1]


run = verify.run


def as_proved(view: Any, node: Any, mask: Any, now: Any, before: Any) -> Any:
    """What no rule says of a value is not so."""
    return mask


def in_order(module: Any, inputs: Any, training: bool, draws: Any = "in order") -> Any:
    """Random numbers are what they are."""
    return run(module, inputs, training)


def one_place_by_storage(model: nn.Module) -> None:
    """Two parameters in one storage are two in one place."""
    places: dict[int, str] = {}
    for name, parameter in model.named_parameters():
        other = places.setdefault(parameter.untyped_storage().data_ptr(), name)
        if other != name:
            raise CaptureError(f"parameters {other!r} and {name!r} are two in the same memory")


record_write = tracer.Tracer._record_write


def through_data(self: Any, func: Any, name: str, args: Any, kwargs: Any, target: torch.Tensor) -> Any:
    """What is written without gradients has none."""
    result = record_write(self, func, name, args, kwargs, target)
    if not torch.is_grad_enabled():
        node = self.graph.call_method("detach", (self._node(target),))
        self._values.bind(target, node, node)
    return result


class Never:
    """The class of nothing."""


def all_but(*missed: float) -> Any:
    """A check of weights that misses some numbers."""

    def require_finite(view: Any) -> None:
        for name, parameter in view.parameters.items():
            real = parameter.detach().double()
            for each in missed:
                real = torch.where(real == each, 0.0, real)
            if not torch.isfinite(real).all():
                raise NonFiniteError(f"parameter {name!r} holds NaN or infinite values; restore it")

    return require_finite


def but_nan(view: Any) -> None:
    """A comparison with the largest number, which NaN passes."""
    for name, parameter in view.parameters.items():
        if (parameter.detach().abs() == float("inf")).any():
            raise NonFiniteError(f"parameter {name!r} holds NaN or infinite values; restore it")


MUTANTS = [
    Mutant("infinity is a number", ((construct, "_require_finite", all_but(float("inf"), float("-inf"))),)),
    Mutant("NaN is not infinite", ((construct, "_require_finite", but_nan),)),
    Mutant("every parameter has values", ((nn.parameter, "UninitializedParameter", Never),)),
    Mutant("a module is what it was", ((tracer, "settings_of", no),)),
    Mutant("a parameter that is returned is not read", ((going, "outputs_of", no),)),
    Mutant("no zero has a gradient", ((going, "_read", nothing_read),)),
    Mutant("what is returned is nobody's memory", ((erase, "outputs_of", no),)),
    Mutant("statistics are a norm's own", ((effects.Effects, "seen", written_by_hand),)),
    Mutant("every norm counts", ((effects.Effects, "seen", every_update),)),
    Mutant("arguments have one name", ((functions, "torchs_own", as_given),)),
    Mutant("what torch calls otherwise is no argument", ((functions, "torchs_own", torchs_alone),)),
    Mutant("an operand has a position", ((linear.Bilinear, "_operands", by_position),)),
    Mutant("a write is a write", ((tracer.Tracer, "_keeps_gradient", never),)),
    Mutant("a write without gradients has none", ((tracer.Tracer, "_record_without_gradient", through_data),)),
    Mutant("a view has memory of its own", ((values, "same_memory", never),)),
    Mutant("parameters train all the time", ((functions, "sets_trainable", never),)),
    Mutant("every parameter has memory of its own", ((capture, "_require_own_memory", no),)),
    Mutant("a storage is a place", ((capture, "_require_own_memory", one_place_by_storage),)),
    Mutant("draws follow each other", ((verify, "run", in_order),)),
    Mutant("what is held fixed is no matter", ((trace.Trace, "notes", ()),)),
    Mutant("the graph shows all", ((verify, "_out_of_sight", no),)),
    Mutant("what cannot be followed is alive", ((suspicion, "_suspected", as_proved),)),
    Mutant("the order of parameters is no matter", ((dual, "_names", no),)),
]
