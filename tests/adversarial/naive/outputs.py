"""Naive implementations that err about what a network returns, writes, draws and tells besides its activations."""

from __future__ import annotations

from importlib import import_module
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import nn

from autosubnet.capture import (
    attributes,
    functions,
    observe,
    preserve,
    recording,
    sharing,
    trace,
    tracer,
    values,
)
from autosubnet.errors import NonFiniteError, VerificationError
from autosubnet.graph import suspicion, validity, written
from autosubnet.ops import (
    arithmetic,
    assignment,
    convolution,
    creation,
    layout,
    linear,
    reduction,
    slicing,
)
from autosubnet.subnet import dual, effects, planning

from .mutant import Mutant, always, never, no

# Their packages export functions of the same names.
capture = import_module("autosubnet.capture.capture")
construct, erase, going, reference, verify = (
    import_module(f"autosubnet.subnet.{name}") for name in ("construct", "erase", "going", "reference", "verify")
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


def as_proved(analysis: Any, node: Any, mask: Any, of_number: Any) -> Any:
    """What no rule says of a value is not so."""
    return mask


def relative_buffers(expected: Any, actual: Any, kept: Any, dtype: Any) -> None:
    """A buffer is compared as an output is."""
    for name, buffer in actual.items():
        other = expected[name]
        for dim, indices in kept.get(name, {}).items():
            other = other.index_select(dim, torch.tensor(indices))
        if verify.compare([other], [buffer])[2] > verify._tolerance(dtype):
            raise VerificationError(f"buffer {name!r} differs")


MOVERS = (
    layout.Layout,
    layout.Selection,
    layout.Pad,
    slicing.GetItem,
    reduction.Spatial,
    linear.Embedding,
    convolution.Convolution,
    arithmetic.Choice,
    arithmetic.MaskedFill,
)


def as_it_is(view: Any) -> Any:
    """What holds at the example's sizes holds at all."""
    return view


def of_the_value(self: Any, before: Any, value: Any) -> Any:
    """What is written to is what is written."""
    return np.full((1,) * before.ndim, value.all())


def unconditional(rule: Any, call: Any) -> None:
    """Nothing is chosen."""


def one_alive(masks: Any) -> Any:
    """One of several is alive."""
    return [np.array(False)]


def in_order(module: Any, inputs: Any, training: bool, draws: Any = "in order") -> Any:
    """Random numbers are what they are."""
    return run(module, inputs, training)


def by_storage(a: torch.Tensor, b: torch.Tensor) -> bool:
    """What is in one storage is in one place."""
    return observe.same_memory(a, b)


def all_pairs(names: Any, tensors: Any) -> Any:
    return combinations(names, 2)


def by_address(a: torch.Tensor, b: torch.Tensor) -> bool:
    """What is in one place begins there."""
    return a.data_ptr() == b.data_ptr()


require_own_memory = sharing.require_own_memory


def of_parameters(tensors: Any, written: Any) -> None:
    """Training changes parameters, and nothing else changes."""
    require_own_memory({name: each for name, each in tensors.items() if isinstance(each, nn.Parameter)}, ())


def of_all(tensors: Any, written: Any) -> None:
    """What lies in one place changes."""
    require_own_memory(tensors, tensors)


def of_all_there_is(trace: Any, fetched: Any) -> Any:
    """Whatever a model holds is used."""
    return dict(observe.tensors_of(trace.model)), set()


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
    Mutant("every tensor has memory of its own", ((capture, "require_own_memory", no),)),
    Mutant("only training changes a model", ((capture, "require_own_memory", of_parameters),)),
    Mutant("a place is where it begins", ((sharing, "overlap", by_address),)),
    Mutant("a storage is a place", ((sharing, "overlap", by_storage), (sharing, "_in_reach", all_pairs))),
    Mutant("a storage is a parameter's", ((tracer, "overlap", by_storage),)),
    Mutant("all that shares memory is changed", ((capture, "require_own_memory", of_all),)),
    Mutant("all that a model holds is read", ((capture, "_used", of_all_there_is),)),
    Mutant("an attribute is a constant", ((attributes.AttributeMemory, "require_no_state", no),)),
    Mutant("what is left is state", ((recording.Recording, "reads_input", always),)),
    Mutant("who holds a list holds all", ((preserve, "_hold", no), (preserve, "attributes_of", no))),
    Mutant("rounding is a difference", ((verify, "_require_same_buffers", relative_buffers),)),
    Mutant("draws follow each other", ((verify, "run", in_order), (reference, "run", in_order))),
    Mutant("zeros have no sign", ((planning, "_told_by_sign", no),)),
    Mutant("what is held fixed is no matter", ((trace.Trace, "notes", ()),)),
    Mutant("the graph shows all", ((verify, "_out_of_sight", no),)),
    Mutant("what cannot be followed is alive", ((suspicion, "_suspected", as_proved),)),
    Mutant(
        "a choice is open",
        ((arithmetic.Choice, "chosen", unconditional), (arithmetic.MaskedFill, "chosen", unconditional)),
    ),
    Mutant("nothing is made of zeros", ((creation.Fresh, "is_blank", never), (creation.Filled, "is_blank", never))),
    Mutant("written memory is alive", ((written, "_is_told_apart", never), (suspicion, "_suspected", as_proved))),
    Mutant("an assignment is to all", ((assignment.Assignment, "written", of_the_value),)),
    Mutant("written memory is of one piece", ((written, "_is_told_apart", never),)),
    Mutant("what is moved is alive", tuple((each, "blurs", never) for each in MOVERS)),
    Mutant("a size is any size", ((validity.GraphView, "in_example", property(as_it_is)),)),
    Mutant("a name may mean anything", ((slicing, "leaves", one_alive),)),
    Mutant("what is returned is all there is", ((verify, "_require_same_buffers", no),)),
    Mutant("the order of parameters is no matter", ((dual, "_names", no),)),
]
