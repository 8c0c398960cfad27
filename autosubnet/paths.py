"""A trainable scalar on every path into every joint, of any model: architecture weights (SparseNAS, Eq. 1).

OTOv3 searches over trainable variables alone and so cannot remove a skip or a pooling; it names that as its loss. With
a weight on it every path can go: by the optimizers of SparseNAS over the weights, or by H2SPG as a group like others.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import fx, nn

from autosubnet.capture.trace import MODES, Mode, Trace, graph_of
from autosubnet.errors import InputError
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.graph.view import GraphView
from autosubnet.ops.arithmetic import Sum
from autosubnet.ops.concat import Concat, Stack
from autosubnet.ops.effects import writes
from autosubnet.subnet.dual import DualGraphModule

HOME = "path_weights"

Paths = dict[fx.Node, list[tuple[fx.Node, fx.Node]]]  # a joint -> for each path the operand, and who reads it there


def with_path_weights(trace: Trace) -> tuple[fx.GraphModule, tuple[Group, ...]]:
    """Return a network that computes the same, with a weight of one on every path into every joint.

    Joints are sums, concatenations and stacks of two tensors or more that come from the inputs; a chain of sums is
    one. Each weight is a parameter of its own, ``path_weights.JOINT.NUMBER``, so that each path is removable by itself.
    All else is shared with the model: training the one trains the other.

    Returns:
        The network, and for each joint the group of its weights: A_(n), the incoming weights of a node.

    Raises:
        InputError: there is no joint.
    """
    paths = _paths(GraphView(trace))
    if not paths:
        raise InputError(
            "architecture_weights needs paths that meet: this model has no sum and no concatenation of them"
        )
    graph = copy.deepcopy(trace.graph)
    copied = dict(zip(trace.graph.nodes, graph.nodes, strict=True))
    weights: dict[str, nn.Parameter] = {}
    groups = []
    for joint, found in paths.items():
        names = [f"{HOME}.{joint.name}.{number}" for number in range(len(found))]
        for name, (operand, reader) in zip(names, found, strict=True):
            weights[name] = nn.Parameter(_one_like(operand, trace))
            _scale(graph, copied[operand], copied[reader], name)
        groups.append(Group(joint.name, "paths", tuple(map(ParameterSlice, names)), len(names), ()))
    network = _network(trace, {mode: graph_of(graph, mode) for mode in MODES}, weights)
    return network.train(trace.model.training), tuple(groups)


def _paths(view: GraphView) -> Paths:
    """Return the paths into each joint; those into a sum that only another sum reads belong to the latter."""
    found: Paths = {}
    for node in view.nodes:
        if not isinstance(view.rules.get(node), (Sum, Concat, Stack)) or writes(node, view.trace.leaf(node)):
            continue
        paths = []
        for operand in view.calls[node].operands:
            if not operand.meta["data"] or not operand.meta["value"].dtype.is_floating_point:
                continue  # a table is no path
            chain = operand in found and len(operand.users) == 1
            chain = chain and all(isinstance(view.rules[each], Sum) for each in (node, operand))
            paths += found.pop(operand) if chain else [(operand, node)]
        if len(paths) > 1:
            found[node] = paths
    return found


def _one_like(operand: fx.Node, trace: Trace) -> torch.Tensor:
    device = next((parameter.device for parameter in trace.model.parameters()), None)
    return torch.ones((), dtype=operand.meta["value"].dtype, device=device)


def _scale(graph: fx.Graph, operand: fx.Node, reader: fx.Node, weight: str) -> None:
    """Let ``reader`` read the operand times a weight."""
    with graph.inserting_before(reader):
        scalar = graph.create_node("get_attr", weight)
        product = graph.call_function(torch.mul, (operand, scalar))
    reader.replace_input_with(operand, product)
    for node in (scalar, product):
        node.meta["modes"] = reader.meta["modes"]


def _network(trace: Trace, graphs: dict[Mode, fx.Graph], weights: Mapping[str, nn.Parameter]) -> fx.GraphModule:
    named = {str(n.target) for g in graphs.values() for n in g.nodes if n.op in ("call_module", "get_attr")}
    attributes = {name: weights[name] if name in weights else trace.attribute(name) for name in sorted(named)}
    return DualGraphModule(attributes, graphs) if trace.dual else fx.GraphModule(attributes, graphs["eval"])
