"""Naive pruners: one rule or one analysis replaced by what somebody in a hurry would write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from typing import Any
from unittest import mock

import numpy as np
from torch import fx, nn

from autosubnet.capture import record, tracer, values
from autosubnet.graph import partition, sizes, validity
from autosubnet.graph import zeros as propagation
from autosubnet.ops import (
    arithmetic,
    attention,
    concat,
    convolution,
    elementwise,
    linear,
    normalization,
    registry,
)
from autosubnet.ops import call as calls
from autosubnet.ops.masks import is_zero, uniform
from autosubnet.ops.rule import Alias, Free, Replace, Rule, Tie, filled, tie_all
from autosubnet.subnet import emit, erase

construct = import_module("autosubnet.subnet.construct")  # its package exports a function of the same name


@dataclass(frozen=True)
class Mutant:
    """A naive implementation.

    Attributes:
        name: what it believes.
        patches: (where, attribute, what stands there instead).
        groups: whether it is the search for groups that is naive, rather than what removes zeros.
    """

    name: str
    patches: tuple[tuple[Any, str, Any], ...]
    groups: bool = False

    @contextmanager
    def believed(self) -> Iterator[None]:
        """Make the package believe it."""
        with ExitStack() as stack:
            for where, attribute, value in self.patches:
                stack.enter_context(mock.patch.object(where, attribute, value))
            yield


# ------------------------------------------------------------------ joints


def where_one_is(rule, call, zeros):
    """Zero where any operand is."""
    masks = [arithmetic.mask_of(call, each, zeros) for each in call.operands]
    return reduce(np.logical_or, masks, uniform(len(call.shape), False))


def if_one_is(rule, call, zeros):
    """Zero if any operand wholly is."""
    return filled(call.nothing_known(), any(is_zero(zeros(each)) for each in call.operands))


def nothing(rule, call, zeros):
    return call.nothing_known()


def what_is_left(rule, call, zero):
    """The first operand that is not zero stands for the result."""
    left = [each for each in call.operands if each not in zero]
    return Alias(left[0]) if left else None


def same_layout_or_none(rule, call, zero):
    left = what_is_left(rule, call, zero)
    return left if left and arithmetic.passes_as(call, left.operand) else None


def same_shape(call, operand):
    return isinstance(operand, fx.Node) and calls.shape_of(operand) == call.shape


def same_dtype(call, operand):
    return isinstance(operand, fx.Node) and calls.dtype_of(operand) == calls.dtype_of(call.node)


mask_of = arithmetic.mask_of


def numbers_are_zero(call, operand, zeros):
    return mask_of(call, operand, zeros) if isinstance(operand, fx.Node) else uniform(len(call.shape), True)


def blocks_left(rule, call, zero):
    """The same join of the blocks that are not zero."""
    left = [each for each in call.argument(0, "tensors") if each not in zero]
    return Replace(call.node.target, (left, *call.node.args[1:]), call.node.kwargs) if left else None


concat_ties = concat.Concat.ties


def at_the_front(rule, call):
    for tie in concat_ties(rule, call):
        yield Tie(tie.source, tie.source_dim, tie.target, tie.target_dim)


def input_and_weight_apart(ties):
    """The input's indices go without those of the weight."""

    def apart(rule, call):
        for tie in ties(rule, call):
            if isinstance(tie, Tie) and tie.source is call.input and isinstance(tie.target, str):
                yield Free(tie.source, tie.source_dim)
                yield Free(tie.target, tie.target_dim)
            else:
                yield tie

    return apart


# ------------------------------------------------------------------ one tensor


def of_the_input(rule, call, zeros):
    """The input's mask, unmoved."""
    return zeros(call.input)


def weight_or_input(rule, call, zeros):
    """Zero where the weight is, or the input; whatever the bias."""
    weight, _ = rule.affine_mask(call, zeros)
    mask = zeros(call.input)
    if weight is None:
        return mask
    return mask | (weight if isinstance(rule, normalization.LayerNorm) else by_channel(call, weight))


def weight_alone(rule, call, zeros):
    """Zero where the weight is, whatever the bias."""
    weight, _ = rule.affine_mask(call, zeros)
    return uniform(len(call.shape), False) if weight is None else by_channel(call, weight)


