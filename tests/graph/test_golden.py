"""Dependency graphs of small networks against committed text, and against Algorithm 2 read from the paper.

After a change that is meant to change them, ``python -m graph.golden`` in ``tests/`` writes the files anew;
read the difference before it is committed.
"""

from __future__ import annotations

import pytest
from oracles import paper_candidates, paper_segments

import autosubnet
from graph.golden import path_of, text_of
from graph.models import EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_graph_is_as_committed(name: str) -> None:
    assert text_of(EXAMPLES[name]()) == path_of(name).read_text()


@pytest.mark.parametrize("name", EXAMPLES)
def test_segments_are_those_of_the_paper(name: str) -> None:
    graph = autosubnet.AutoSubnet(*EXAMPLES[name]()).graph
    expected = sorted(map(tuple, paper_segments(graph.to_networkx())))
    assert sorted(segment.vertices for segment in graph.segments) == expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_groups_and_refusals_are_the_candidates_of_the_paper(name: str) -> None:
    oto = autosubnet.AutoSubnet(*EXAMPLES[name]())
    variables = {vertex.name: vertex.variables for vertex in oto.graph.vertices}
    expected = {tuple(each) for each in paper_candidates(oto.graph.to_networkx(), variables)}
    names = [segment for group in oto.groups for segment in group.segments]
    names += [refusal.segment for refusal in oto.refused if oto.graph.segment[refusal.segment].variables]
    assert {oto.graph.segment[each].vertices for each in names} == expected
    assert len(names) == len(expected)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_parameter_is_in_a_group_or_in_the_complement(name: str) -> None:
    oto = autosubnet.AutoSubnet(*EXAMPLES[name]())
    grouped = {each.name for group in oto.groups for each in group.slices}
    assert not grouped & set(oto.complement)
    assert grouped | set(oto.complement) == {each for each, _ in oto.model.named_parameters()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_order_is_topological_and_edges_agree(name: str) -> None:
    graph = autosubnet.AutoSubnet(*EXAMPLES[name]()).graph
    names = [vertex.name for vertex in graph.vertices]
    assert all(names.index(source) < names.index(v.name) for v in graph.vertices for source in v.inputs)
    assert [v for segment in graph.segments for v in segment.vertices if v not in graph.vertex] == []
    for segment in graph.segments:
        for reader in segment.outgoing:
            assert reader == "output" or segment.name in graph.segment[reader].incoming
        for source in segment.incoming:
            assert segment.name in graph.segment[source].outgoing
