"""Second pass of construction: which indices of which tensors can be cut out.

Each operator's channel transfer ties indices of its operands, its weights and its output together. An index
can go if everything that it is tied to can: a tensor's if its slice is zero for every input, a weight's always
(what it multiplies, or what it yields, is zero; where it multiplies another of the model's own tensors, one of the
two must be). What no rule ties is blocked. The result is the greatest set
that satisfies all ties, found by shrinking from the set of all zero slices.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping

import numpy as np
from torch import fx
from torch.fx.node import map_arg

from autosubnet.capture.trace import MODES, TensorInfo, output_of
from autosubnet.graph.zeros import Propagation
from autosubnet.ops.call import Value
from autosubnet.ops.masks import Mask, along
from autosubnet.ops.rule import Tie
from autosubnet.subnet.erase import Erasure

Key = tuple[Value, int]


def cuts(propagation: Propagation, erasure: Erasure) -> Mapping[Value, Mapping[int, Mask]]:
    """Return for each tensor (live node, parameter or buffer) and dimension which indices go, where any do."""
    solver = _Solver(propagation, erasure)
    solver.collect()
    solver.shrink()
    found: dict[Value, dict[int, Mask]] = defaultdict(dict)
    for (value, dim), cut in solver.cut.items():
        if cut.any():
            found[value][dim] = cut
    return found


class _Solver:
    def __init__(self, propagation: Propagation, erasure: Erasure) -> None:
        self.propagation = propagation
        self.view = propagation.view
        self.erasure = erasure
        self.cut: dict[Key, Mask] = {}
        self.ties: dict[Key, list[Tie]] = defaultdict(list)
        self.blocked: set[Key] = set()
        # A zero that is also read elsewhere stays as it is for all of its readers.
        self.zero_blocks = {block for block, _ in erasure.cut}.difference(erasure.explicit)
        for node in erasure.live | self.zero_blocks:
            self._start(node)

    def collect(self) -> None:
        """Collect ties of all live nodes, and block what they do not name."""
        for node in self.erasure.live:
            if node in self.view.calls:
                self._collect(node)
            elif node.op == "placeholder":
                self._block_all(node)
            if node.meta["drew_in_eval"]:
                for each in (node, *node.all_input_nodes):
                    self._block_all(self.value(each))
        for mode in MODES:
            map_arg(output_of(self.view.trace.graph, mode), lambda node: self._block_all(self.value(node)))
        for node, dim in self.erasure.sizes_read():
            self.blocked.add((self.value(node), dim))

    def shrink(self) -> None:
        """Shrink to the greatest set that satisfies all ties."""
        for key in self.blocked & self.cut.keys():
            self.cut[key] = np.zeros_like(self.cut[key])
        queue = deque(self.ties)
        queued = set(queue)
        while queue:
            key = queue.popleft()
            queued.discard(key)
            for tie in self.ties[key]:
                for changed in self._enforce(tie):
                    if changed not in queued:
                        queued.add(changed)
                        queue.append(changed)

    def value(self, value: Value) -> Value:
        """Return what stands for a value: a live node, or the name of a parameter that is merely fetched."""
        if isinstance(value, str):
            return value
        node = self.erasure.resolve(value)
        return self.view.attribute_name(node) or node

    def _start(self, node: fx.Node) -> None:
        info, mask = node.meta["value"], self.propagation.masks[node]
        if not isinstance(info, TensorInfo) or node.op == "get_attr":
            return
        for dim in range(len(info.shape)):
            slices = along(mask, dim)
            if node in self.zero_blocks and node not in self.erasure.live:
                self.cut[node, dim] = np.ones(info.shape[dim], dtype=bool)
            elif slices.size > 1 and slices.any() and not slices.all():
                self.cut[node, dim] = slices

    def _collect(self, node: fx.Node) -> None:
        call, rule = self.view.calls[node], self.view.rules[node]
        named: set[Key] = set()
        if node not in self.erasure.replace:
            for link in rule.ties(call) if node.meta["value"] is not None else ():  # numbers have no indices
                if isinstance(link, Tie):
                    tie = Tie(
                        self.value(link.source), link.source_dim, self.value(link.target), link.target_dim,
                        link.start, link.repeat,
                    )  # fmt: skip
                    ends = [(tie.source, tie.source_dim), (tie.target, tie.target_dim)]
                    for end in ends:
                        self._touch(end)
                        self.ties[end].append(tie)
                    if isinstance(tie.source, str) and isinstance(tie.target, str):
                        self._restrict(tie)
                    named.update(ends)
                else:
                    named.add((self.value(link.value), link.dim))
        values: set[Value] = {
            node,
            *call.tensors.values(),
            *(self.value(each) for each in self.erasure.sources(node)),
        }
        for value in values:
            for dim in range(self._ndim(value)):
                if (value, dim) not in named:
                    self.blocked.add((value, dim))

    def _touch(self, key: Key) -> None:
        """Start a weight with every index, so that what it is tied to decides."""
        value, dim = key
        if isinstance(value, str) and key not in self.cut:
            self.cut[key] = np.ones(self.view.trace.attribute(value).shape[dim], dtype=bool)

    def _restrict(self, tie: Tie) -> None:
        """Where a weight multiplies another of the model's own tensors, one of the two must be zero."""
        ends = []
        for value, dim in ((tie.source, tie.source_dim), (tie.target, tie.target_dim)):
            assert isinstance(value, str)
            size = self.view.trace.attribute(value).shape[dim]
            ends.append(np.broadcast_to(along(self.propagation.of(value), dim), (size,)))
        source, target = ends
        zero = source | target[self._window(tie, len(source))].reshape(len(source), tie.repeat).all(axis=1)
        self.cut[tie.source, tie.source_dim] = self.cut[tie.source, tie.source_dim] & zero

    def _block_all(self, value: Value) -> None:
        self.blocked.update((value, dim) for dim in range(self._ndim(value)))

    def _ndim(self, value: Value) -> int:
        if isinstance(value, str):
            return int(self.view.trace.attribute(value).ndim)
        info = value.meta["value"]
        return len(info.shape) if isinstance(info, TensorInfo) else 0

    def _enforce(self, tie: Tie) -> list[Key]:
        source, target = (tie.source, tie.source_dim), (tie.target, tie.target_dim)
        a, b = self.cut.get(source), self.cut.get(target)
        if a is None and b is None:
            return []
        if a is None or b is None:
            present = source if b is None else target
            window = slice(None) if present == source else self._window(tie, None)
            if not self.cut[present][window].any():
                return []
            self.cut[present] = self.cut[present].copy()
            self.cut[present][window] = False
            return [present]
        window = self._window(tie, len(a))
        both = a & b[window].reshape(len(a), tie.repeat).all(axis=1)
        spread = both.repeat(tie.repeat)
        changed = []
        if (both != a).any():
            self.cut[source] = both
            changed.append(source)
        if (spread != b[window]).any():
            self.cut[target] = b.copy()
            self.cut[target][window] = spread
            changed.append(target)
        return changed

    def _window(self, tie: Tie, length: int | None) -> slice:
        if length is None:
            source = tie.source
            shape = self.view.trace.attribute(source).shape if isinstance(source, str) else source.meta["value"].shape
            length = shape[tie.source_dim]
        return slice(tie.start, tie.start + length * tie.repeat)
