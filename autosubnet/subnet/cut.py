"""Second pass of construction: which indices of which tensors can be cut out.

Each operator's channel transfer ties indices of its operands, its weights and its output together. An index
can go if everything that it is tied to can: a tensor's if its slice is zero for every input, a weight's always
(what it multiplies, or what it yields, is zero; where it multiplies another of the model's own tensors, one of the
two must be). What no rule ties is blocked. The result is the greatest set
that satisfies all ties, found by shrinking from the set of all zero slices. A zero block of a concat counts as a
value of its own there, since whoever else reads that zero needs it as it is.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import fx
from torch.fx.node import map_arg

from autosubnet.capture.trace import MODES, TensorInfo, output_of
from autosubnet.graph.zeros import Propagation
from autosubnet.ops.call import Value
from autosubnet.ops.masks import Mask, along
from autosubnet.ops.rule import Tie
from autosubnet.subnet.erase import Erasure, Place

Cuttable = Value | Place
Key = tuple[Cuttable, int]


@dataclass(frozen=True)
class _Bond:
    """A :class:`Tie` between what stands for its two ends."""

    source: Key
    target: Key
    start: int
    repeat: int


def cuts(propagation: Propagation, erasure: Erasure) -> Mapping[Cuttable, Mapping[int, Mask]]:
    """Return what is cut out of each tensor (live node, parameter or buffer) and each zero block of a concat.

    By dimension: which indices go, where any do.
    """
    solver = _Solver(propagation, erasure)
    solver.collect()
    solver.shrink()
    found: dict[Cuttable, dict[int, Mask]] = defaultdict(dict)
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
        self.bonds: dict[Key, list[_Bond]] = defaultdict(list)
        self.blocked: set[Key] = set()
        for node in erasure.live:
            self._start(node)
        for place in erasure.cut:
            for dim, size in enumerate(self._shape(place)):
                self.cut[place, dim] = np.ones(size, dtype=bool)

    def collect(self) -> None:
        """Collect ties of all live nodes, and block what they do not name."""
        for node in self.erasure.live:
            if node in self.view.calls:
                self._collect(node)
            elif node.op == "placeholder":
                self._block_all(node)
            if node.meta["drew_in_eval"]:
                for each in (node, *node.all_input_nodes):
                    self._block_all(self._read(each, node))
        for mode in MODES:
            map_arg(output_of(self.view.trace.graph, mode), lambda node: self._block_all(self._computed_by(node)))
        for node, dim in self.erasure.sizes_read():
            self.blocked.add((self._computed_by(node), dim))

    def shrink(self) -> None:
        """Shrink to the greatest set that satisfies all ties."""
        for key in self.blocked & self.cut.keys():
            self.cut[key] = np.zeros_like(self.cut[key])
        queue = deque(self.bonds)
        queued = set(queue)
        while queue:
            key = queue.popleft()
            queued.discard(key)
            for bond in self.bonds[key]:
                for changed in self._enforce(bond):
                    if changed not in queued:
                        queued.add(changed)
                        queue.append(changed)

    def _start(self, node: fx.Node) -> None:
        info, mask = node.meta["value"], self.propagation.masks[node]
        if not isinstance(info, TensorInfo) or node.op == "get_attr":
            return
        for dim in range(len(info.shape)):
            slices = along(mask, dim)
            if slices.size > 1 and slices.any() and not slices.all():
                self.cut[node, dim] = slices

    def _collect(self, node: fx.Node) -> None:
        call, rule = self.view.calls[node], self.view.rules[node]
        named: set[Key] = set()
        if node.meta["value"] is not None:  # numbers have no indices
            for link in rule.ties(call) if node not in self.erasure.replace else self._entry_by_entry(node):
                if isinstance(link, Tie):
                    source = self._read(link.source, node), link.source_dim
                    target = self._read(link.target, node), link.target_dim
                    bond = _Bond(source, target, link.start, link.repeat)
                    for end in (source, target):
                        self._touch(end)
                        self.bonds[end].append(bond)
                    if isinstance(source[0], str) and isinstance(target[0], str):
                        self._restrict(bond)
                    named.update((source, target))
                else:
                    named.add((self._read(link.value, node), link.dim))
        values: set[Cuttable] = {
            node,
            *call.tensors.values(),
            *(self._read(each, node) for each in self.erasure.sources(node)),
        }
        for value in values:
            self.blocked.update((value, dim) for dim in range(len(self._shape(value))) if (value, dim) not in named)

    def _entry_by_entry(self, node: fx.Node) -> Iterator[Tie]:
        """Yield the ties of what is computed from the one operand that is left of it."""
        for source in self.erasure.sources(node):
            for dim in range(len(self._shape(source))):
                yield Tie(source, dim, node, dim)

    def _read(self, value: Value, reader: fx.Node) -> Cuttable:
        """Return what stands for a value that a node reads."""
        if isinstance(value, str):
            return value
        place = self.erasure.resolve(value), reader
        return place if place in self.erasure.cut else self._computed_by(value)

    def _computed_by(self, node: fx.Node) -> Value:
        """Return what stands for a node: a live one, or the name of a parameter that is merely fetched."""
        node = self.erasure.resolve(node)
        return self.view.attribute_name(node) or node

    def _touch(self, key: Key) -> None:
        """Start a weight with every index, so that what it is tied to decides."""
        value, dim = key
        if isinstance(value, str) and key not in self.cut:
            self.cut[key] = np.ones(self._shape(value)[dim], dtype=bool)

    def _restrict(self, bond: _Bond) -> None:
        """Where a weight multiplies another of the model's own tensors, one of the two must be zero."""
        ends = []
        for value, dim in (bond.source, bond.target):
            assert isinstance(value, str)
            ends.append(np.broadcast_to(along(self.propagation.of(value), dim), (self._shape(value)[dim],)))
        source, target = ends
        zero = source | target[self._window(bond)].reshape(len(source), bond.repeat).all(axis=1)
        self.cut[bond.source] = self.cut[bond.source] & zero

    def _block_all(self, value: Cuttable) -> None:
        self.blocked.update((value, dim) for dim in range(len(self._shape(value))))

    def _shape(self, value: Cuttable) -> tuple[int, ...]:
        if isinstance(value, str):
            return tuple(self.view.trace.attribute(value).shape)
        node = value[0] if isinstance(value, tuple) else value
        info = node.meta["value"]
        return info.shape if isinstance(info, TensorInfo) else ()

    def _enforce(self, bond: _Bond) -> list[Key]:
        source, target = bond.source, bond.target
        a, b = self.cut.get(source), self.cut.get(target)
        if a is None and b is None:
            return []
        if a is None or b is None:
            present = source if b is None else target
            window = slice(None) if present == source else self._window(bond)
            if not self.cut[present][window].any():
                return []
            self.cut[present] = self.cut[present].copy()
            self.cut[present][window] = False
            return [present]
        window = self._window(bond)
        both = a & b[window].reshape(len(a), bond.repeat).all(axis=1)
        spread = both.repeat(bond.repeat)
        changed = []
        if (both != a).any():
            self.cut[source] = both
            changed.append(source)
        if (spread != b[window]).any():
            self.cut[target] = b.copy()
            self.cut[target][window] = spread
            changed.append(target)
        return changed

    def _window(self, bond: _Bond) -> slice:
        value, dim = bond.source
        return slice(bond.start, bond.start + self._shape(value)[dim] * bond.repeat)
