"""Naive construction: which values are zero, what is emitted, and the groups that are looked for."""

from __future__ import annotations

import copy
from importlib import import_module

import torch
from torch import fx, nn

from autosubnet.capture import record
from autosubnet.graph import partition, sizes, validity
from autosubnet.graph import zeros as propagation
from autosubnet.ops import normalization
from autosubnet.ops.sizes import is_size
from autosubnet.subnet import emit, erase

from .mutant import Mutant, always, no

construct = import_module("autosubnet.subnet.construct")  # its package exports a function of the same name
values_of = propagation.values_of
emit_all = emit.emit
tensor_of = emit._Emitter._tensor
zeros_at = emit._Emitter._zeros
module_of = emit._Emitter._module
emit_node = emit._Emitter._node
graph_of = emit._Emitter.graph_of
follow = erase._Liveness._follow
express = erase._Liveness._express
live = erase._Liveness.run


# ------------------------------------------------------------------ zeros


def lesser_half(parameter):
    """The rows of the smaller norms, as in pruning by magnitude."""
    norms = parameter.detach().reshape(len(parameter), -1).norm(dim=1) if parameter.ndim else parameter.detach()[None]
    return (norms <= norms.median()).numpy().reshape((-1,) + (1,) * (parameter.ndim - 1))


def of_what_trains(view):
    return {name: mask for name, mask in values_of(view).items() if view.parameters[name].requires_grad}


def of_what_one_reads(view):
    return {name: mask for name, mask in values_of(view).items() if len(view.readers_of.get(name, ())) < 2}


def as_in_the_example(self, node, info, output):
    return list(info.shape)


def one_number(self, node, beside):
    like = next(each for each in self.view.nodes if each.op == "placeholder")
    zero = self.graph.call_method("new_zeros", (self.env[like], ()), {"dtype": node.meta["value"].dtype})
    return self._new(zero, node.meta["modes"])


def like_the_input(self, node, beside):
    """A zero of the input's dtype."""
    zero = zeros_at(self, node, beside)
    like = next(each for each in self.view.nodes if each.op == "placeholder")
    made = next(each for each in reversed(self.graph.nodes) if each.target == "new_zeros")
    made.args, made.kwargs = (self.env[like], *made.args[1:]), {}
    return zero


def computed_as_before(self, node):
    """What is still read is still computed, zero or not."""
    if is_size(node):
        express(self, node)
    elif node not in self.erasure.live:
        self._keep(node)


# ------------------------------------------------------------------ tensors and modules


def everything_trains(self, name, tensor):
    value = tensor_of(self, name, tensor)
    return value.requires_grad_() if isinstance(value, nn.Parameter) else value


def of_one_dtype(self, name, tensor):
    """Counters and tables too."""
    value = tensor_of(self, name, tensor)
    return value if isinstance(value, nn.Parameter) or value.is_complex() else value.to(torch.float64)


def contiguous(tensor):
    return torch.contiguous_format


def tensors_of_its_own(self, node, module):
    self.tensors.clear()
    return module_of(self, node, module)


def made_anew(self, node, module):
    """A norm of the right size; that it had a momentum is forgotten."""
    new = module_of(self, node, module)
    if hasattr(new, "momentum"):
        new.momentum = 0.1
    return new


def padded_with_zeros(self, node, module):
    """A convolution of the right size; that it did not pad with zeros is forgotten."""
    new = module_of(self, node, module)
    if hasattr(new, "padding_mode"):
        new.padding_mode = "zeros"
    return new


def with_the_uncalled(plan):
    """What the graph does not show is carried over as it is."""
    subnet = emit_all(plan)
    called = {str(node.target) for node in plan.view.nodes if node.op in ("call_module", "get_attr")}
    for name, module in plan.view.trace.model.named_children():
        if not any(each == name or each.startswith(f"{name}.") for each in called):
            subnet.add_submodule(name, copy.deepcopy(module))
    return subnet


# ------------------------------------------------------------------ nodes and outputs


def called_once(self, node):
    earlier = [each for each in self.env if each.op == node.op == "call_module" and each.target == node.target]
    return self.env[earlier[0]] if earlier else emit_node(self, node)


