"""What one run of a model puts on record: a node for each operation, and the tensors that it computes.

Besides, what Python code took out of the graph on the way: values that it read, sizes that it decided by.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from autosubnet.capture import functions
from autosubnet.capture.observe import (
    alias_of,
    autocast,
    is_users,
    parts_of,
    random_state,
    source_line,
    tensors_in,
)
from autosubnet.capture.sizes import KEY, Source, TracedNumber, in_graph
from autosubnet.capture.structure import arguments
from autosubnet.capture.trace import Mode
from autosubnet.capture.values import Values
from autosubnet.errors import CaptureError
from autosubnet.ops.effects import draws, edges, may_draw


class UnfollowableError(CaptureError):
    """What happens inside of ``module`` cannot be recorded; as one opaque vertex it still can stand.

    Attributes:
        module: the innermost module of the model that was running, ``""`` for the model itself.
    """

    def __init__(self, message: str, module: str) -> None:
        super().__init__(message)
        self.module = module


class Recording:
    """The graph of a run, as it grows.

    Args:
        model: what is run.
        mode: the mode that it is in.
        keys: let sizes be keys of tables; else they are not hashable, which caches take for a reason to do without.

    Attributes:
        graph: the recorded operations, in the order in which they ran.
        fetched: parameters, buffers and constants that operations read by themselves, by name.
        baked: values that Python code read off traced tensors, each with its source line.
        routing: where Python code decided by sizes that the values of tensors decide.
        deciders: the modules that ran where Python code read values, or decided by such sizes.
        losses: where Python code took a size out of the graph, or decided by it, and the sizes in question.
        needs_keys: whether a size was asked to be a key.
    """

    def __init__(self, model: nn.Module, mode: Mode, *, keys: bool) -> None:
        super().__init__()
        self.model = model
        self.mode: Mode = mode
        self.graph = fx.Graph()
        self.baked: list[str] = []
        self.routing: list[str] = []
        self.deciders: list[str] = []
        self.losses: list[tuple[str, frozenset[Source]]] = []
        self.needs_keys = False
        self._values = Values(self.graph, model)
        self.fetched = self._values.fetched
        self._modules = dict(model.named_modules())
        self._autocast = autocast()
        self._keys = keys
        self._done = False
        self._paused = False
        self._path: list[str] = []  # the modules that run, each in the one before it
        self._autocasts: list[tuple[bool, ...]] = []  # at the call of each of them

    def _leaf(self, node: fx.Node) -> nn.Module | None:
        return self._modules[str(node.target)] if node.op == "call_module" else None

    @contextmanager
    def _watched(self, node: fx.Node) -> Iterator[None]:
        """Note whether the node draws random numbers, where its rule does not rule that out."""
        if not may_draw(node, self._leaf(node)):
            yield
            return
        before = random_state()
        yield
        node.meta["drew"] = before != random_state()

    @contextmanager
    def _pause(self) -> Iterator[None]:
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def _emit(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Any) -> fx.Node:
        self._require_same_autocast()
        if what := functions.unheld((args, kwargs)):
            raise self._unfollowable(f"{what} enters the computation")
        op, target, swap = functions.as_node(func, name)
        args, kwargs = functions.positional(args, functions.torchs_own(func, kwargs))
        arguments = self._args(args[::-1] if swap else args)
        return self.graph.create_node(op, target, arguments, self._args(kwargs))

    def _bind_result(self, result: Any, node: fx.Node, sources: Any) -> Any:
        if isinstance(result, torch.Tensor):
            passes_on = node.op == "call_module" or draws(node, self._leaf(node))
            if passes_on and any(result is source for source in tensors_in(sources)):
                result = alias_of(result)  # an identity, or dropout in eval mode: its input must keep its own node
            self._values.bind(result, node, self._values.root(result, node, sources))
            return result
        self._bind_parts(result, node, [sources])
        return result

    def _bind_parts(self, result: Any, node: fx.Node, sources: list[Any]) -> None:
        """Bind what a container holds; its tensors may share memory with each other as with what they came from."""
        if isinstance(result, dict) and any(isinstance(key, int) for key in result):
            remedy = "let the module return a tuple, or a dict with strings for keys"
            raise self._unfollowable("a dict with numbers for keys is made out of sight", remedy)
        self._values.describe(node, result)
        for take, key, each in parts_of(result):
            if isinstance(each, torch.Tensor):
                item = self.graph.call_function(take, (node, key))
                self._values.bind(each, item, self._values.root(each, item, sources))
                sources.append(each)
            elif parts_of(each):
                self._bind_parts(each, self.graph.call_function(take, (node, key)), sources)

    def _node(self, tensor: torch.Tensor, module: str | None = None) -> fx.Node:
        """Return the node of a tensor; if there is none, ``module`` or that which runs cannot be followed."""
        node = self._values.node(tensor)
        if node is None:
            raise self._unfollowable(
                f"a tensor of shape {tuple(tensor.shape)} of unknown origin enters the computation",
                "register it as a buffer, or compute it with torch operations",
                module,
            )
        return node

    def _number(self, number: TracedNumber) -> Any:
        """Return what stands for a number in the graph: one that Python code kept from an earlier run is fixed."""
        if number._graph is not self.graph:
            self.losses.append((f"a size kept from an earlier run at {source_line()}", number._sources))
        return in_graph(number, self.graph)

    def _varies(self, node: fx.Node) -> bool:
        """Whether a node's value depends on inputs, parameters, buffers or random numbers."""
        found = _ahead(node, lambda each: each.all_input_nodes)
        return any(each.op in ("placeholder", "get_attr", "call_module") or draws(each, None) for each in found)

    def _route(self, what: str) -> None:
        self.routing.append(f"{what}, which values decide, at {source_line()}")
        self.deciders.append(self._values.module)

    def _is_sized_by_values(self, node: fx.Node) -> bool:
        """Whether a node's sizes depend on values: on those of a mask, say, by which rows were picked."""
        return any(map(functions.is_sized_by_values, _ahead(node, lambda each: each.all_input_nodes)))

    def reads_input(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor was computed of an input's values, and not of its sizes alone."""
        if not self._values.computed(tensor):
            return False
        found = _ahead(self._node(tensor), self._values_read)
        return any(each.op == "placeholder" for each in found)

    def _values_read(self, node: fx.Node) -> list[fx.Node]:
        sources = edges(node, self._leaf(node))
        return [each for each in sources if each.op == "placeholder" or each.meta["value"] is not None]

    def _is_random(self, node: fx.Node) -> bool:
        """Whether a node's value depends on random numbers alone: no other input would show that it was read."""
        found = list(_ahead(node, lambda each: edges(each, self._leaf(each))))
        drawn = any(each.meta.get("drew") or draws(each, self._leaf(each)) for each in found)
        return drawn and not any(each.op in ("placeholder", "get_attr", "call_module") for each in found)

    def _args(self, value: Any) -> Any:
        return arguments(value, self._node, self._number)

    def _called(self, tensor: torch.Tensor) -> str:
        return f"tensor {self._values.name(tensor) or 'of shape ' + str(tuple(tensor.shape))!r}"

    def _require_same_autocast(self) -> None:
        if autocast() != self._autocast:
            # The innermost module that was called before the switch made it.
            outside = [name for name, each in zip(self._path, self._autocasts, strict=True) if each == self._autocast]
            raise self._unfollowable("autocast is switched in forward", module=outside[-1] if outside else "")

    def _unfollowable(
        self,
        what: str,
        remedy: str = "move it into a module of its own, which is then kept as it is",
        module: str | None = None,
    ) -> UnfollowableError:
        here = self._values.module if module is None else module
        return UnfollowableError(f"{what} at {source_line()}; {remedy}", here)

    def _lose(self, what: str, sources: frozenset[Source]) -> None:
        if not self._done and any(self._is_sized_by_values(node) for node, _ in sources):
            self._route(what)
        if not self._done and is_users(sys._getframe(3)):  # who compares or converts; not who reports it
            if what == KEY and not self._keys:
                self.needs_keys = True
                raise TypeError("a size that is being recorded is no key")
            self.losses.append((f"{what} at {source_line()}", sources))


def _ahead(node: fx.Node, reads: Callable[[fx.Node], Iterable[fx.Node]]) -> Iterator[fx.Node]:
    """Yield a node and all that it is computed from."""
    seen, stack = {node}, [node]
    while stack:
        each = stack.pop()
        yield each
        for source in reads(each):
            if source not in seen:
                seen.add(source)
                stack.append(source)
