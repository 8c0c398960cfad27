"""What makes a candidate segment zero, and why another cannot be: one propagation, put back after each question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import fx

from autosubnet.graph.cuttable import can_be_cut
from autosubnet.graph.dependency import Segment
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.graph.naming import described
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, Undo
from autosubnet.ops.masks import Mask, along, uniform


class Prover:
    """Proves candidates one after the other.

    Args:
        view: the trace.
        kept: parameters that must never be removed.
    """

    def __init__(self, view: GraphView, kept: set[str]) -> None:
        self.view = view
        self.kept = kept
        self.propagation = Propagation(view)
        self.nodes = {node.name: node for node in view.nodes}
        self.divisors = {name for node in view.poles if not node.meta["data"] for name in view.variables[node]}
        self.users: dict[str, set[fx.Node]] = {}
        for node in view.nodes:
            if node.meta["data"]:
                for name in view.variables[node]:
                    self.users.setdefault(name, set()).add(node)

    def needed(self, segment: Segment) -> tuple[str, ...]:
        """Return the variables to set to zero for the segment's output to be: all, less two kinds.

        Those of which something is computed by which a weight is divided; and those that other segments use too,
        where the zero is proved without them, such as an activation's behind a layer.
        """
        names = [name for name in segment.variables if name not in self.divisors]
        vertices = self._vertices([segment])
        shared = [name for name in names if not self.users[name] <= vertices]
        for name in sorted(shared, key=lambda name: -len(self.users[name])):
            fewer = [each for each in names if each != name]
            if self._makes_zero(fewer, segment):
                names = fewer
        return tuple(names)

    def refusals(self, family: Sequence[Segment], needed: Sequence[str]) -> dict[str, str]:
        """Return, by segment, why a family cannot be removed; nothing where its zero is proved.

        Args:
            family: segments that share parameters, or a single one.
            needed: the variables that are set to zero.
        """
        vertices = self._vertices(family)
        barred = {segment.name: self._barred(segment, needed, vertices) for segment in family}
        found = {name: reason for name, reason in barred.items() if reason is not None} or self._unproved(
            family, needed
        )
        if not found:
            return {}
        culprit, reason = next(iter(found.items()))
        shared = f"it shares parameters with {culprit!r}, which cannot be removed: {reason}"
        return {
            segment.name: found.get(segment.name, f"{described(self._last(segment))}: {shared}") for segment in family
        }

    def group(self, family: Sequence[Segment], needed: Sequence[str]) -> Group:
        """Return the group of a proved family, with what it owns behind concats."""
        slices = [ParameterSlice(name) for name in needed]
        own = self._vertices(family)
        extended: dict[str, Mask] = {}
        log = undo = self.propagation.update(self._zeros(needed))
        while extension := self._extension(undo, own):
            extended.update(extension)
            undo = self.propagation.update(extension)
            log = log + undo
        blocks = filter(self.propagation.is_zero, self.propagation.changed(log))
        if extended and not all(can_be_cut(self.view, self.propagation, block) for block in blocks):
            extended = {}  # their zeros would gain nothing
        self.propagation.undo(log)
        for name, mask in extended.items():
            slices.append(ParameterSlice(name, 0, tuple(int(i) for i in np.flatnonzero(mask))))
        count = sum(
            self.view.parameters[each.name].numel() if each.indices is None else len(each.indices) for each in slices
        )
        segments = tuple(segment.name for segment in family)
        return Group(segments[0], "gezig", tuple(slices), count, segments)

    def _barred(self, segment: Segment, needed: Sequence[str], vertices: set[fx.Node]) -> str | None:
        """Return why the zero of a segment is not even asked for."""
        if not any(self._trains(name) for name in segment.variables):
            return f"{described(self._last(segment))}: it has no trainable variables, so it cannot be trained to zero"
        for name in segment.variables:
            reader = next(each for each in segment.vertices if name in self.view.variables[self.nodes[each]])
            where = f"{described(self.nodes[reader])}: parameter {name!r}"
            if not self._trains(name):
                return f"{where} is frozen (requires_grad=False)"
            if name in self.kept:
                return f"{where} is kept by request"
            others = self.users[name] - vertices if name in needed else ()
            if others:
                first = min(others, key=self.view.index.__getitem__)
                return f"{where} is also used by {described(first)}, where it cannot be removed"
        return None

    def _unproved(self, family: Sequence[Segment], needed: Sequence[str]) -> dict[str, str]:
        """Return, by segment, why its output is not zero, or what else becomes infinite."""
        undo = self.propagation.update(self._zeros(needed))
        alive = [segment for segment in family if not self.propagation.is_zero(self._last(segment))]
        found = {segment.name: self._blame([self.nodes[name] for name in segment.vertices]) for segment in alive}
        if not found and (reason := self._not_finite(undo)) is not None:
            found = {segment.name: reason for segment in family}
        self.propagation.undo(undo)
        return found

    def _makes_zero(self, names: Iterable[str], segment: Segment) -> bool:
        undo = self.propagation.update(self._zeros(names))
        zero = self.propagation.is_zero(self._last(segment))
        self.propagation.undo(undo)
        return zero

    def _vertices(self, family: Iterable[Segment]) -> set[fx.Node]:
        return {self.nodes[name] for segment in family for name in segment.vertices}

    def _last(self, segment: Segment) -> fx.Node:
        return self.nodes[segment.vertices[-1]]

    def _zeros(self, names: Iterable[str]) -> dict[str, Mask]:
        return {name: uniform(self.view.parameters[name].ndim, True) for name in names}

    def _extension(self, undo: Undo, own: set[fx.Node]) -> dict[str, Mask]:
        """Return the affine slices behind what has just become zero in some channels, not in all."""
        extension: dict[str, Mask] = {}
        for source in self.propagation.changed(undo):
            for node in source.users:
                if node not in own and node in self.view.calls and source is self.view.calls[node].argument(0, "input"):
                    extension.update(self._affine_slices(node, source))
        return extension

    def _affine_slices(self, node: fx.Node, source: fx.Node) -> dict[str, Mask]:
        owners = [self.view.owner(value) for value in self.view.rules[node].affine(self.view.calls[node])]
        names = [name for name in owners if name is not None]
        alone = all(self._trains(name) and len(self.users[name]) == 1 and name not in self.kept for name in names)
        if not names or len(names) < len(owners) or not alone:
            return {}
        channels = along(self.propagation.masks[source], 1)
        done = np.broadcast_to(along(self.propagation.masks[node], 1), channels.shape)
        if channels.all() or not channels.any() or done[channels].all():
            return {}
        return dict.fromkeys(names, channels)

    def _trains(self, name: str) -> bool:
        return self.view.parameters[name].requires_grad

    def _not_finite(self, undo: Undo) -> str | None:
        """Say which operator gets zeros at which it, or its gradient, jumps or is not finite."""
        for pole in self.propagation.changed(undo):
            if pole in self.view.poles and self.propagation.masks[pole].any():
                node = self.view.poles[pole]
                if self.view.rules[node].tells_sign(self.view.calls[node]):
                    return f"{described(node)}: it tells minus zero from zero"
                return f"{described(node)}: at zero, its value or its gradient is not finite"
        return None

    def _blame(self, vertices: list[fx.Node]) -> str:
        """Name the vertex at which the zero is lost."""
        zero = [self.propagation.is_zero(node) for node in vertices]
        node = vertices[
            zero.index(False, len(zero) - zero[::-1].index(True))
            if True in zero
            else _last_with_variables(self.view, vertices)
        ]
        weight = next((each for each in node.all_input_nodes if self._spoils(each)), None)
        node = weight or node  # a weight that is computed from parameters, and not zero where they are
        if node.meta["mutated"]:
            return f"{described(node)}: its memory is written in place while others read it"
        if node.op == "call_module" and (why := self.view.trace.opaque.get(str(node.target))):
            return f"{described(node)}: the module is kept as it is, since {why}"
        rule, call = self.view.rules[node], self.view.calls[node]
        return f"{described(node)}: {rule.why_not_zero(call)}"

    def _spoils(self, node: fx.Node) -> bool:
        computed = node in self.view.calls and not node.meta["data"] and bool(self.view.variables[node])
        return computed and not self.propagation.is_zero(node)


def _last_with_variables(view: GraphView, vertices: list[fx.Node]) -> int:
    return max(position for position, node in enumerate(vertices) if view.variables[node])
