"""The dependency graph: vertices and the segments that they form (OTOv3, Algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from autosubnet.graph.vertex import Vertex


@dataclass(frozen=True)
class Segment:
    """A chain of vertices that ends at a joint or at a vertex with several readers.

    Attributes:
        name: unique; module path of its variables, or the path or the name of a vertex.
        vertices: names of its vertices, in the order of the data.
        variables: names of the trainable parameters of its vertices.
        incoming: names of the segments that it reads.
        outgoing: names of the segments that read it.
    """

    name: str
    vertices: tuple[str, ...]
    variables: tuple[str, ...]
    incoming: tuple[str, ...]
    outgoing: tuple[str, ...]


@dataclass(frozen=True)
class DependencyGraph:
    """Vertices of the trace graph and segments of the dependency graph, both in topological order."""

    vertices: tuple[Vertex, ...]
    segments: tuple[Segment, ...]

    @cached_property
    def vertex(self) -> dict[str, Vertex]:
        """Vertices by name."""
        return {vertex.name: vertex for vertex in self.vertices}

    @cached_property
    def segment(self) -> dict[str, Segment]:
        """Segments by name."""
        return {segment.name: segment for segment in self.segments}

    def to_networkx(self) -> nx.DiGraph[str]:
        """Return the trace graph: one node a vertex, with ``kind``, ``label`` and ``segment`` as data."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        home = {name: segment.name for segment in self.segments for name in segment.vertices}
        for vertex in self.vertices:
            data = {"kind": str(vertex.kind), "label": vertex.label, "segment": home.get(vertex.name)}
            graph.add_node(vertex.name, **data)
            graph.add_edges_from((source, vertex.name) for source in vertex.inputs)
        return graph