def attached(self, node):
    return self._mapped(node.args[0]) if node.target in ("detach", torch.detach) else emit_node(self, node)


def of_one_result(self, node):
    """The first of several."""
    new = emit_node(self, node)
    if self.view.calls.get(node) and self.view.calls[node].name == "getitem":
        source, index = node.args
        if isinstance(source.meta["value"], tuple) and isinstance(index, int):
            new.args = (new.args[0], 0)
    return new


def without_the_unread(self, mode):
    graph = graph_of(self, mode)
    for node in list(graph.nodes):
        if node.op == "placeholder" and not node.users:
            graph.erase_node(node)
    return graph


def returning(change):
    """Return other outputs, where there are several."""

    def changed(self, mode):
        graph = graph_of(self, mode)
        output = graph.output_node()
        found = []
        fx.map_arg(output.args, found.append)
        tensors = [each for node in found for each in (node.all_input_nodes if type(node.target) is type else [node])]
        if len(tensors) > 1:
            output.args = (change(tensors),)
        return graph

    return changed


def first(tensors):
    return tensors[0]


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


def with_all_statistics(self):
    """What updates buffers has an effect, so that it stays."""
    for node, rule in self.view.rules.items():
        if rule.is_stateful(self.view.calls[node]):
            self._keep(node)
    live(self)


def by_recursion(self, node):
    follow(self, node)
    while self.pending:
        self._follow(self.erasure.resolve(self.pending.pop()))


MUTANTS = [
    Mutant("the lesser half of a layer is zero", ((propagation, "of_tensor", lesser_half),), coarse=True),
    Mutant("what does not train stays", ((construct, "values_of", of_what_trains),)),
    Mutant("what several read stays", ((construct, "values_of", of_what_one_reads),)),
    Mutant("sizes are those of the example", ((sizes.InputSizes, "_of", as_in_the_example),)),
    Mutant("a zero is one number", ((emit._Emitter, "_zeros", one_number),)),
    Mutant("a zero is of the input's dtype", ((emit._Emitter, "_zeros", like_the_input),)),
    Mutant("what is read is computed", ((erase._Liveness, "_express", computed_as_before),)),
    Mutant("every parameter trains", ((emit._Emitter, "_tensor", everything_trains),)),
    Mutant("every tensor is of one dtype", ((emit._Emitter, "_tensor", of_one_dtype),)),
    Mutant("weights lie one row after the other", ((emit, "kept_format", contiguous),)),
    Mutant("every module has tensors of its own", ((emit._Emitter, "_module", tensors_of_its_own),)),
    Mutant("a norm's momentum is one tenth", ((emit._Emitter, "_module", made_anew),)),
    Mutant("every convolution pads with zeros", ((emit._Emitter, "_module", padded_with_zeros),)),
    Mutant("what nobody calls is carried over", ((construct, "emit", with_the_uncalled),)),
    Mutant("a module is called once", ((emit._Emitter, "_node", called_once),)),
    Mutant("gradients flow where values do", ((emit._Emitter, "_node", attached),)),
    Mutant("an operator has one result", ((emit._Emitter, "_node", of_one_result),)),
    Mutant("an input that nobody reads goes", ((emit._Emitter, "graph_of", without_the_unread),)),
    Mutant("a network returns one tensor", ((emit._Emitter, "graph_of", returning(first)),)),
    Mutant("a network returns a tuple of tensors", ((emit._Emitter, "graph_of", returning(tuple)),)),
    Mutant("train mode runs the graph of eval mode", ((construct, "emit", one_mode("eval")),)),
    Mutant(
        "what was recorded is needed",
        (
            (record, "_drop_unread", no),
            (erase._Liveness, "run", everything_lives),
            (emit, "must_stay", always),
            (emit, "writes", always),
        ),
        coarse=True,
    ),
    Mutant("what updates buffers stays", ((erase._Liveness, "run", with_all_statistics),)),
    Mutant("graphs are shallow", ((erase._Liveness, "_follow", by_recursion),)),
    Mutant(
        "what has variables can go",
        ((partition, "_at_joints", always), (validity.Validity, "is_valid", always)),
        groups=True,
        coarse=True,
    ),
    Mutant("every parameter can be zero", ((normalization.WeightNorm, "poles", no),), groups=True),
]
