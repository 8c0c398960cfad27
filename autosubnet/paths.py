"""A trainable scalar on every path into every joint, of any model: architecture weights (SparseNAS, Eq. 1).

OTOv3 searches over trainable variables alone and so cannot remove a skip or a pooling; it names that as its loss. With
a weight on it every path can go: by the optimizers of SparseNAS over the weights, or by H2SPG as a group like others.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping

import torch
from torch import fx, nn

from autosubnet.capture.trace import MODES, Mode, Trace, graph_of
from autosubnet.errors import InputError
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.graph.naming import path_of
from autosubnet.graph.view import GraphView
from autosubnet.ops.arithmetic import AddProduct, Choice, Lerp, Sum
from autosubnet.ops.attention import AddMatMul
from autosubnet.ops.call import is_tensor
from autosubnet.ops.concat import Concat, Stack
from autosubnet.ops.effects import writes
from autosubnet.ops.kind import Kind
from autosubnet.ops.normalization import Normalization
from autosubnet.subnet.dual import DualGraphModule

HOME = "path_weights"
JOINTS = (Sum, AddProduct, AddMatMul, Choice, Concat, Stack)
_NAMED = 3  # paths in a note

Paths = dict[fx.Node, list[tuple[fx.Node, int]]]  # a joint -> for each path the vertex that reads it, and where


def with_path_weights(trace: Trace) -> tuple[fx.GraphModule, tuple[Group, ...]]:
    """Return a network that computes the same, with a weight of one on every path into every joint.

    Joints are sums, concatenations, stacks and choices (``maximum``, ``where``, ``lerp``) of two tensors or more that
    come from the inputs; a chain of sums is one. The product in an ``addcmul`` or ``addmm`` is a path, with its weight
    on one factor. Each weight is a parameter of its own, ``path_weights.JOINT.NUMBER``, so that each path is removable
    by itself. All else is shared with the model: training the one trains the other. What the model's code decided by
    values while it was captured stays as it was decided.

    Returns:
        The network, and for each joint the group of its weights: A_(n), the incoming weights of a node.

    Raises:
        InputError: there is no joint.
    """
    paths = _paths(GraphView(trace))
    if not paths:
        raise InputError(
            "architecture_weights needs paths that meet in a sum, a cat, a stack or a choice (maximum, where, lerp), "
            "and this model has none; factors of a product get no weights, nor do vstack and dstack"
        )
    graph = copy.deepcopy(trace.graph)
    copied = dict(zip(trace.graph.nodes, graph.nodes, strict=True))
    home = _free_name(trace.model)
    weights: dict[str, nn.Parameter] = {}
    groups = []
    for joint, found in paths.items():
        names = [f"{home}.{joint.name}.{number}" for number in range(len(found))]
        for name, (reader, place) in zip(names, found, strict=True):
            weights[name] = _one(trace.model)
            _scale(graph, copied[reader], place, name)
        groups.append(
            Group(
                path_of(joint),
                "paths",
                tuple(map(ParameterSlice, names)),
                len(names),
                (),
            )
        )
    network = _network(trace, {mode: graph_of(graph, mode) for mode in MODES}, weights)
    return network.train(trace.model.training), tuple(groups)


def notes_of(view: GraphView, groups: tuple[Group, ...]) -> tuple[str, ...]:
    """Return what a person should know of the weights: which of them what is ahead of them can make up for.

    The penalty on a weight is dodged where the output grows that it multiplies: where that is of an operator, or of a
    norm, with weights of its own that are trained.

    Args:
        view: of the network with path weights.
        groups: its path weights.
    """
    names = {piece.name for group in groups for piece in group.slices}
    loose = []
    for node in view.nodes:
        if node.op == "get_attr" and node.target in names:
            product = next(iter(node.users))
            before = product.all_input_nodes[0]
            source = before.all_input_nodes[0] if before.target is torch.clone else before
            if _scales(view, source):
                loose.append(str(node.target))
    if not loose:
        return ()
    more = f" and {len(loose) - _NAMED} more" if len(loose) > _NAMED else ""
    return (
        f"{len(loose)} of {len(names)} paths end in an operator with trained weights, which can grow while the path's "
        f"weight shrinks, and so dodge a penalty on it: {', '.join(loose[:_NAMED])}{more}; let them end in a norm "
        f"without weight and bias (affine=False), or train the operators with weight decay",
    )


def _scales(view: GraphView, node: fx.Node) -> bool:
    """Whether a vertex is linear in weights of its own that are trained: a convolution and the like, or a norm."""
    rule = view.rules.get(node)
    if rule is None or not (rule.kind is Kind.STEM or isinstance(rule, Normalization)):
        return False
    leaf = view.trace.leaf(node)
    own = leaf.parameters() if leaf is not None else map(view.trace.attribute, _fetched(node))
    return any(isinstance(each, nn.Parameter) and each.requires_grad for each in own)


def _fetched(node: fx.Node) -> list[str]:
    return [str(each.target) for each in node.all_input_nodes if each.op == "get_attr"]


def _paths(view: GraphView) -> Paths:
    """Return the paths into each joint; those into a sum that only another sum reads belong to the latter."""
    found: Paths = {}
    for node in view.nodes:
        rule = view.rules.get(node)
        if not isinstance(rule, JOINTS) or writes(node, view.trace.leaf(node)):
            continue
        paths: list[tuple[fx.Node, int]] = []
        for place, operand in enumerate(_operands(node)):
            if not is_tensor(operand) or not operand.meta["data"] or not _is_number(operand.meta["value"].dtype):
                continue  # a table is no path
            if isinstance(rule, (AddProduct, AddMatMul)) and place == 2 and (node, 1) in paths:
                continue  # the other factor of a product that has its weight
            if isinstance(rule, Lerp) and place == 2:
                continue  # which says how much of the two, and is none itself
            chain = operand in found and len(operand.users) == 1 and _operands(node).count(operand) == 1
            chain = chain and all(isinstance(view.rules[each], Sum) for each in (node, operand))
            paths += found.pop(operand) if chain else [(node, place)]
        if len(paths) > 1:
            found[node] = paths
    return found


def _operands(node: fx.Node) -> list[fx.Node]:
    """Return what a vertex reads, in order, as often as it reads it."""
    found: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), found.append)
    return found


def _is_number(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def _free_name(model: nn.Module) -> str:
    """Return a name that the model does not use: it may have weights of an earlier search."""
    taken = {name for name, _ in (*model.named_children(), *model.named_parameters(), *model.named_buffers())}
    first = {name.partition(".")[0] for name in taken}
    numbered = (f"{HOME}_{number}" for number in itertools.count(1))
    return next(name for name in itertools.chain([HOME], numbered) if name not in first)


def _one(model: nn.Module) -> nn.Parameter:
    """Return a weight of the model's own dtype; it has no dimensions and so takes no part in type promotion."""
    like = next((each for each in model.parameters() if each.is_floating_point()), torch.empty(0))
    return nn.Parameter(torch.ones((), dtype=like.dtype, device=like.device))


def _scale(graph: fx.Graph, reader: fx.Node, place: int, weight: str) -> None:
    """Let ``reader`` read what it reads at ``place`` times a weight."""
    operand = _operands(reader)[place]
    places = itertools.count()
    with graph.inserting_before(reader):
        scalar = graph.create_node("get_attr", weight)
        made = [scalar]
        if operand.meta["mutated"]:  # the product's gradient needs it as it is now
            operand = graph.call_function(torch.clone, (operand,))
            made.append(operand)
        product = graph.call_function(torch.mul, (operand, scalar))
    reader.args, reader.kwargs = fx.map_arg(
        (reader.args, reader.kwargs), lambda each: product if next(places) == place else each
    )
    for node in (*made, product):
        node.meta["modes"] = reader.meta["modes"]


def _network(trace: Trace, graphs: dict[Mode, fx.Graph], weights: Mapping[str, nn.Parameter]) -> fx.GraphModule:
    named = {str(n.target) for g in graphs.values() for n in g.nodes if n.op in ("call_module", "get_attr")}
    attributes = {name: weights[name] if name in weights else trace.attribute(name) for name in sorted(named)}
    return DualGraphModule(attributes, graphs) if trace.dual else fx.GraphModule(attributes, graphs["eval"])
