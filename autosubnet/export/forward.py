"""A graph as the body of a ``forward``, with a few short names that are used again once their value is not needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, count

from autosubnet.errors import ExportError
from autosubnet.export.expressions import arguments, call, constant, function_call, method_call
from autosubnet.export.paths import Paths
from autosubnet.export.values import Json

_RESERVED = frozenset({"self", "torch", "nn", "F", "math", "operator", "Path", "load", "Subnet", "StochasticDepth"})
_SIZES = frozenset({"size", "numel", "dim"})


def inputs(nodes: Sequence[Json]) -> list[str]:
    """Return the parameters of ``forward``, with their defaults.

    Raises:
        ExportError: an input has a name that the source file needs itself.
    """
    found = []
    for node in nodes:
        if node["op"] == "placeholder":
            if node["target"] in _RESERVED:
                raise ExportError(f"an input is named {node['target']!r}, which means something else; rename it")
            default = f"={constant(node['args'][0], {})}" if node["args"] else ""
            found.append(node["target"] + default)
    return found


class _Names:
    """Names of variables, each free again when nothing will read its value."""

    def __init__(self, taken: frozenset[str]) -> None:
        self._taken = taken | _RESERVED
        self._free: dict[str, list[str]] = {"x": [], "n": []}
        self._order: list[str] = []  # in which names were made up
        self._new = {"x": self._pool(["x", "y", "z", "u", "v", "w"], "x"), "n": self._pool(["n", "m", "k"], "n")}

    def _pool(self, first: Sequence[str], base: str) -> Iterator[str]:
        names = chain(first, (f"{base}{number}" for number in count(1)))
        return (name for name in names if name not in self._taken)

    def take(self, sort: str) -> str:
        if not self._free[sort]:
            self._order.append(next(self._new[sort]))
            return self._order[-1]
        return self._free[sort].pop(0)

    def give_back(self, name: str, sort: str) -> None:
        self._free[sort] = sorted([*self._free[sort], name], key=self._order.index)


def body(nodes: Sequence[Json], paths: Paths) -> list[str]:
    """Return the statements of ``forward`` without indentation."""
    readers = Counter(name for node in nodes for name in _reads(node))
    names: dict[str, str] = {node["name"]: node["target"] for node in nodes if node["op"] == "placeholder"}
    sorts: dict[str, str] = {}  # node -> the pool that its variable came from
    pool = _Names(frozenset(names.values()))
    lines = []
    for node in nodes:
        if node["op"] == "placeholder":
            continue
        if node["op"] == "get_attr":
            names[node["name"]] = paths.expression(node["target"], tensor=True)
            continue
        words = _statement(node, names, paths)
        for name in _reads(node):
            readers[name] -= 1
            if readers[name] == 0 and name in sorts:
                pool.give_back(names[name], sorts[name])
        if readers[node["name"]] and node["target"] != "operator.setitem":
            sort = sorts[node["name"]] = "n" if node["target"] in _SIZES else "x"
            names[node["name"]] = pool.take(sort)
            words = f"{names[node['name']]} = {words}"
        elif readers[node["name"]]:
            names[node["name"]] = "None"  # what an assignment to an index returns
        lines.append(words)
    return lines


def _statement(node: Json, names: dict[str, str], paths: Paths) -> str:
    match node["op"]:
        case "call_module":
            return call(paths.expression(node["target"]), arguments(node, names))
        case "call_function":
            return function_call(node, names)
        case "call_method":
            return method_call(node, names)
        case _:
            return f"return {constant(node['args'][0], names)}"


def _reads(node: Json) -> list[str]:
    """Return the nodes that a node reads, each once."""
    return list(dict.fromkeys(_references([node["args"], list(node["kwargs"].values())])))


def _references(data: Json) -> Iterator[str]:
    if isinstance(data, dict):
        if "node" in data:
            yield data["node"]
        data = list(data.values())
    if isinstance(data, list):
        for each in data:
            yield from _references(each)
