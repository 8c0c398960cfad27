"""Sharing links and folding columns change the drawing, never what it says."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosubnet.viz.boxes import Box, Link, links_to, share
from autosubnet.viz.columns import fold

UNHURRIED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def graphs(draw: st.DrawFn) -> list[Box]:
    """Return boxes of random heights that each read some of the few before them."""
    boxes: list[Box] = []
    for number in range(draw(st.integers(1, 60))):
        near = [box.name for box in boxes[-6:]]
        sources = draw(st.lists(st.sampled_from(near), unique=True, max_size=5)) if near else []
        boxes.append(Box(f"b{number}", links_to(sources), "", lines=draw(st.integers(1, 12)), width=10))
    return boxes


def reads(boxes: list[Box]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for box in boxes:
        found[box.name] = set()
        for link in box.links:
            found[box.name] |= found[link.source] if link.shared else {link.source}
    return found


@UNHURRIED
@given(graphs())
def test_shared_links_say_the_same(boxes: list[Box]) -> None:
    assert reads(share(boxes)) == reads(boxes)


@UNHURRIED
@given(graphs())
def test_columns_hold_every_box_in_order(boxes: list[Box]) -> None:
    columns = fold(boxes)
    assert [box for column in columns for box in column] == boxes
    assert all(columns)


def chain(count: int, frame_of: int | None = None) -> list[Box]:
    names = [f"b{number}" for number in range(count)]
    frames = ["" if frame_of is None else f"f{number // frame_of}" for number in range(count)]
    return [
        Box(name, links_to(names[max(0, number - 1) : number]), "", lines=4, width=10, frame=frames[number])
        for number, name in enumerate(names)
    ]


def test_a_short_graph_stays_whole() -> None:
    assert len(fold(chain(12))) == 1


def test_columns_are_of_about_equal_height() -> None:
    sizes = [len(column) for column in fold(chain(300))]
    assert 5 <= len(sizes) <= 20
    assert max(sizes) <= 1.5 * min(sizes)


def test_cuts_spare_frames() -> None:
    columns = fold(chain(300, frame_of=7))
    assert all(before[-1].frame != after[0].frame for before, after in pairwise(columns))


def test_a_graph_without_narrow_places_is_not_cut() -> None:
    """Eight strands side by side: every cut would take eight links."""
    strands = [
        Box(f"s{strand}_{number}", links_to([f"s{strand}_{number - 1}"] if number else []), "", lines=4, width=10)
        for number in range(60)
        for strand in range(8)
    ]
    assert len(fold(strands)) == 1


def test_a_dense_block_has_two_links_a_layer() -> None:
    """Concatenations of all layers before, as in DenseNet: linear, not quadratic."""
    boxes = [Box("x", (), "", lines=1, width=10)]
    layers = ["x"]
    for number in range(24):
        boxes.append(Box(f"cat{number}", links_to(layers), "", lines=2, width=10))
        boxes.append(Box(f"layer{number}", links_to([f"cat{number}"]), "", lines=6, width=10))
        layers.append(f"layer{number}")
    shared = share(boxes)
    assert reads(shared) == reads(boxes)
    assert max(len(box.links) for box in shared) == 2
    assert shared[-2].links == (Link("cat22", shared=True), Link("layer22"))
