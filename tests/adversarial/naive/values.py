"""Naive implementations that err about values, dtypes and sizes: what the tests that are no specimens are made for."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from autosubnet.capture import tracer
from autosubnet.capture.observe import autocast
from autosubnet.errors import CaptureError, NonFiniteError, VerificationError
from autosubnet.graph import proof, validity
from autosubnet.graph import zeros as propagation
from autosubnet.graph.suspicion import SuspectedZeros
from autosubnet.ops import arithmetic, elementwise
from autosubnet.ops.masks import uniform
from autosubnet.subnet import emit, precision
from autosubnet.subnet.running import run

from .mutant import Mutant, always, no, nothing

# Their packages export functions of the same names.
construct, verify = (import_module(f"autosubnet.subnet.{name}") for name in ("construct", "verify"))

# ------------------------------------------------------------------ what is zero


def by_bits(parameter: Tensor) -> Any:
    """Zero where no bit is set, the sign's included."""
    value = parameter.detach()
    return ((value == 0) & ~value.signbit()).numpy()


def but_subnormal(parameter: Tensor) -> Any:
    """Zero where smaller than the smallest normal number."""
    return (parameter.detach().abs() < torch.finfo(parameter.dtype).smallest_normal).numpy()


def where_all_is_small(parameter: Tensor) -> Any:
    """A parameter of small numbers is zero, as after the first step of training."""
    return uniform(parameter.ndim, bool(parameter.detach().abs().max() < 0.3))


values_of = propagation.values_of
Propagation = propagation.Propagation


def of_the_frozen(view: Any) -> Any:
    """What trains may become anything."""
    return {name: mask for name, mask in values_of(view).items() if not view.parameters[name].requires_grad}


seen: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def as_first_seen(view: Any) -> Any:
    return seen.setdefault(view.trace.model, values_of(view))


barred = proof.Prover._barred


def zero_already(self: Any, segment: Any, needed: Any, vertices: Any) -> str | None:
    """What is zero has no group of its own."""
    if any(self.view.parameters[name].count_nonzero() == 0 for name in needed):
        return "it is zero already"
    return barred(self, segment, needed, vertices)


def where_both_are(rule: Any, call: Any, zeros: Any) -> Any:
    """0 * inf is NaN."""
    first, second = (arithmetic.mask_of(call, each, zeros) for each in call.node.args[:2])
    return np.logical_and(first, second)


# ------------------------------------------------------------------ what stands for a zero


emit_node = emit._Emitter._node
emit_module = emit._Emitter._module


def recorder(self: Any, node: Any) -> Any:
    """Return what records the call of a method in place of a node."""
    return lambda name, *args, **kwargs: self._new(self.graph.call_method(name, args, kwargs), node.meta["modes"])


def emitted(make: Any) -> Any:
    """Explicit zeros made by ``make(method, a live tensor, sizes)``."""

    def zeros(self: Any, node: Any, beside: Any) -> Any:
        modes = node.meta["modes"]
        live = [each for each in self.env if hasattr(each.meta["value"], "dtype") and modes <= each.meta["modes"]]
        numbers = tuple(self._number(size, modes) for size in self.erasure.explicit[node])
        return make(recorder(self, node), self.env[live[-1]], numbers)

    return zeros


def of_the_default_dtype(method: Any, like: Any, numbers: Any) -> Any:
    return method("new_zeros", like, numbers, dtype=torch.float32)


def like_the_first_input(method: Any, like: Any, numbers: Any) -> Any:
    return method("new_zeros", next(iter(like.graph.nodes)), numbers)


def times_zero(method: Any, like: Any, numbers: Any) -> Any:
    """On the right device, whatever that is."""
    return method("expand", method("mul", method("sum", like), 0), numbers)


def by_definition(self: Any, node: Any) -> Any:
    """Norms are roots of sums of squares, whose slope is infinite at zero."""
    if node.target not in ("norm", "std", F.normalize):
        return emit_node(self, node)
    method, tensor = recorder(self, node), self._mapped(node.args[0])
    squares = method("sum", method("square", tensor), -1, True)
    root = method("sqrt", method("var", tensor, -1, keepdim=True) if node.target == "std" else squares)
    return method("div", tensor, root) if node.target is F.normalize else root


