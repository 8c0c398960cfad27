"""Train and eval graphs become one.

Nearly all models run the same operations in both modes, but for flags such as ``F.dropout(training=...)``:
those become a node that reads ``self.training``. What runs in one mode alone (an auxiliary head, a counter, noise)
stays in the graph, marked with its mode; where the modes meet again behind it, a ``by_mode`` node chooses.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from typing import Any

from torch import fx
from torch.fx.node import map_aggregate, map_arg

from autosubnet.capture.trace import TensorInfo
from autosubnet.ops.modes import by_mode, reaches

BOTH = frozenset({"train", "eval"})


def merge(train: fx.Graph, evaluation: fx.Graph) -> fx.Graph:
    """Return one graph with the nodes of both; ``meta["modes"]`` says where each runs.

    Nodes keep the meta data of the train graph. The output's ``meta["dual"]`` is true where the two modes
    differ; it then returns ``{"train": ..., "eval": ...}``.
    """
    merger = _Merger(train)
    for node in evaluation.nodes:
        merger.add(node)
    return merger.finish(evaluation)


class _Merger:
    def __init__(self, train: fx.Graph) -> None:
        self.graph = fx.Graph()
        self.train = train
        self.pending = deque(node for node in train.nodes if node.op != "output")
        self.twins: dict[Hashable, deque[fx.Node]] = defaultdict(deque)
        for node in self.pending:
            self.twins[_key(node, lambda each: each)].append(node)
            self.twins[_loose_key(node, lambda each: each)].append(node)
            self.twins[_blind_key(node)].append(node)
        self.position = {node: position for position, node in enumerate(self.pending)}
        self.last_ordered = -1  # position of the last twin found of a node whose place in the order matters
        self.barrier = 0  # so many nodes were emitted when one of eval mode alone was whose place matters
        self.emitted: dict[fx.Node, int] = {}
        self.taken: set[fx.Node] = set()
        self.twin: dict[fx.Node, fx.Node] = {}  # node of the eval graph -> that of the train graph, or itself
        self.copies: dict[fx.Node, fx.Node] = {}  # node of either graph -> merged node
        self.training: fx.Node | None = None
        self.choices: dict[tuple[fx.Node, fx.Node], fx.Node] = {}

    def add(self, node: fx.Node) -> None:
        if node.op == "output":
            return
        twin = self._find(node)
        if twin is None:
            self.twin[node] = node
            self._copy(node, frozenset({"eval"}))
            self.copies[node].meta["drew_in_eval"] = node.meta["drew"]
            if _is_ordered(node):
                self.barrier = len(self.copies)
            return
        self.taken.add(twin)
        if _is_ordered(node):
            self.last_ordered = self.position[twin]
        self.twin[node] = twin
        while twin not in self.copies:
            self._emit_pending()
        copy = self.copies[node] = self.copies[twin]
        copy.meta.update(modes=BOTH, drew_in_eval=node.meta["drew"])
        copy.args, copy.kwargs = self._blend((twin.args, twin.kwargs), (node.args, node.kwargs), copy)

    def finish(self, evaluation: fx.Graph) -> fx.Graph:
        while self.pending:
            self._emit_pending()
        results = {
            "train": map_aggregate(self.train.output_node().args[0], self._copied),
            "eval": map_aggregate(evaluation.output_node().args[0], self._copied),
        }
        same = results["train"] == results["eval"] and all(n.meta["modes"] == BOTH for n in self.graph.nodes)
        dual = bool(not same or self.choices)
        output = self.graph.output(results if dual else results["eval"])
        output.meta.update(_plain_meta(output), dual=dual)
        self.graph.lint()
        return self.graph

    def _find(self, node: fx.Node) -> fx.Node | None:
        def twin(each: fx.Node) -> fx.Node:
            return self.twin[each]

        keys = ((_key(node, twin), _always), (_loose_key(node, twin), _by_training), (_blind_key(node), self._meets))
        for key, accept in keys:
            for candidate in self.twins.get(key, ()):
                in_order = not _is_ordered(node) or self._is_in_order(candidate)
                if candidate not in self.taken and in_order and accept(candidate, node):
                    return candidate
        return None

    def _is_in_order(self, candidate: fx.Node) -> bool:
        """Whether what must keep its order does so in both modes if this node of the train graph is a twin now."""
        late_enough = self.emitted.get(candidate, self.barrier) >= self.barrier
        return late_enough and self.position[candidate] > self.last_ordered

    def _meets(self, train: fx.Node, evaluation: fx.Node) -> bool:
        """Whether the two are one operation on what the modes, each by itself, computed just before."""
        if train in self.copies or not _by_training(train, evaluation):
            return False
        operands = zip(_nodes(train), _nodes(evaluation), strict=True)
        return all(self.twin[e] is t or self._can_choose(t, e) for t, e in operands)

    def _can_choose(self, train: fx.Node, evaluation: fx.Node) -> bool:
        info = train.meta["value"]
        alike = isinstance(info, TensorInfo) and info == evaluation.meta["value"]
        if not alike or train.meta["mutated"] or evaluation.meta["mutated"]:
            return False
        if self._is_alone(train) and self._is_alone(evaluation):
            return True
        twin = self.twin[evaluation]
        return reaches(train, lambda node: node is twin, self._is_alone) or reaches(
            evaluation, lambda node: self.twin[node] is train, self._is_alone
        )

    def _is_alone(self, node: fx.Node) -> bool:
        """Whether a node of either graph has, as far as is known, no twin in the other."""
        return self.twin[node] is node if node in self.twin else node not in self.taken

    def _emit_pending(self) -> None:
        self._copy(self.pending.popleft(), frozenset({"train"}))

    def _copy(self, node: fx.Node, modes: frozenset[str]) -> None:
        copy = self.graph.node_copy(node, self._copied)
        copy.meta = {**node.meta, "modes": modes}
        copy.meta["root"] = self.copies.get(node.meta["root"], copy)
        copy.meta.setdefault("drew_in_eval", False)
        self.copies[node] = copy
        self.emitted[node] = len(self.copies)

    def _copied(self, value: Any) -> Any:
        return self.copies[value] if isinstance(value, fx.Node) else value

    def _blend(self, train: Any, evaluation: Any, before: fx.Node) -> Any:
        """Return the merged arguments: a flag or probability that differs reads ``self.training``."""
        if isinstance(train, fx.Node):
            return self._choose(self.copies[train], self.copies[evaluation], before)
        if isinstance(train, dict):
            return {key: self._blend(train[key], evaluation[key], before) for key in train}
        if isinstance(train, slice):
            parts = [
                (train.start, evaluation.start),
                (train.stop, evaluation.stop),
                (train.step, evaluation.step),
            ]
            return slice(*(self._blend(*part, before) for part in parts))
        if isinstance(train, (tuple, list)):
            items = [self._blend(t, e, before) for t, e in zip(train, evaluation, strict=True)]
            return type(train)(*items) if hasattr(train, "_fields") else type(train)(items)
        if train == evaluation or train != train:
            return train
        flag = self._training_flag()
        if isinstance(train, bool):
            return flag
        with self.graph.inserting_before(before):
            scaled = self.graph.call_function(operator.mul, (flag, train))
        scaled.meta.update(_plain_meta(scaled))
        return scaled

    def _choose(self, train: fx.Node, evaluation: fx.Node, before: fx.Node) -> fx.Node:
        if train is evaluation:
            return train
        if (train, evaluation) not in self.choices:
            with self.graph.inserting_before(before):
                choice = self.graph.call_function(by_mode, (train, evaluation))
            choice.meta.update(_plain_meta(choice), value=train.meta["value"], module=before.meta["module"])
            self.choices[train, evaluation] = choice
        return self.choices[train, evaluation]

    def _training_flag(self) -> fx.Node:
        if self.training is None:
            first = next(iter(self.graph.nodes))
            while first.op == "placeholder":
                first = first.next
            with self.graph.inserting_before(first):
                self.training = self.graph.create_node("get_attr", "training")
            self.training.meta.update(_plain_meta(self.training))
        return self.training


def _is_ordered(node: fx.Node) -> bool:
    """Whether a node writes or reads memory that is written in place, or draws random numbers."""
    touches = node.meta["mutated"] or any(source.meta["mutated"] for source in node.all_input_nodes)
    return bool(touches or node.meta.get("effect") or node.meta["draws"])


def _plain_meta(node: fx.Node) -> dict[str, Any]:
    return {
        "modes": BOTH,
        "value": None,
        "module": "",
        "root": node,
        "mutated": False,
        "draws": False,
        "drew_in_eval": False,
    }


def _key(node: fx.Node, twin: Callable[[fx.Node], Hashable]) -> Hashable:
    return (
        "exact",
        node.op,
        node.target,
        _frozen((node.args, node.kwargs), twin, lambda value: (type(value), value)),
    )


def _loose_key(node: fx.Node, twin: Callable[[fx.Node], Hashable]) -> Hashable:
    """As the exact key, but blind to flags and probabilities."""

    def blind(value: Any) -> Any:
        return "flag" if isinstance(value, bool) else "number" if isinstance(value, float) else (type(value), value)

    return ("loose", node.op, node.target, _frozen((node.args, node.kwargs), twin, blind))


def _blind_key(node: fx.Node) -> Hashable:
    """As the loose key, but blind to operands."""
    flags = _loose_key(node, lambda each: "node")
    return ("blind", node.meta["module"], flags)


def _nodes(node: fx.Node) -> list[fx.Node]:
    """Return the operands of a node in order, each as often as it is read."""
    found: list[fx.Node] = []
    map_arg((node.args, node.kwargs), found.append)
    return found


def _frozen(value: Any, twin: Callable[[fx.Node], Hashable], leaf: Callable[[Any], Any]) -> Hashable:
    if isinstance(value, fx.Node):
        return twin(value)
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, *(_frozen(each, twin, leaf) for each in value))
    if isinstance(value, dict):
        return tuple((key, _frozen(each, twin, leaf)) for key, each in sorted(value.items()))
    if isinstance(value, slice):
        return ("slice", _frozen((value.start, value.stop, value.step), twin, leaf))
    result: Hashable = leaf(value)
    return result


def _always(train: fx.Node, evaluation: fx.Node) -> bool:
    return True


def _by_training(train: fx.Node, evaluation: fx.Node) -> bool:
    """Whether the two differ only as train and eval mode do: True and False, p and 0."""
    return all(
        t == e or (t is True and e is False) or (isinstance(t, float) and _is_zero(e) and math.isfinite(t))
        for t, e in zip(_leaves((train.args, train.kwargs)), _leaves((evaluation.args, evaluation.kwargs)), strict=True)
    )


def _is_zero(value: Any) -> bool:
    return not isinstance(value, bool) and bool(value == 0.0)


def _leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    map_aggregate(value, lambda each: None if isinstance(each, fx.Node) else found.append(each))
    return found
