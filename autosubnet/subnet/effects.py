"""Writes to memory that the smaller network has to make though no output needs them: a norm's statistics as well."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from torch import fx
from torch.fx.node import map_arg

from autosubnet.capture.trace import MODES, output_of

if TYPE_CHECKING:
    from autosubnet.subnet.erase import Erasure


class Effects:
    """Writes to memory, and which of them somebody sees, once it is known what the outputs need.

    A buffer that a module writes is part of the model's state, and later calls may read it. It goes where all goes
    that it was for: what its module computed of the outputs, and what it recorded of that.
    """

    def __init__(self, erasure: Erasure) -> None:
        self.erasure = erasure
        self.effects = [node for node in erasure.view.nodes if node.meta.get("effect")]
        self.writes: dict[fx.Node, list[fx.Node]] = defaultdict(list)  # to memory that is no buffer, by where it begins
        for node in self.effects:
            if node.meta["root"].op != "get_attr":
                self.writes[node.meta["root"]].append(node)
        company = self._company() if self.effects else {}
        live = {owner for owner, nodes in company.items() if any(erasure.resolve(n) in erasure.live for n in nodes)}
        self.gone = company.keys() - live
        view = erasure.view
        self.updates = {
            node: view.buffers_of(node) for node, call in view.calls.items() if view.rules[node].is_stateful(call)
        }

    def seen(self) -> list[fx.Node]:
        """Return the writes that are not live, though what they write is read by something that is.

        Whoever asks for a size alone reads nothing of it.
        """
        erasure = self.erasure
        returned: set[fx.Node] = set()
        for mode in MODES:
            map_arg(output_of(erasure.view.trace.graph, mode), lambda node: returned.add(erasure.resolve(node)))
        read = {source for node in erasure.live for source in erasure.sources(node)} | returned
        roots = {node.meta["root"] for node in erasure.live if node in read or node.op == "placeholder"}
        others = {source for node in erasure.live - self.updates.keys() for source in erasure.sources(node)}
        statistics = {erasure.view.attribute_name(node) for node in others | returned}
        return [
            *(node for node in self.effects if node not in erasure.live and self._is_seen(node.meta["root"], roots)),
            *(node for node in self.updates if node not in erasure.live and statistics & self.updates[node]),
        ]

    def _is_seen(self, root: fx.Node, roots: set[fx.Node]) -> bool:
        return root in roots if root.op != "get_attr" else _owner(root) not in self.gone

    def _company(self) -> dict[str, list[fx.Node]]:
        """Return by module the values of the original that the outputs need and that are its own or are recorded."""
        graph = self.erasure.view.trace.graph
        needed = self._ahead_of([output_of(graph, mode) for mode in MODES], up_to=set())
        working = {node for node in needed if node.op != "placeholder" and not node.meta.get("effect")}
        company: dict[str, list[fx.Node]] = defaultdict(list)
        for node in working:
            company[node.meta["module"]].append(node)
        for node in self.effects:
            if node.meta["root"].op == "get_attr":
                company[_owner(node.meta["root"])] += working & self._ahead_of(node.args, up_to=working)
        return {owner: nodes for owner, nodes in company.items() if nodes}

    def _ahead_of(self, values: Any, up_to: set[fx.Node]) -> set[fx.Node]:
        """Return the nodes in ``values`` and all from which they are computed, or their memory, up to some."""
        found: set[fx.Node] = set()
        pending: list[fx.Node] = []
        map_arg(values, pending.append)
        while pending:
            node = pending.pop()
            if node not in found:
                found.add(node)
                pending += [] if node in up_to else [*node.all_input_nodes, *self.writes[node.meta["root"]]]
        return found


def _owner(buffer: fx.Node) -> str:
    return str(buffer.target).rpartition(".")[0]
