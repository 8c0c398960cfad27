"""From candidate segments to proved groups (OTOv3, Algorithm 2, lines 11 to 16).

A candidate is a segment with trainable variables whose readers are all joints. It becomes a group when zero
propagation proves that zeroing its slices makes its output zero for every input; otherwise it is refused with
a reason. Deviations from the paper:

* groups may overlap: behind a concat a group also owns the matching slices of every per-channel affine that
  reads its block (``cat -> BatchNorm -> ReLU -> conv``), where that lets the block's channels be cut out;
* a group at a product makes the product zero; what dies behind it is dead code, not part of the group;
* segments that need the same parameters to be zero are one group; a parameter that other segments use too is left
  out where the rest makes the zero;
* a parameter that other vertices need, or that is frozen, refuses the candidate;
* the v of a weight norm, whose zero gives 0 / 0, is left out: its g makes the zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from autosubnet.errors import GroupError
from autosubnet.graph.dependency import DependencyGraph, Segment
from autosubnet.graph.groups import Group, Refusal
from autosubnet.graph.proof import Prover
from autosubnet.graph.view import GraphView
from autosubnet.ops.kind import Kind


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
    prover = Prover(view, _kept(view, keep))
    candidates = [segment for segment in graph.segments if _at_joints(graph, segment)]
    needed = {segment.name: prover.needed(segment) for segment in candidates}
    groups, refused = [], []
    for family in _families(candidates, needed):
        names = tuple(dict.fromkeys(name for segment in family for name in needed[segment.name]))
        if reasons := prover.refusals(family, names):
            refused += [Refusal(segment, reason) for segment, reason in reasons.items()]
        else:
            groups.append(prover.group(family, names))
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
        name in graph.segment and graph.vertex[graph.segment[name].vertices[0]].kind is Kind.JOINT
        for name in segment.outgoing
    )


def _families(segments: Iterable[Segment], needed: Mapping[str, Iterable[str]]) -> list[list[Segment]]:
    """Put segments together that need the same variables to be zero, in order of the first of each family."""
    families: dict[int, list[Segment]] = {}  # by the number of the first segment, and so in order
    home: dict[str, int] = {}  # variable -> family
    for number, segment in enumerate(segments):
        first, *others = sorted({home[name] for name in needed[segment.name] if name in home} | {number})
        joined = [each for other in others if other != number for each in families.pop(other)]
        families.setdefault(first, []).extend([*joined, segment])
        home.update((name, first) for each in [*joined, segment] for name in needed[each.name])
    return list(families.values())


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
