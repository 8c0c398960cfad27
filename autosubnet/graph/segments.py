"""Vertices and segments of a trace (OTOv3, Section 3.1 and Algorithm 2)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from itertools import takewhile

from torch import fx

from autosubnet.capture.trace import TensorInfo
from autosubnet.graph.dependency import DependencyGraph, Segment
from autosubnet.graph.naming import path_of
from autosubnet.graph.vertex import Vertex
from autosubnet.graph.view import GraphView
from autosubnet.ops.effects import edges
from autosubnet.ops.kind import Kind


def build_dependency_graph(view: GraphView) -> DependencyGraph:
    """Return vertices and segments of a trace.

    A vertex is a node whose value depends on an input; what merely computes a weight or a size belongs to the
    vertex that reads it. Segments grow along single readers and end at a joint, at a vertex with several
    readers, or at one that reads several tensors.
    """
    vertices = _vertices(view)
    readers = Counter(source for vertex in vertices for source in vertex.inputs)
    segments = _grow(vertices, readers)
    return DependencyGraph(tuple(vertices), tuple(_connect(segments, vertices)))


def _vertices(view: GraphView) -> list[Vertex]:
    vertices = []
    written: dict[fx.Node, list[fx.Node]] = {}  # memory -> what in-place operations have written to it so far
    for node in view.nodes:
        if node.meta.get("effect"):
            written.setdefault(node.meta["root"], []).extend(node.all_input_nodes)
        if node.meta["data"]:
            vertices.append(
                Vertex(
                    name=node.name,
                    path=path_of(node),
                    kind=kind_of(view, node),
                    label=label_of(view, node),
                    module=node.meta["module"] or "",
                    variables=view.variables[node],
                    inputs=_inputs([*edges(node, view.trace.leaf(node)), *_writers(node, written)]),
                    shape=node.meta["value"].shape if isinstance(node.meta["value"], TensorInfo) else None,
                )
            )
    output = view.trace.graph.output_node()
    vertices.append(
        Vertex(output.name, output.name, Kind.OUTPUT, "output", "", (), _inputs(output.all_input_nodes), None)
    )
    return vertices


def _writers(node: fx.Node, written: dict[fx.Node, list[fx.Node]]) -> list[fx.Node]:
    """Return what has been written to the memory that a node shares, from elsewhere."""
    if not node.meta["mutated"]:
        return []
    sources = written.get(node.meta["root"], [])
    return [each for each in sources if each.meta["root"] is not node.meta["root"]]


def _inputs(sources: Iterable[fx.Node]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(source.name for source in sources if source.meta["data"]))


def kind_of(view: GraphView, node: fx.Node) -> Kind:
    """Return the kind of a node."""
    if node.op == "placeholder":
        return Kind.INPUT
    return view.rules[node].classify(view.calls[node]) if node in view.calls else Kind.UNKNOWN


def label_of(view: GraphView, node: fx.Node) -> str:
    """Return the operator in one word."""
    if node.op == "call_module":
        return type(view.calls[node].module).__name__
    return str(getattr(node.target, "__name__", node.target)).strip("_")


def _grow(vertices: list[Vertex], readers: Counter[str]) -> list[list[Vertex]]:
    """Algorithm 2, lines 5 to 10, in topological order: each vertex joins the segment before it or starts one."""
    by_name = {vertex.name: vertex for vertex in vertices}
    home: dict[str, list[Vertex]] = {}
    segments: list[list[Vertex]] = []
    for vertex in vertices:
        if vertex.kind in (Kind.INPUT, Kind.OUTPUT):
            continue
        before = by_name[vertex.inputs[0]]
        alone = len(vertex.inputs) == 1 and readers[before.name] == 1
        ends = {vertex.kind, before.kind} & {Kind.JOINT, Kind.INPUT}
        if alone and not ends:
            segment = home[before.name]
        else:
            segment = []
            segments.append(segment)
        segment.append(vertex)
        home[vertex.name] = segment
    return segments


def _connect(segments: list[list[Vertex]], vertices: list[Vertex]) -> list[Segment]:
    end = vertices[-1].name  # what segments that nobody else reads are read by
    names = _names(segments, {end})
    home = {vertex.name: name for segment, name in zip(segments, names, strict=True) for vertex in segment}
    incoming: dict[str, dict[str, None]] = {name: {} for name in names}
    outgoing: dict[str, dict[str, None]] = {name: {} for name in names}
    for vertex in vertices:
        for source in vertex.inputs:
            if source in home and home.get(vertex.name, end) != home[source]:
                outgoing[home[source]][home.get(vertex.name, end)] = None
                if vertex.name in home:
                    incoming[home[vertex.name]][home[source]] = None
    return [
        Segment(
            name=name,
            vertices=tuple(vertex.name for vertex in segment),
            variables=tuple(dict.fromkeys(each for vertex in segment for each in vertex.variables)),
            incoming=tuple(incoming[name]),
            outgoing=tuple(outgoing[name]),
        )
        for segment, name in zip(segments, names, strict=True)
    ]


def _names(segments: list[list[Vertex]], taken: set[str]) -> list[str]:
    """Name each segment after the module that holds its variables, as far as that is unique, else after a vertex.

    Variables that other segments use too count only where there are no others. A name that is taken gets a number.
    """
    paths = {vertex.name: vertex.path for segment in segments for vertex in segment}
    homes = Counter(name for segment in segments for name in {each for vertex in segment for each in vertex.variables})
    own = [
        {vertex.name: [each for each in vertex.variables if homes[each] == 1] for vertex in segment}
        for segment in segments
    ]
    for segment, variables in zip(segments, own, strict=True):
        if not any(variables.values()):
            variables.update((vertex.name, list(vertex.variables)) for vertex in segment)
    wanted = [_module_of([name for each in variables.values() for name in each]) for variables in own]
    counts = Counter(wanted)
    names: list[str] = []
    taken = set(taken)
    for variables, name in zip(own, wanted, strict=True):
        first = next((vertex for vertex, each in variables.items() if each), next(iter(variables)))
        path = name if name and counts[name] == 1 else paths[first]
        numbered = (f"{path}_{number}" for number in itertools.count(1))
        names.append(next(each for each in itertools.chain([path, first], numbered) if each not in taken))
        taken.add(names[-1])
    return names


def _module_of(variables: list[str]) -> str:
    """Return the innermost module that holds all of these variables, or the first one's."""
    if not variables:
        return ""
    paths = [name.split(".")[:-1] for name in variables]
    common = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    return ".".join(parts[0] for parts in common) or ".".join(paths[0])
