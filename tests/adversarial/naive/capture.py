"""Naive capture: memory that is written, and modules that are not what their class says."""

from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

from torch import nn
from torch.nn.utils.prune import BasePruningMethod

from autosubnet.capture import functions, record, tracer, values
from autosubnet.ops import registry
from autosubnet.subnet import emit

from .mutant import Mutant, always, never

run_tracer = tracer.Tracer.run
bind = values.Values.bind
is_leaf = registry.is_leaf
qualified = registry._qualified
module_of = emit._Emitter._module


def without_aliases(self, args, kwargs):
    run_tracer(self, args, kwargs)
    for node in self.graph.nodes:
        node.meta["mutated"] = False


def bound_once(self, tensor, node, root):
    """The first node that computes a tensor stands for it, whatever is written there later."""
    if self._nodes.get(tensor) is None:
        bind(self, tensor, node, root)
    else:
        self.describe(node, tensor)
        node.meta["root"] = root


def nowhere(*args):
    return None


def without_hooks(module):
    return registry._qualified(type(module)) in registry._modules or is_leaf(module)


def copied_without(self, node, module):
    new = module_of(self, node, module)
    new._forward_hooks.clear()
    new._forward_pre_hooks.clear()
    return new


def of_the_base(cls):
    known = (qualified(base) for base in cls.__mro__)
    return next((name for name in known if name in registry._modules), qualified(cls))


def as_stored(self, args, kwargs):
    """Pruned weights without their masks."""

    def stored(method, module, *rest):
        return getattr(module, f"{method._tensor_name}_orig")

    with mock.patch.object(BasePruningMethod, "apply_mask", stored):
        run_tracer(self, args, kwargs)


def followed(self, cls, apply, args):
    return apply(*args) if self._paused else cls.forward(SimpleNamespace(), *args)


MUTANTS = [
    Mutant("no memory is shared", ((tracer.Tracer, "run", without_aliases),)),
    Mutant("nobody else reads what is written", ((values.Values, "owned", always),)),
    Mutant("what is written is not followed", ((functions, "out_of_place", nowhere),)),
    Mutant("a tensor is computed once", ((values.Values, "bind", bound_once),)),
    Mutant(
        "what nobody reads has no effect",
        ((record, "must_stay", never), (emit, "must_stay", never), (emit, "writes", never)),
    ),
    Mutant("hooks do nothing", ((tracer, "is_leaf", without_hooks), (emit._Emitter, "_module", copied_without))),
    Mutant("a module is its base class", ((registry, "_qualified", of_the_base),)),
    Mutant("every module is a leaf", ((tracer, "is_leaf", always),)),
    # An initialised lazy layer is one of another class, which knows nothing of its past.
    Mutant("a layer is of the class that it was made as", ((nn.LazyLinear, "cls_to_become", None),)),
    Mutant("weights are what is stored", ((tracer.Tracer, "run", as_stored),)),
    Mutant("a function has the gradient of what it does", ((tracer.Tracer, "_apply", followed),)),
]
