"""Dependency graphs made by hand, and pictures read back through the renderer's own JSON."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from autosubnet.graph.dependency import DependencyGraph, Segment
from autosubnet.graph.vertex import Vertex
from autosubnet.ops.kind import Kind
from autosubnet.viz import Picture
from autosubnet.viz.render import _command


def vertex(name: str, kind: Kind, *inputs: str, label: str = "", module: str = "", parameters: int = 0) -> Vertex:
    """Return a vertex whose module has ``parameters`` parameters."""
    variables = tuple(f"{module or name}.{number}" for number in range(parameters))
    return Vertex(name, name, kind, label or name.rstrip("0123456789_"), module, variables, inputs, (2, 8, 4, 4))


def two_branches() -> DependencyGraph:
    """Return ``x -> a -> (b, c) -> add -> d -> out``, where ``c`` is unknown."""
    vertices = (
        vertex("x", Kind.INPUT),
        vertex("a", Kind.STEM, "x", label="Conv2d", module="a", parameters=2),
        vertex("a_bn", Kind.ACCESSORY, "a", label="BatchNorm2d", module="a_bn", parameters=2),
        vertex("body_b", Kind.STEM, "a_bn", label="Conv2d", module="body.b", parameters=1),
        vertex("body_relu", Kind.ACCESSORY, "body_b", label="ReLU", module="body.relu"),
        vertex("c", Kind.UNKNOWN, "a_bn", label="sort"),
        vertex("add", Kind.JOINT, "body_relu", "c"),
        vertex("d", Kind.STEM, "add", label="Linear", module="d", parameters=2),
        vertex("output", Kind.OUTPUT, "d"),
    )
    segments = (
        Segment("a", ("a", "a_bn"), ("a.0", "a.1", "a_bn.0", "a_bn.1"), (), ("body.b", "c")),
        Segment("body.b", ("body_b", "body_relu"), ("body.b.0",), ("a",), ("add",)),
        Segment("c", ("c",), (), ("a",), ("add",)),
        Segment("add", ("add",), (), ("body.b", "c"), ("d",)),
        Segment("d", ("d",), ("d.0", "d.1"), ("add",), ("output",)),
    )
    return DependencyGraph(vertices, segments)


@dataclass(frozen=True)
class Drawn:
    """What a picture shows: its nodes' attributes, its edges, its size in points."""

    nodes: dict[str, dict[str, str]]
    edges: list[tuple[str, str, dict[str, str]]]
    width: float
    height: float

    def reads(self, name: str) -> set[str]:
        """Return what the node ``name`` reads, with discs followed and double lines spelled out."""
        found: set[str] = set()
        for source, target, attributes in self.edges:
            if target == name:
                origin = self._origin(source)
                found |= self.reads(origin) if ":" in attributes["color"] else {origin}
        return found

    def _origin(self, name: str) -> str:
        number = re.fullmatch(r"from (\d+) \d+", name)
        if number is None:
            return name
        (source,) = {source for source, target, _ in self.edges if target == f"to {number[1]}"}
        return source


def read(picture: Picture) -> Drawn:
    """Lay the picture out and read the result."""
    run = subprocess.run([_command(), "-Tjson"], input=picture.source.encode(), capture_output=True, check=True)
    data = json.loads(run.stdout)
    objects: Sequence[dict[str, str]] = data.get("objects", [])
    names = {each["_gvid"]: each["name"] for each in objects}
    nodes = {each["name"]: each for each in objects if "pos" in each}
    edges = [(names[each["tail"]], names[each["head"]], each) for each in data.get("edges", [])]
    _, _, width, height = (float(number) for number in data["bb"].split(","))
    return Drawn(nodes, edges, width, height)
