"""Tests of the tests: Algorithm 2 on graphs whose segments are known."""

from __future__ import annotations

import networkx as nx
from oracles import paper_candidates, paper_segments


def picture(edges: str, **kinds: str) -> nx.DiGraph[str]:
    """Return the trace graph of ``edges``, such as ``"a-b b-c"``; vertices are accessory by default."""
    graph: nx.DiGraph[str] = nx.DiGraph(edge.split("-") for edge in edges.split())
    for name in graph:
        graph.nodes[name]["kind"] = kinds.get(name, "accessory")
    return graph


def test_algorithm_2_on_the_demo_of_the_paper() -> None:
    """Figure 1: seven segments with variables, of which four are read by joints only."""
    graph = picture(
        "x-conv1 conv1-bn1 bn1-conv2 conv2-bn2 bn2-cat bn1-max max-conv3 conv3-bn3 bn3-cat bn1-avg avg-cat "
        "cat-conv6 conv6-bn6 bn6-conv7 conv7-bn7 bn6-conv8 conv8-bn8 bn7-add bn8-add add-head head-out",
        **{"x": "input", "out": "output", "cat": "joint", "add": "joint", "head": "stem"},
        **{f"conv{i}": "stem" for i in (1, 2, 3, 6, 7, 8)},
    )
    variables = {v: [v] if v.startswith(("conv", "bn", "head")) else [] for v in graph}
    candidates = [["conv2", "bn2"], ["conv7", "bn7"], ["conv8", "bn8"], ["max", "conv3", "bn3"]]
    others = [["conv1", "bn1"], ["avg"], ["cat"], ["conv6", "bn6"], ["add"], ["head"]]
    assert sorted(paper_segments(graph)) == sorted([*candidates, *others])
    assert sorted(paper_candidates(graph, variables)) == candidates


def test_algorithm_2_where_a_branch_is_read_twice() -> None:
    """Read by two joints: a candidate. Read by a joint and something else: not."""
    edges = "x-a x-b x-c a-add b-add a-mul c-mul c-relu mul-last add-last relu-last last-out"
    graph = picture(edges, x="input", out="output", add="joint", mul="joint", last="joint")
    variables = {v: [v] if v in {"a", "b", "c"} else [] for v in graph}
    assert sorted(paper_candidates(graph, variables)) == [["a"], ["b"]]
