"""A network whose train and eval mode run different graphs over the same tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from torch import fx, nn


class DualGraphModule(fx.GraphModule):
    """A ``GraphModule`` that runs ``graphs["train"]`` in train mode and ``graphs["eval"]`` in eval mode.

    Args:
        attributes: what the nodes' targets name: leaf modules, parameters, buffers.
        graphs: the graph of each mode.
    """

    graphs: dict[str, fx.Graph]

    def __init__(self, attributes: Mapping[str, Any], graphs: Mapping[Any, fx.Graph]) -> None:
        both = fx.Graph()
        for target in attributes:  # so that the base class takes over what either graph names
            both.get_attr(target)
        both.output(None)
        super().__init__(dict(attributes), both, "Subnet")
        self.graphs = dict(graphs)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch mode and graph."""
        super().train(mode)
        self.graph = self.graphs["train" if mode else "eval"]
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> DualGraphModule:
        attributes = {target: copy.deepcopy(_get(self, target), memo) for target in self._targets()}
        graphs = {mode: copy.deepcopy(graph) for mode, graph in self.graphs.items()}
        return _make(attributes, graphs, copy.copy(self.meta), self.training)

    def __copy__(self) -> DualGraphModule:
        make, arguments = self.__reduce__()
        return make(*arguments)

    def __reduce__(self) -> tuple[Callable[..., DualGraphModule], tuple[Any, ...]]:
        attributes = {target: _get(self, target) for target in self._targets()}
        graphs = {mode: copy.deepcopy(graph) for mode, graph in self.graphs.items()}  # that do not refer to this module
        return _make, (attributes, graphs, self.meta, self.training)

    def _targets(self) -> list[str]:
        """Return what the nodes name, in the order of this network: a copy lists its parameters alike."""
        nodes = [node for graph in self.graphs.values() for node in graph.nodes]
        named = {str(node.target) for node in nodes if node.op in ("call_module", "get_attr")}
        places = {target: place for place, target in enumerate(_names(self))}
        return sorted(named, key=lambda target: (places.get(target, len(places)), target))


def _names(network: nn.Module) -> Iterator[str]:
    """Yield the names of modules, parameters and buffers, each module's own behind it."""
    for prefix, module in network.named_modules(remove_duplicate=False):
        yield prefix
        yield from (f"{prefix}.{name}".lstrip(".") for name in (*module._parameters, *module._buffers))


def _get(module: Any, target: str) -> Any:
    for part in target.split("."):
        module = getattr(module, part)
    return module


def _make(attributes: Any, graphs: Any, meta: Any, training: bool) -> DualGraphModule:
    result = DualGraphModule(attributes, graphs)
    result.meta = meta
    return result.train(training)
