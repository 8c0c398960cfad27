"""A trace with the rule of every node looked up."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cached_property

import networkx as nx
from torch import fx, nn

from autosubnet.capture import Trace
from autosubnet.capture.trace import TensorInfo
from autosubnet.graph.memory import Memory
from autosubnet.graph.sizes import InputSizes
from autosubnet.ops.call import Call, Value
from autosubnet.ops.registry import rule_of
from autosubnet.ops.rule import Rule


class GraphView:
    """The nodes of a trace in topological order, their calls, rules and variables.

    Attributes:
        trace: what is viewed.
        nodes: all nodes but the output.
        index: position of each node.
        calls: the call of each node that applies an operator.
        rules: its rule.
        sizes: of every tensor, by those of the inputs.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.nodes: list[fx.Node] = [node for node in trace.graph.nodes if node.op != "output"]
        self.index = {node: position for position, node in enumerate(self.nodes)}
        self.calls: dict[fx.Node, Call] = {}
        self.rules: dict[fx.Node, Rule] = {}
        for node in self.nodes:
            if node.op in ("call_module", "call_function", "call_method"):
                module = trace.leaf(node)
                self.calls[node] = Call(node, module, self._tensors(str(node.target), module))
                self.rules[node] = rule_of(node, module)
        self.sizes = InputSizes(self.calls, self.rules, batched=trace.batched)
        self.sizes.note_all(self.nodes)

    def _tensors(self, target: str, module: nn.Module | None) -> dict[str, str]:
        if module is None:
            return {}
        roles = [*dict(module.named_parameters()), *dict(module.named_buffers())]
        return {role: self.trace.name_of(target, role) for role in roles}

    def attribute_name(self, node: fx.Node) -> str | None:
        """Return the canonical name of the parameter or buffer that a ``get_attr`` node reads."""
        if node.op != "get_attr" or not isinstance(node.meta["value"], TensorInfo):
            return None
        return self.trace.canonical.get(str(node.target), str(node.target))

    def buffers_of(self, node: fx.Node) -> set[str]:
        """Return the names of the buffers that a call reads, its module's own or fetched ones."""
        fetched = (self.attribute_name(source) for source in node.all_input_nodes)
        names = {*self.calls[node].tensors.values(), *(name for name in fetched if name)}
        return names - self.parameters.keys()

    @cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The model's parameters by their first names."""
        return dict(self.trace.model.named_parameters())

    @cached_property
    def readers_of(self) -> dict[str, list[fx.Node]]:
        """Nodes that read a parameter or buffer: leaf modules that own it, ``get_attr`` nodes that fetch it."""
        readers: dict[str, list[fx.Node]] = {}
        for node in self.nodes:
            name = self.attribute_name(node)
            names = self.calls[node].tensors.values() if node in self.calls else [name] if name else []
            for each in names:
                readers.setdefault(each, []).append(node)
        return readers

    @cached_property
    def variables(self) -> dict[fx.Node, tuple[str, ...]]:
        """Parameters of each node: its module's own, and those that reach it through weights' computations."""
        found: dict[fx.Node, tuple[str, ...]] = {}
        for node in self.nodes:
            names: list[str] = []
            if (name := self.attribute_name(node)) is not None:
                names.append(name)
            if node in self.calls:
                names += self.calls[node].tensors.values()
            for source in node.all_input_nodes:
                if not source.meta["data"]:
                    names += found[source]
            found[node] = tuple(each for each in dict.fromkeys(names) if each in self.parameters)
        return found

    @cached_property
    def in_example(self) -> GraphView:
        """The same, with all that is said of sizes meant of those of the example inputs alone."""
        view = copy(self)
        view.calls = {node: replace(call, in_example=True) for node, call in self.calls.items()}
        return view

    @cached_property
    def memory(self) -> Memory:
        """Memory that is written in place."""
        return Memory(self.nodes)

    @cached_property
    def dominators(self) -> dict[fx.Node, dict[fx.Node, fx.Node]]:
        """For each input, by what it reaches: the last node before that every way from the input leads through."""
        ways = nx.DiGraph((node, follower) for node in self.nodes for follower in self.memory.followers(node))
        inputs = [node for node in self.nodes if node.op == "placeholder" and node.meta["data"] and node in ways]
        return {source: nx.immediate_dominators(ways, source) for source in inputs}

    @cached_property
    def poles(self) -> dict[fx.Node, fx.Node]:
        """Tensors that no operator may get zeros of, each with one that then jumps or is not finite."""
        return {pole: node for node, call in self.calls.items() for pole in self.rules[node].poles(call)}

    def owner(self, value: Value) -> str | None:
        """Return the name of the parameter or buffer that ``value`` is, if it is one as it stands."""
        return value if isinstance(value, str) else self.attribute_name(value)
