"""Independent oracles: the candidates by Algorithm 2 of OTOv3, and zero claims against real values."""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
import torch
from probes import redraw
from torch import Tensor, fx


def paper_segments(graph: nx.DiGraph[str]) -> list[list[str]]:
    """Return the segments of a trace graph, by Algorithm 2, lines 3 to 10.

    A segment grows until it meets a joint or a vertex with several outgoing vertices. What the paper leaves
    open: a vertex with several incoming vertices that is no joint begins a segment of its own.
    """
    kind = nx.get_node_attributes(graph, "kind")
    begins = {v: all(kind[p] == "input" for p in graph.predecessors(v)) for v in graph if kind[v] != "input"}
    queue = deque(v for v, first in begins.items() if first)
    seen, segments = set(queue), []
    while queue:
        segment = [queue.popleft()]
        while (following := only_successor(graph, segment[-1], kind)) is not None:
            segment.append(following)
        segments.append(segment)
        new = [v for v in graph.successors(segment[-1]) if v not in seen and kind[v] != "output"]
        queue.extend(new)
        seen.update(new)
    return segments


def only_successor(graph: nx.DiGraph[str], vertex: str, kind: Mapping[str, str]) -> str | None:
    """Return the vertex that a segment ending at ``vertex`` grows into, if any."""
    following = list(graph.successors(vertex))
    if kind[vertex] == "joint" or len(following) != 1:
        return None
    fits = kind[following[0]] not in {"joint", "output"} and graph.in_degree(following[0]) == 1
    return following[0] if fits else None


def ahead_of_joints(graph: nx.DiGraph[str]) -> list[list[str]]:
    """Return the segments that only joints read (line 12), but for the joints themselves."""
    kind = nx.get_node_attributes(graph, "kind")
    ends_in = [(segment, {kind[v] for v in graph.successors(segment[-1])}) for segment in paper_segments(graph)]
    return [segment for segment, readers in ends_in if readers == {"joint"} and kind[segment[-1]] != "joint"]


def paper_candidates(graph: nx.DiGraph[str], variables: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the segments with trainable variables that only joints read (lines 11 to 13)."""
    return [segment for segment in ahead_of_joints(graph) if any(variables[v] for v in segment)]


class Collector(fx.Interpreter):
    """Runs a graph and keeps the value of every vertex as it was when it was computed."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.values[n.name] = value.detach().clone()
        return value


def check_zero_claims(
    module: fx.GraphModule, every: Sequence[Mapping[str, Any]], inputs: Sequence[Any], train: bool
) -> int:
    """Every entry that is claimed zero is exactly 0.0 on random inputs; return how many were claimed."""
    collector = Collector(copy.deepcopy(module).train(train))
    count = 0
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(3)
        collector.run(*redraw(inputs, 4, 31))
    for (name, value), claims in itertools.product(collector.values.items(), every):
        if name not in claims:
            continue
        claim = np.broadcast_to(np.asarray(claims[name], dtype=bool), value.shape)
        wrong = value.numpy()[claim] != 0.0
        mode = "train" if train else "eval"
        assert not wrong.any(), f"{mode}: {wrong.sum()} of {claim.sum()} claimed zeros of {name} are not zero"
        count += int(claim.sum())
    return count
