"""Third pass of construction: the smaller graph and its own copies of the tensors that are left."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.node import map_arg

from autosubnet.capture.trace import MODES, Mode, TensorInfo, output_of
from autosubnet.errors import CaptureError
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation
from autosubnet.ops.call import Value
from autosubnet.ops.effects import must_stay, writes
from autosubnet.ops.masks import Mask
from autosubnet.ops.memory import kept_format, order
from autosubnet.ops.modes import operand_of
from autosubnet.ops.rule import Alias, Replace
from autosubnet.ops.sizes import Arithmetic, Expression, Number, Size, leaves
from autosubnet.subnet.cut import Cuttable
from autosubnet.subnet.dual import DualGraphModule
from autosubnet.subnet.erase import Erasure, Place


@dataclass(frozen=True)
class Plan:
    """What the passes before have decided."""

    view: GraphView
    propagation: Propagation
    erasure: Erasure
    cuts: Mapping[Cuttable, Mapping[int, Mask]]

    def gone(self, node: fx.Node) -> frozenset[fx.Node]:
        """Return the blocks of a concat that are cut out whole."""
        call, rule = self.view.calls[node], self.view.rules[node]
        return frozenset(block for block in rule.absorbs(call) if self._is_cut((self.erasure.resolve(block), node)))

    def _is_cut(self, place: Place) -> bool:
        return any(cut.all() for cut in self.cuts.get(place, {}).values())

    def kept(self, value: Value) -> dict[int, tuple[int, ...]]:
        """Return the surviving indices of a tensor along each dimension that is cut."""
        return {dim: tuple(int(i) for i in np.flatnonzero(~cut)) for dim, cut in self.cuts.get(value, {}).items()}


def emit(plan: Plan) -> fx.GraphModule:
    """Return the smaller network; its tensors are copies, under the names that they have in the model."""
    emitter = _Emitter(plan)
    emitter.run()
    if plan.view.trace.dual:
        graphs = {mode: emitter.graph_of(mode) for mode in MODES}
        subnet: fx.GraphModule = DualGraphModule(emitter.read_by(*graphs.values()), graphs)
    else:
        graph = emitter.graph_of("eval")
        subnet = fx.GraphModule(emitter.read_by(graph), graph, "Subnet")
    _persist_as_before(subnet, plan.view.trace.model)
    return subnet


def _persist_as_before(subnet: fx.GraphModule, model: nn.Module) -> None:
    """Keep out of the state dict what the model keeps out of it: some buffers, and constants."""
    saved = model.state_dict(keep_vars=True).keys()
    for name, _ in list(subnet.named_buffers(remove_duplicate=False)):
        path, _, leaf = name.rpartition(".")
        if name not in saved:
            subnet.get_submodule(path)._non_persistent_buffers_set.add(leaf)


def _drop_unneeded(graph: fx.Graph, origin: Mapping[fx.Node, fx.Node], stays: set[fx.Node]) -> None:
    """Take out what neither an output needs nor ``stays``.

    Of that, a write to memory that was made on the way stays only where what is needed holds the same memory, or where
    it draws what it writes: later draws would be others.
    """
    roots = {node: old.meta["root"] for node, old in origin.items()}
    undrawn = {node for node in stays if origin[node].meta.get("effect") and not origin[node].meta["draws"]}
    passing = {node for node in undrawn if roots[node].op not in OUTSIDE}
    needed: set[fx.Node] = set()
    pending = [node for node in graph.nodes if node.op in ("placeholder", "output") or node in stays - passing]
    while pending:
        node = pending.pop()
        if node not in needed:
            needed.add(node)
            pending += node.all_input_nodes
        if not pending:
            held = {roots[each] for each in needed if each in roots}
            pending = [each for each in passing - needed if roots[each] in held]
    for node in reversed(graph.nodes):
        if node not in needed:
            graph.erase_node(node)


OUTSIDE = ("placeholder", "get_attr")  # memory that others see: an input's, a buffer's


class _Emitter:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.view = plan.view
        self.erasure = plan.erasure
        self.graph = fx.Graph()
        self.env: dict[fx.Node, Any] = {}
        self.origin: dict[fx.Node, fx.Node] = {}
        self.attributes: dict[str, Any] = {}
        self.sizes: dict[Any, fx.Node] = {}  # a size, and the modes that it is read in -> what computes it
        self.tensors: dict[int, Any] = {}  # id of a tensor of the model -> our copy of it

    def run(self) -> None:
        for node in self.view.nodes:
            if node in self.erasure.numbers:
                self.env[node] = self._number(self.erasure.numbers[node], node.meta["modes"])
            elif node in self.erasure.live:
                self._put_zeros(node.all_input_nodes)
                self.env[node] = self._node(node)
        self._put_zeros(self.erasure.explicit)  # what is left is read by outputs alone

    def graph_of(self, mode: Mode) -> fx.Graph:
        """Return the part of the graph that runs in one mode."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for node in self.graph.nodes:
            if mode not in node.meta["modes"]:
                continue
            if (operand := operand_of(node, mode)) is not None:
                copies[node] = copies[operand]
            else:
                copies[node] = graph.node_copy(node, copies.__getitem__)
        result = output_of(self.view.trace.graph, mode)
        graph.output(map_arg(result, lambda node: self._copied(node, copies)))
        origin = {copies[new]: old for new, old in self.origin.items() if new in copies}
        _drop_unneeded(graph, origin, {node for node, old in origin.items() if self._must_stay(old, mode)})
        graph.lint()
        return graph

    def _copied(self, node: fx.Node, copies: Mapping[fx.Node, fx.Node]) -> Any:
        """Return what stands for a node in a graph of one mode: a node of it, or a number that is known by now."""
        new = self._mapped(node)
        return copies[new] if isinstance(new, fx.Node) else new

    def read_by(self, *graphs: fx.Graph) -> dict[str, Any]:
        """Return the leaf modules and tensors that the graphs read."""
        targets = {str(node.target) for graph in graphs for node in graph.nodes}
        return {target: value for target, value in self.attributes.items() if target in targets}

    def _must_stay(self, node: fx.Node, mode: Mode) -> bool:
        module = self.view.calls[node].module if node in self.view.calls else None
        return must_stay(node, module) if mode == "train" else node.meta["drew_in_eval"] or writes(node, module)

    def _node(self, node: fx.Node) -> Any:
        replacement = self._replacement(node)
        if isinstance(replacement, Alias):
            return self.env[self.erasure.resolve(replacement.operand)]
        if replacement is None:
            if (number := self._folded(node)) is not None:
                return number
            new = self.graph.node_copy(node, self._mapped)
        else:
            new = self._replaced(replacement, node)
        new.meta = {"modes": node.meta["modes"]}
        self.origin[new] = node
        self._attribute(node)
        return new

    def _replaced(self, replacement: Replace, node: fx.Node) -> fx.Node:
        args, kwargs = map_arg((replacement.args, replacement.kwargs), self._mapped)
        new = self.graph.call_function(replacement.target, args, kwargs, name=node.name)
        if replacement.layout is None:
            return new
        self._new(new, node.meta["modes"])
        return self.graph.call_function(torch.clone, (new,), {"memory_format": replacement.layout})

    def _replacement(self, node: fx.Node) -> Alias | Replace | None:
        if node in self.erasure.replace:
            return self.erasure.replace[node]
        if node not in self.view.calls:
            return None
        gone = self.plan.gone(node)
        return self.view.rules[node].drops(self.view.calls[node], gone) if gone else None

    def _folded(self, node: fx.Node) -> float | None:
        """Return the result of arithmetic on sizes that are plain numbers by now."""
        if node.op != "call_function" or getattr(node.target, "__module__", None) not in ("_operator", "math"):
            return None
        args = map_arg(node.args, self._mapped)
        plain = bool(args) and all(isinstance(each, (int, float)) for each in args) and not node.kwargs
        return node.target(*args) if plain else None  # type: ignore[operator]  # a function

    def _mapped(self, node: fx.Node) -> Any:
        return self.env[self.erasure.resolve(node)]

    def _put_zeros(self, operands: Iterable[fx.Node]) -> None:
        """Put the explicit zeros among some operands ahead of what reads them."""
        operands = [self.erasure.resolve(operand) for operand in operands]
        for zero in operands:
            if zero in self.erasure.explicit and zero not in self.env:
                self.env[zero] = self._zeros(zero, beside=operands)

    def _zeros(self, node: fx.Node, beside: Sequence[fx.Node]) -> fx.Node:
        """Return zeros like one of the operands beside them: they have one dtype under autocast as well.

        A dtype that is named would stay when the network is cast.
        """
        info, sizes = node.meta["value"], self.erasure.explicit[node]
        modes = node.meta["modes"]
        followed = [self.erasure.resolve(leaf.node) for leaf in leaves(sizes) if isinstance(leaf, Size)]
        like = self._like(info.dtype, modes, (*beside, *followed))
        dtype = {} if like.meta["value"].dtype == info.dtype else {"dtype": info.dtype}
        dims = order(info.shape, info.strides)
        numbers = tuple(self._number(sizes[dim], modes) for dim in dims)
        zeros = self._new(self.graph.call_method("new_zeros", (self.env[like], numbers), dtype), modes)
        if dims == sorted(dims):
            return zeros
        return self._new(self.graph.call_method("permute", (zeros, tuple(map(dims.index, range(len(dims)))))), modes)

    def _like(self, dtype: torch.dtype, modes: frozenset[Mode], near: Sequence[fx.Node]) -> fx.Node:
        """Return a tensor that is there already: of this dtype where one is, the near ones first."""
        first = None
        for each in chain((each for each in near if each in self.env), self.env):  # mostly the first will do
            if isinstance(each.meta["value"], TensorInfo) and modes <= each.meta["modes"]:
                if each.meta["value"].dtype == dtype:
                    return each
                first = first or each
        return first  # type: ignore[return-value]  # an input is always there

    def _number(self, size: Expression, modes: frozenset[Mode]) -> Any:
        """Return a size as a number or as the node that computes it, each once."""
        if isinstance(size, Number):
            return self.env[size.node]
        if not isinstance(size, (Size, Arithmetic)):
            return size
        if (size, modes) not in self.sizes:
            self.sizes[size, modes] = self._new(self._computed(size, modes), modes)
        return self.sizes[size, modes]

    def _computed(self, size: Size | Arithmetic, modes: frozenset[Mode]) -> fx.Node:
        if isinstance(size, Size):
            return self.graph.call_method("size", (self.env[self.erasure.resolve(size.node)], size.dim))
        return self.graph.call_function(size.function, tuple(self._number(each, modes) for each in size.operands))

    def _new(self, node: fx.Node, modes: Any) -> fx.Node:
        node.meta = {"modes": modes}
        return node

    # ------------------------------------------------------------------ tensors

    def _attribute(self, node: fx.Node) -> None:
        target = str(node.target)
        if node.op not in ("call_module", "get_attr") or target in self.attributes:
            return
        value = self.view.trace.attribute(target)
        if node.op == "call_module":
            self.attributes[target] = self._module(node, value)
        elif isinstance(value, torch.Tensor):
            name = self.view.attribute_name(node) or target
            self.attributes[target] = self._tensor(name, value)
        else:
            self.attributes[target] = value

    def _module(self, node: fx.Node, module: nn.Module) -> nn.Module:
        call = self.view.calls[node]
        owned = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for role, tensor in owned.items():
            self._tensor(call.tensors[role], tensor)
        known = len(self.tensors)
        try:
            new = copy.deepcopy(module, self.tensors)
        except Exception as error:
            raise CaptureError(f"module {str(node.target)!r} cannot be copied into the subnet: {error}") from error
        while len(self.tensors) > known:  # what it noted there; a memo of its own would be long for each module
            self.tensors.popitem()
        self.view.rules[node].resized(call, new, self._count)
        return new

    def _tensor(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in self.tensors:
            value = tensor.detach()
            for dim, indices in self.plan.kept(name).items():
                value = value.index_select(dim, torch.tensor(indices, dtype=torch.long, device=value.device))
            plain = value.layout == torch.strided and not value.is_quantized
            value = value.clone(memory_format=kept_format(tensor)) if plain else value.clone()
            if isinstance(tensor, nn.Parameter):
                value = nn.Parameter(value, requires_grad=tensor.requires_grad)
            self.tensors[id(tensor)] = value
        result: torch.Tensor = self.tensors[id(tensor)]
        return result

    def _count(self, value: Value, dim: int) -> int | None:
        if isinstance(value, fx.Node):
            node = self.erasure.resolve(value)
            value = self.view.attribute_name(node) or node
        cut = self.plan.cuts.get(value, {}).get(dim)
        return None if cut is None else int((~cut).sum())
