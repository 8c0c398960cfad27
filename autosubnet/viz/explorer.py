"""The interactive dependency graph: what the widget asks for, as plain data; no front end is needed to answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autosubnet.graph.dependency import DependencyGraph
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.viz.collapse import collapse, draw_parts
from autosubnet.viz.style import KINDS, shape_text

History = Sequence[tuple[int, Mapping[str, float]]]
"""Redundancy scores by the names of the groups, at some steps."""


@dataclass(frozen=True)
class Explorer:
    """Answers what a person asks of a graph while pointing at it. Vertices are numbers, groups are names.

    Attributes:
        graph: what is shown.
        groups: its removable structures.
        explain: returns a group's proof in words.
        dies: returns the names of the vertices that go with some groups.
        chosen: returns the groups that are zero now.
        scores: returns the redundancy scores so far; empty before a search.
        history: returns the scores at earlier steps; empty if nobody recorded them.
    """

    graph: DependencyGraph
    groups: Sequence[Group]
    explain: Callable[[Group], str]
    dies: Callable[[Collection[Group]], Sequence[str]]
    chosen: Callable[[], Collection[Group]]
    scores: Callable[[], Mapping[str, float]]
    history: Callable[[], History]

    def facts(self) -> dict[str, Any]:
        """Return what never changes: vertices, groups with their parameters, and colours of the kinds."""
        owners: dict[str, list[str]] = {}
        for group in self.groups:
            for segment in group.segments:
                for vertex in self.graph.segment[segment].vertices:
                    owners.setdefault(vertex, []).append(group.name)
        vertices = [
            {
                "name": vertex.name,
                "label": vertex.label,
                "kind": str(vertex.kind),
                "module": vertex.module,
                "shape": shape_text(vertex.shape),
                "variables": list(vertex.variables),
                "groups": owners.get(vertex.name, []),
            }
            for vertex in self.graph.vertices
        ]
        groups = {
            group.name: {"parameters": [_slice_text(each) for each in group.slices], "count": group.num_params}
            for group in self.groups
        }
        return {
            "vertices": vertices,
            "groups": groups,
            "kinds": {str(kind): look.fill for kind, look in KINDS.items()},
        }

    def layout(self, closed: Collection[str]) -> dict[str, Any]:
        """Return an SVG where some modules are closed, and for each of its boxes the vertices that it stands for.

        Raises:
            ExportError: no renderer is installed.
        """
        parts = collapse(self.graph, frozenset(closed))
        number = {vertex.name: position for position, vertex in enumerate(self.graph.vertices)}
        title = f"{len(number)} vertices, {len(self.groups)} groups"
        return {
            "svg": draw_parts(parts, title).svg,
            "modules": [part.module for part in parts],
            "parts": [[number[vertex.name] for vertex in part.vertices] for part in parts],
        }

    def state(self) -> dict[str, Any]:
        """Return what changes in a training: the scores, and what a construction would remove now."""
        return {"scores": dict(self.scores()), "removed": self._numbers(self.dies(self.chosen()))}

    def details(self, name: str) -> dict[str, Any]:
        """Return a group's proof, what dies with it, and its score over time; nothing for an unknown name."""
        group = next((each for each in self.groups if each.name == name), None)
        if group is None:
            return {}
        past = [[step, scores[name]] for step, scores in self.history() if name in scores]
        return {"name": name, "proof": self.explain(group), "dies": self._numbers(self.dies([group])), "history": past}

    def _numbers(self, names: Collection[str]) -> list[int]:
        gone = frozenset(names)
        return [number for number, vertex in enumerate(self.graph.vertices) if vertex.name in gone]


def _slice_text(each: ParameterSlice) -> str:
    if each.indices is None:
        return each.name
    return f"{each.name}: {len(each.indices)} entries along dimension {each.dim}"
