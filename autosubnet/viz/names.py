"""Short names: what to call a vertex or a chain of operators, and the frame that a vertex stands in."""

from __future__ import annotations

from collections.abc import Sequence

from autosubnet.graph.vertex import Vertex

_MOST_FRAMES = 18
_MOST_OPERATORS = 5


def own_name(vertex: Vertex) -> str:
    """Return the last part of a module's path, or the trace's name of a function call, such as ``add_3``."""
    return vertex.module.rpartition(".")[2] if _is_module(vertex) else vertex.name


def scope(vertex: Vertex) -> str:
    """Return the path of the module that runs the vertex, ``""`` for the model itself."""
    return vertex.module.rpartition(".")[0] if _is_module(vertex) else vertex.module


def operators(labels: Sequence[str]) -> str:
    """Return a chain of operators in a few words: of a long one, how it begins and ends."""
    if len(labels) > _MOST_OPERATORS:
        labels = [*labels[:2], f"… {len(labels) - 4} more …", *labels[-2:]]
    return " > ".join(labels)


def _is_module(vertex: Vertex) -> bool:
    """Whether the vertex is a call of the module it names, for whose path the trace names it."""
    stem = vertex.module.replace(".", "_").lower()
    name = vertex.name.lower()
    return bool(stem) and (name == stem or (name.startswith(f"{stem}_") and name[len(stem) + 1 :].isdigit()))


def frames(scopes: Sequence[str]) -> list[str]:
    """Return a frame for each scope: its first parts, ``""`` for the shallow; at most 18 frames, as many as can be."""
    paths = [tuple(name.split(".")) if name else () for name in scopes]
    deepest = max((len(path) for path in paths), default=0)
    counts = {d: len({path[:d] for path in paths if len(path) >= d}) for d in range(1, deepest + 1)}
    fitting = [depth for depth, count in counts.items() if count <= _MOST_FRAMES]
    depth = max(fitting, key=lambda depth: counts[depth], default=0)
    return [".".join(path[:depth]) if depth and len(path) >= depth else "" for path in paths]