def without_casts(self: Any, node: Any) -> Any:
    casts = node.op == "call_method" and node.target in ("to", "float", "double")
    return self._mapped(node.args[0]) if casts else emit_node(self, node)


def of_the_dtype_seen(self: Any, node: Any) -> Any:
    """Every result is cast to the dtype that it had while tracing."""
    new, info = emit_node(self, node), node.meta["value"]
    if node.op == "placeholder" or not hasattr(info, "dtype"):
        return new
    return recorder(self, node)("to", new, info.dtype)


def in_eval_mode(self: Any, node: Any, module: Any) -> Any:
    """Norms have learned their statistics for good."""
    new = emit_module(self, node, module)
    if isinstance(new, _BatchNorm):
        new.eval()
        new.forward = lambda x: F.batch_norm(x, new.running_mean, new.running_var, new.weight, new.bias)
    return new


def autocast_refused(self: Any) -> None:
    if any(autocast()):
        raise CaptureError("autocast is on")


# ------------------------------------------------------------------ verification


def unverified(trace: Any, subnet: Any, *, draws: Any, kept: Any) -> dict[str, Any]:
    return {"max_difference": 0.0, "relative_difference": 0.0, "dtype": "float64"}


def judged(differs: Any) -> Any:
    """``_verified`` on the example inputs alone, in eval mode, where ``differs(expected, actual, dtype)`` decides."""

    def verified(trace: Any, pair: Any, draws: Any, kept: Any) -> dict[str, Any]:
        outputs = (run(module, pair.inputs, training=False).outputs for module in (pair.model, pair.network))
        for expected, actual in zip(*outputs, strict=True):
            if differs(expected, actual, pair.dtype):
                raise VerificationError("the subnet differs from the model")
        return unverified(trace, pair.network, draws=draws, kept=kept)

    return verified


def unlike(expected: Tensor, actual: Tensor, dtype: torch.dtype) -> bool:
    """As ``torch.allclose`` judges what is finite in the model."""
    tolerance, finite = verify.TOLERANCE.get(dtype, verify.LOW_PRECISION), torch.isfinite(expected)
    return not torch.allclose(expected[finite], actual[finite], rtol=tolerance, atol=tolerance)


def unlike_or_nothing(expected: Tensor, actual: Tensor, dtype: torch.dtype) -> bool:
    """The same, and it has to show something finite."""
    return not torch.isfinite(expected).any() or unlike(expected, actual, dtype)


compare = verify.compare


def by_maximum(expected: list[Tensor], actual: list[Tensor]) -> tuple[float, float, float]:
    """Everything is looked at: NaN differs from NaN."""
    worst = max(float((e - a).abs().max()) for e, a in zip(expected, actual, strict=True))
    return worst, worst, worst


def of_floating_point(expected: list[Tensor], actual: list[Tensor]) -> tuple[float, float, float]:
    chosen = [number for number, each in enumerate(expected) if each.is_floating_point()]
    return compare([expected[number] for number in chosen], [actual[number] for number in chosen])


def by_the_coarsest(expected: list[Tensor], actual: list[Tensor]) -> tuple[float, float, float]:
    """One last place for all outputs: the least precise one's, which of integers is one."""
    worst, relative, _ = compare(expected, actual)
    eps = max(1.0 if verify._is_whole(each) else torch.finfo(each.dtype).eps for each in expected)
    return worst, relative, max(0.0, relative - 16 * eps)


def real_part(tensor: Tensor) -> Tensor:
    return tensor.real.double()


def imaginary_part(tensor: Tensor) -> Tensor:
    return (tensor.imag if tensor.is_complex() else tensor).double()


def own_dtype_only(trace: Any, subnet: Any) -> Any:
    """Both as they are, as if they computed in float64."""
    *_, own = pairs(trace, subnet)
    yield precision.replace(own, dtype=torch.float64)


pairs = precision.pairs