def by_channel(call, mask):
    return mask.reshape(1, -1, *(1,) * (len(call.shape) - 2))


def all_dims_and_parameters(rule, call):
    """Channels in front of the norm go with channels behind it, as if each had its own statistics."""
    yield from tie_all(call, call.input)
    channels = 1 if isinstance(rule, normalization.GroupNorm) else len(call.shape) - 1
    for value in rule.parameters(call):
        if value is not None:
            yield Tie(call.node, channels, value, 0)


# ------------------------------------------------------------------ capture

run_tracer = tracer.Tracer.run
is_leaf = registry.is_leaf
qualified = registry._qualified


def without_aliases(self, args, kwargs):
    run_tracer(self, args, kwargs)
    for node in self.graph.nodes:
        node.meta["mutated"] = False


def without_hooks(module):
    return registry._qualified(type(module)) in registry._modules or is_leaf(module)


def of_the_base(cls):
    known = (qualified(base) for base in cls.__mro__)
    return next((name for name in known if name in registry._modules), qualified(cls))


# ------------------------------------------------------------------ construction

tensor_of = emit._Emitter._tensor
emit_node = emit._Emitter._node
follow = erase._Liveness._follow


def lesser_half(parameter):
    """The rows of the smaller norms, as in pruning by magnitude."""
    norms = parameter.detach().reshape(len(parameter), -1).norm(dim=1) if parameter.ndim else parameter.detach()[None]
    return (norms <= norms.median()).numpy().reshape((-1,) + (1,) * (parameter.ndim - 1))


def as_in_the_example(self, node, info, output):
    return list(info.shape)


def one_number(self, node):
    like = next(each for each in self.view.nodes if each.op == "placeholder")
    zero = self.graph.call_method("new_zeros", (self.env[like], ()), {"dtype": node.meta["value"].dtype})
    return self._new(zero, node.meta["modes"])


def everything_trains(self, name, tensor):
    value = tensor_of(self, name, tensor)
    return value.requires_grad_() if isinstance(value, nn.Parameter) else value


def called_once(self, node):
    earlier = [each for each in self.env if each.op == node.op == "call_module" and each.target == node.target]
    return self.env[earlier[0]] if earlier else emit_node(self, node)


def one_mode(mode):
    def emit_one(plan):
        emitter = emit._Emitter(plan)
        emitter.run()
        graph = emitter.graph_of(mode)
        return fx.GraphModule(emitter.read_by(graph), graph, "Subnet")

    return emit_one


def everything_lives(self):
    for node in self.view.nodes:
        self._keep(node)
    self.pending.clear()


def by_recursion(self, node):
    follow(self, node)
    while self.pending:
        self._follow(self.erasure.resolve(self.pending.pop()))


def never(*args):
    return False


def always(*args):
    return True


def no(*args):
    return ()


