"""From candidate segments to proved groups (OTOv3, Algorithm 2, lines 11 to 16).

A candidate is a segment with trainable variables whose readers are all joints. It becomes a group when zero
propagation proves that zeroing its slices makes its output zero for every input; otherwise it is refused with
a reason. Deviations from the paper:

* groups may overlap: behind a concat a group also owns the matching slices of every per-channel affine that
  reads its block (``cat -> BatchNorm -> ReLU -> conv``), where that lets the block's channels be cut out;
* a group at a product makes the product zero; what dies behind it is dead code, not part of the group;
* a parameter that other vertices use too, or that is frozen, refuses the candidate;
* the v of a weight norm, whose zero gives 0 / 0, is left out: its g makes the zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from torch import fx

from autosubnet.errors import GroupError
from autosubnet.graph.cuttable import can_be_cut
from autosubnet.graph.dependency import DependencyGraph, Segment
from autosubnet.graph.groups import Group, ParameterSlice, Refusal
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, Undo
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, along, uniform

NO_VARIABLES = "it has no trainable variables, so training cannot make it zero"


@dataclass(frozen=True)
class Partition:
    """Groups, refusals, and the trainable parameters in no group (the paper's G^C)."""

    groups: tuple[Group, ...]
    refused: tuple[Refusal, ...]
    complement: tuple[str, ...]


def build_partition(view: GraphView, graph: DependencyGraph, keep: Iterable[str] = ()) -> Partition:
    """Return the groups of a graph. They depend on the graph alone, never on the values of parameters.

    Args:
        view: the trace.
        graph: its vertices and segments.
        keep: globs of module or parameter names that must never be removed.

    Raises:
        GroupError: a glob matches nothing.
    """
    kept = _kept(view, keep)
    prover = _Prover(view, kept)
    groups, refused = [], []
    for segment in graph.segments:
        if not _at_joints(graph, segment):
            continue
        if (reason := prover.refusal(segment)) is not None:
            refused.append(Refusal(segment.name, reason))
        else:
            groups.append(prover.group(segment))
    grouped = {each.name for group in groups for each in group.slices if each.dim is None}
    trainable = [name for name, parameter in view.parameters.items() if parameter.requires_grad]
    sliced = {each.name for group in groups for each in group.slices}
    complement = tuple(name for name in trainable if name not in grouped and name not in sliced)
    return Partition(tuple(groups), tuple(refused), complement)


def _at_joints(graph: DependencyGraph, segment: Segment) -> bool:
    """Whether the segment is not a joint itself and all its readers are (line 12)."""
    if graph.vertex[segment.vertices[0]].kind is Kind.JOINT or not segment.outgoing:
        return False
    return all(
        name != "output" and graph.vertex[graph.segment[name].vertices[0]].kind is Kind.JOINT
        for name in segment.outgoing
    )


def _kept(view: GraphView, keep: Iterable[str]) -> set[str]:
    kept: set[str] = set()
    modules = [name for name, _ in view.trace.model.named_modules()]
    for pattern in keep:
        chosen = {name for name in view.parameters if fnmatchcase(name, pattern)}
        for module in modules:
            if module and fnmatchcase(module, pattern):
                chosen |= {name for name in view.parameters if name.startswith(module + ".")}
        if not chosen:
            raise GroupError(f"keep={pattern!r} matches no parameter and no module with parameters")
        kept |= chosen
    return kept


class _Prover:
    """Proves candidates one after the other on one propagation, which is put back after each."""

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

    def refusal(self, segment: Segment) -> str | None:
        """Return why the segment cannot be removed, or ``None`` where its zero is proved."""
        vertices = [self.nodes[name] for name in segment.vertices]
        if not segment.variables or not any(self._trains(name) for name in segment.variables):
            return NO_VARIABLES
        for name in segment.variables:
            if not self._trains(name):
                return f"parameter {name!r} is frozen (requires_grad=False)"
            if name in self.kept:
                return f"parameter {name!r} is kept by request"
            others = self.users[name].difference(vertices)
            if others:
                first = min(others, key=self.view.index.__getitem__)
                return f"parameter {name!r} is also used by {first.name!r}, outside of the segment"
        undo = self.propagation.update(self._zeroed(segment))
        reason = self._not_finite(undo) if self.propagation.is_zero(vertices[-1]) else self._blame(vertices)
        self.propagation.undo(undo)
        return reason

    def group(self, segment: Segment) -> Group:
        """Return the group of a proved segment, with what it owns behind concats."""
        slices = [ParameterSlice(name) for name in self._can_be_zero(segment)]
        own = {self.nodes[name] for name in segment.vertices}
        extended: dict[str, Mask] = {}
        log = undo = self.propagation.update(self._zeroed(segment))
        while extension := self._extension(undo, own):
            extended.update(extension)
            undo = self.propagation.update(extension)
            log = log + undo
        if not can_be_cut(self.view, self.propagation, self.nodes[segment.vertices[-1]]):
            extended = {}  # their zeros would gain nothing
        self.propagation.undo(log)
        for name, mask in extended.items():
            slices.append(ParameterSlice(name, 0, tuple(int(i) for i in np.flatnonzero(mask))))
        count = sum(
            self.view.parameters[each.name].numel() if each.indices is None else len(each.indices) for each in slices
        )
        return Group(segment.name, "gezig", tuple(slices), count, segment.name)

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

    def _zeroed(self, segment: Segment) -> dict[str, Mask]:
        return {name: uniform(self.view.parameters[name].ndim, True) for name in self._can_be_zero(segment)}

    def _can_be_zero(self, segment: Segment) -> list[str]:
        """All variables but those of which something is computed by which a weight is divided."""
        return [name for name in segment.variables if name not in self.divisors]

    def _trains(self, name: str) -> bool:
        return self.view.parameters[name].requires_grad

    def _not_finite(self, undo: Undo) -> str | None:
        """Say which operator gets zeros at which it, or its gradient, is not finite."""
        for pole in self.propagation.changed(undo):
            if pole in self.view.poles and self.propagation.masks[pole].any():
                node = self.view.poles[pole]
                return f"{node.name!r} ({_where(node)}): at zero, its value or its gradient is not finite"
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
            return f"{node.name!r}: its memory is written in place while others read it"
        rule, call = self.view.rules[node], self.view.calls[node]
        return f"{node.name!r} ({_where(node)}): {rule.why_not_zero(call)}"

    def _spoils(self, node: fx.Node) -> bool:
        computed = node in self.view.calls and not node.meta["data"] and bool(self.view.variables[node])
        return computed and not self.propagation.is_zero(node)


def _last_with_variables(view: GraphView, vertices: list[fx.Node]) -> int:
    return max(position for position, node in enumerate(vertices) if view.variables[node])


def _where(node: fx.Node) -> str:
    return f"in module {node.meta['module']!r}" if node.meta["module"] else "in the model's forward"