def floating_point_weights(view: Any) -> None:
    for name, parameter in view.parameters.items():
        if parameter.is_floating_point() and not torch.isfinite(parameter).all():
            raise NonFiniteError(f"parameter {name!r} holds NaN or infinite values")


def real_weights(view: Any) -> None:
    """Where only the real part of a complex number is looked at."""
    for name, parameter in view.parameters.items():
        if not torch.isfinite(parameter.real).all():
            raise NonFiniteError(f"parameter {name!r} holds NaN or infinite values; restore it before constructing")


def same_as_seen(call: Any, operand: Any) -> bool:
    """What has the shape of the sum at the example's sizes can stand for it."""
    return hasattr(operand, "meta") and operand.meta["value"] == call.node.meta["value"]


MUTANTS = [
    Mutant("minus zero is a number", ((propagation, "of_tensor", by_bits),)),
    Mutant("a parameter of small numbers is zero", ((propagation, "of_tensor", where_all_is_small),)),
    Mutant("what is below the normal numbers is zero", ((propagation, "of_tensor", but_subnormal),)),
    Mutant("what trains is not zero", ((construct, "values_of", of_the_frozen),)),
    Mutant("zeros are looked for once", ((construct, "values_of", as_first_seen),)),
    Mutant("what is zero already is no group", ((proof.Prover, "_barred", zero_already),)),
    Mutant(
        "validity looks at values", ((validity, "SuspectedZeros", lambda view: SuspectedZeros(view, values_of(view))),)
    ),
    Mutant("nobody need know of constants", ((construct, "constant_outputs", no),)),
    Mutant("zero times infinity is not zero", ((arithmetic.Product, "zeros", where_both_are),)),
    Mutant("a zero has the default dtype", ((emit._Emitter, "_zeros", emitted(of_the_default_dtype)),)),
    Mutant("a zero is like the first input", ((emit._Emitter, "_zeros", emitted(like_the_first_input)),)),
    Mutant(
        "a zero is something times zero, and has roots",
        (
            (emit._Emitter, "_zeros", emitted(times_zero)),
            (elementwise.SquareRoot, "zeros", nothing),
            (elementwise.Power, "zeros", nothing),
            (emit._Emitter, "_node", by_definition),
        ),
    ),
    Mutant("casts are no operations", ((emit._Emitter, "_node", without_casts),)),
    Mutant("results have the dtype that was seen", ((emit._Emitter, "_node", of_the_dtype_seen),)),
    Mutant("norms stay in eval mode", ((emit._Emitter, "_module", in_eval_mode),)),
    Mutant("who casts by itself cannot be followed", ((tracer.Tracer, "_require_same_autocast", autocast_refused),)),
    Mutant("a size of one is one", ((arithmetic, "passes_as", same_as_seen),)),
    Mutant("autocast is not seen", ((tracer.Tracer, "_require_same_autocast", no),)),
    Mutant("what is proved needs no verification", ((construct, "verify", unverified),)),
    Mutant("what is not finite is not looked at", ((verify, "_verified", judged(unlike)),)),
    Mutant("an empty output shows nothing", ((verify, "_verified", judged(unlike_or_nothing)),)),
    Mutant("NaN differs from NaN", ((verify, "compare", by_maximum),)),
    Mutant("floating-point outputs are compared", ((verify, "compare", of_floating_point),)),
    Mutant("all outputs round like the coarsest", ((verify, "compare", by_the_coarsest),)),
    Mutant("real parts are compared", ((verify, "_reals", real_part),)),
    Mutant("imaginary parts are compared", ((verify, "_reals", imaginary_part),)),
    Mutant("float64 is exact", ((precision, "_is_pure", always),)),
    Mutant("every model runs in float64", ((precision, "_runs", always),)),
    Mutant("every dtype rounds like float64", ((verify, "pairs", own_dtype_only),)),
    Mutant("floating-point weights can be NaN", ((construct, "_require_finite", floating_point_weights),)),
    Mutant("real parts of weights can be NaN", ((construct, "_require_finite", real_weights),)),
]