MUTANTS = [
    Mutant("a sum is zero where one term is", ((arithmetic.Sum, "zeros", where_one_is),)),
    Mutant("a zero term goes whatever the sign", ((arithmetic.Sum, "drops", same_layout_or_none),)),
    Mutant("a zero term goes whatever its shape", ((arithmetic, "passes_as", same_dtype),)),
    Mutant("a zero term goes whatever its dtype", ((arithmetic, "passes_as", same_shape),)),
    Mutant("a number is zero", ((arithmetic, "mask_of", numbers_are_zero),)),
    Mutant(
        "a product loses its zero factor",
        tuple(
            patch
            for rule in (arithmetic.Product, arithmetic.Quotient, attention.MatMul, attention.Einsum)
            for patch in ((rule, "zeros", nothing), (rule, "drops", what_is_left))
        ),
    ),
    Mutant("a choice loses its zero operand", ((arithmetic.Choice, "drops", what_is_left),)),
    Mutant("a choice is zero where one operand is", ((arithmetic.Choice, "zeros", where_one_is),)),
    Mutant("addcmul loses its zero operand", ((arithmetic.AddProduct, "drops", what_is_left),)),
    Mutant("addcmul is zero where one operand is", ((arithmetic.AddProduct, "zeros", where_one_is),)),
    Mutant("a comparison with zero is false", ((arithmetic.Compare, "zeros", where_one_is),)),
    Mutant("a stack loses its zero blocks", ((concat.Stack, "drops", blocks_left),)),
    Mutant("a stack is zero where one block is", ((concat.Stack, "zeros", if_one_is),)),
    Mutant("a concat is zero where one block is", ((concat.Concat, "zeros", if_one_is),)),
    Mutant("blocks are cut at the front", ((concat.Concat, "ties", at_the_front),)),
    Mutant(
        "readers of a concat keep their columns",
        tuple((rule, "ties", input_and_weight_apart(rule.ties)) for rule in (linear.Linear, convolution.Convolution)),
    ),
    Mutant("unknown operators keep zero", ((Rule, "zeros", if_one_is),)),
    Mutant("a product that is added is zero where one operand is", ((attention.AddMatMul, "zeros", if_one_is),)),
    Mutant("every activation keeps zero", ((elementwise.LosesZero, "zeros", of_the_input),)),
    Mutant("softmax keeps zero", ((elementwise.Softmax, "zeros", if_one_is),)),
    Mutant("a power is zero where one operand is", ((elementwise.Power, "zeros", where_one_is),)),
    Mutant("BatchNorm keeps zero", ((normalization.BatchNorm, "zeros", weight_or_input),)),
    Mutant("BatchNorm has no bias", ((normalization.BatchNorm, "zeros", weight_alone),)),
    Mutant("GroupNorm has no bias", ((normalization.GroupNorm, "zeros", weight_or_input),)),
    Mutant("LayerNorm has no bias", ((normalization.LayerNorm, "zeros", weight_or_input),)),
    Mutant(
        "channels are normalised by themselves",
        tuple(
            patch
            for rule in (normalization.GroupNorm, normalization.LayerNorm)
            for patch in ((rule, "zeros", weight_or_input), (rule, "ties", all_dims_and_parameters))
        ),
    ),
    Mutant("no memory is shared", ((tracer.Tracer, "run", without_aliases),)),
    Mutant("nobody else reads what is written", ((values.Values, "owned", always),)),
    Mutant(
        "what nobody reads has no effect",
        ((record, "must_stay", never), (emit, "must_stay", never), (emit, "writes", never)),
    ),
    Mutant("hooks do nothing", ((tracer, "is_leaf", without_hooks),)),
    Mutant("a module is its base class", ((registry, "_qualified", of_the_base),)),
    Mutant("every module is a leaf", ((tracer, "is_leaf", always),)),
    Mutant("a module is called once", ((emit._Emitter, "_node", called_once),)),
    Mutant("every parameter trains", ((emit._Emitter, "_tensor", everything_trains),)),
    Mutant("the lesser half of a layer is zero", ((propagation, "of_tensor", lesser_half),)),
    Mutant("sizes are those of the example", ((sizes.InputSizes, "_of", as_in_the_example),)),
    Mutant("a zero is one number", ((emit._Emitter, "_zeros", one_number),)),
    Mutant("train mode runs the graph of eval mode", ((construct, "emit", one_mode("eval")),)),
    Mutant(
        "what was recorded is needed",
        (
            (record, "_drop_unread", no),
            (erase._Liveness, "run", everything_lives),
            (emit, "must_stay", always),
            (emit, "writes", always),
        ),
    ),
    Mutant("graphs are shallow", ((erase._Liveness, "_follow", by_recursion),)),
    Mutant(
        "what has variables can go",
        ((partition, "_at_joints", always), (validity.Validity, "is_valid", always)),
        groups=True,
    ),
    Mutant("every parameter can be zero", ((normalization.WeightNorm, "poles", no),), groups=True),
]
# Zero spreads, and sizes are those of the example: what no mutant above is made for breaks here.
IN_A_HURRY = Mutant(
    "a pruner in a hurry",
    (
        (arithmetic.Sum, "zeros", where_one_is),
        (concat.Concat, "zeros", if_one_is),
        (sizes.InputSizes, "_of", as_in_the_example),
        (tracer.Tracer, "run", without_aliases),
    ),
)
