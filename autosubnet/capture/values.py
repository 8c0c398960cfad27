"""Which node computes each live tensor, and which tensors share memory."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import fx, nn
from torch.utils.weak import WeakIdKeyDictionary

from autosubnet.capture.observe import info_of, same_memory, tensors_in, tensors_of


class Values:
    """The tensors of a run, by the nodes of the graph that is recorded.

    Args:
        graph: what is recorded.
        model: what is run; its parameters, buffers and plain tensor attributes become ``get_attr`` nodes when read.

    Attributes:
        module: the name of the module that runs, for ``meta["module"]`` of the nodes.
        detaches: whether what is computed under ``no_grad`` has to be told from the rest.
        fetched: parameters, buffers and constants that operations read by themselves, by name.
        mutated: memory roots that an in-place operation has written.
    """

    def __init__(self, graph: fx.Graph, model: nn.Module) -> None:
        self.graph = graph
        self.module = ""
        self.detaches = False
        self.fetched: dict[str, torch.Tensor] = {}
        self.mutated: set[fx.Node] = set()
        self._nodes: Any = WeakIdKeyDictionary()  # tensor -> the node that computes it
        self._memory: dict[fx.Node, list[weakref.ref[torch.Tensor]]] = {}  # memory root -> tensors over it
        self._names: Any = WeakIdKeyDictionary()
        for name, tensor in tensors_of(model):
            if tensor not in self._names:
                self._names[tensor] = name

    def node(self, tensor: torch.Tensor) -> fx.Node | None:
        """Return the node that computes a tensor, or fetches it from the model; ``None`` if it is neither's."""
        node: fx.Node | None = self._nodes.get(tensor)
        return self._fetch(tensor) if node is None else node

    def name(self, tensor: torch.Tensor) -> str | None:
        """Return the name of a tensor of the model."""
        name: str | None = self._names.get(tensor)
        return name

    def computed(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is computed in the graph, or was fetched into it."""
        return tensor in self._nodes

    def knows(self, tensor: Any) -> bool:
        """Whether a tensor is computed in the graph or is the model's."""
        return isinstance(tensor, torch.Tensor) and (tensor in self._nodes or tensor in self._names)

    def bind(self, tensor: torch.Tensor, node: fx.Node, root: fx.Node) -> None:
        """Note that ``node`` computes ``tensor``, over the memory of ``root``."""
        self.describe(node, tensor)
        node.meta["root"] = root
        hidden = self.detaches and not torch.is_grad_enabled() and not tensor.requires_grad
        if hidden and node.op not in ("placeholder", "get_attr"):
            node = self.graph.call_method("detach", (node,))
            self.describe(node, tensor)
            node.meta["root"] = root
        before = self._nodes.get(tensor)
        if before is None or before.meta["root"] is not root:
            self._memory.setdefault(root, []).append(weakref.ref(tensor))
        self._nodes[tensor] = node

    def describe(self, node: fx.Node, value: Any) -> None:
        """Note the module that runs and what its value looks like."""
        node.meta["module"] = self.module
        node.meta["value"] = info_of(value)

    def root(self, result: torch.Tensor, node: fx.Node, sources: Any) -> fx.Node:
        """Return the node whose memory ``result`` shares, among those that it was computed from, or its own."""
        for source in tensors_in(sources):
            if same_memory(source, result):
                shared = self.node(source)
                if shared is not None:
                    root: fx.Node = shared.meta["root"]
                    return root
        return node

    def owned(self, tensor: torch.Tensor) -> bool:
        """Whether the memory of ``tensor`` was made by an operation and no other live tensor shares it."""
        node = self.node(tensor)
        if node is None or node.meta["root"].op == "get_attr" or node.meta["root"] in self.mutated:
            return False
        return all(other is tensor for other in self.holders(node.meta["root"]))

    def holders(self, root: fx.Node) -> list[torch.Tensor]:
        """Return the live tensors over the memory of ``root``."""
        live = [reference() for reference in self._memory.get(root, ())]
        return [tensor for tensor in live if tensor is not None and self._nodes[tensor].meta["root"] is root]

    def _fetch(self, tensor: torch.Tensor) -> fx.Node | None:
        name = self.name(tensor)
        if name is None:
            return None
        self.fetched[name] = tensor
        node = self.graph.get_attr(name) if "." not in name else self.graph.create_node("get_attr", name)
        self.bind(tensor, node, node)
        return node
