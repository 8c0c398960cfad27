"""The captured model: one graph for both modes, with what was seen at each node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import fx, nn

from autosubnet.ops.modes import operand_of

Mode = Literal["train", "eval"]
MODES: tuple[Mode, ...] = ("train", "eval")


@dataclass(frozen=True)
class TensorInfo:
    """Shape, dtype and strides of a tensor at the example inputs."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    strides: tuple[int, ...]

    @classmethod
    def of(cls, tensor: torch.Tensor) -> TensorInfo:
        """Return what is known of ``tensor``."""
        strides = tensor.stride() if tensor.layout == torch.strided else ()
        return cls(tuple(int.__int__(size) for size in tensor.shape), tensor.dtype, tuple(strides))


@dataclass(frozen=True)
class Trace:
    """A captured model.

    The graph holds the nodes of both modes; ``node.meta["modes"]`` says in which a node runs, a ``by_mode`` node
    stands where the two meet again, and
    ``node.meta["value"]`` holds a :class:`TensorInfo` or a tuple of them. Where the two modes return
    different nodes, the output holds ``{"train": ..., "eval": ...}`` and ``dual`` is true.

    Attributes:
        model: the user's model; parameters and leaf modules are looked up in it by name.
        graph: every operation of both modes, in-place operations made out of place where that is exact.
        replaced: leaf modules that stand in for the user's (in-place activations made out of place) and
            tensor constants, by the name that the graph uses.
        args: positional example inputs.
        kwargs: keyword example inputs.
        dual: whether train and eval mode run different nodes.
        baked: values that the model's Python code read off its tensors, with their source lines.
        frozen: what the graph holds fixed that the example inputs could not vary, such as the batch size.
        batched: whether the first sizes of all inputs are one, the batch size.
        opaque: why a module was not followed and is one vertex, by its name.
    """

    model: nn.Module
    graph: fx.Graph
    replaced: Mapping[str, Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    dual: bool
    baked: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    batched: bool = True
    canonical: Mapping[str, str] = field(default_factory=dict)
    opaque: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the capture, in sentences."""
        return (
            *(f"not followed: module {name!r}, since {why}" for name, why in self.opaque.items()),
            *(f"frozen: {each}" for each in self.frozen),
            *(f"read off a tensor while tracing: {each}" for each in self.baked),
        )

    def attribute(self, target: str) -> Any:
        """Return the leaf module, parameter, buffer or constant that a node's target names."""
        if target in self.replaced:
            return self.replaced[target]
        path, _, leaf = target.rpartition(".")
        return getattr(self.model.get_submodule(path), leaf)

    def leaf(self, node: fx.Node) -> nn.Module | None:
        """Return the leaf module that a node calls."""
        module: nn.Module | None = self.attribute(str(node.target)) if node.op == "call_module" else None
        return module

    def name_of(self, target: str, role: str) -> str:
        """Return the first name of the tensor ``role`` of the leaf module ``target`` (tied ones share it)."""
        name = f"{target}.{role}"
        return self.canonical.get(name, name)

    def module(self, mode: Mode) -> fx.GraphModule:
        """Return the graph of one mode as a module that shares its tensors with the model."""
        graph = graph_of(self.graph, mode)
        targets = {node.target for node in graph.nodes if node.op in ("call_module", "get_attr")}
        return fx.GraphModule({target: self.attribute(target) for target in targets}, graph)


def output_of(graph: fx.Graph, mode: Mode) -> Any:
    """Return what the graph returns in ``mode``, as nodes in the structure of the model's output."""
    result = graph.output_node().args[0]
    return result[mode] if graph.output_node().meta.get("dual") else result  # type: ignore[index,call-overload]  # a dict where dual


def outputs_of(graph: fx.Graph, mode: Mode) -> list[fx.Node]:
    """Return the nodes that compute what the graph returns in ``mode``, containers looked into."""
    found: list[fx.Node] = []
    fx.map_arg(output_of(graph, mode), found.append)
    made = [node for node in found if isinstance(node.target, type)]
    return [*(node for node in found if node not in made), *(each for node in made for each in node.all_input_nodes)]


def graph_of(graph: fx.Graph, mode: Mode) -> fx.Graph:
    """Return a copy of the nodes that run in ``mode``; names and meta data stay."""
    copy = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node.op == "output" or mode not in node.meta["modes"]:
            continue
        if (operand := operand_of(node, mode)) is not None:
            copies[node] = copies[operand]
        else:
            copies[node] = copy.node_copy(node, copies.__getitem__)
            copies[node].name = node.name
    copy.output(fx.map_arg(output_of(graph, mode), copies.__getitem__))
    return copy
