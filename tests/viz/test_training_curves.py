"""The curves of a training show what was measured."""

from __future__ import annotations

from itertools import pairwise

from autosubnet.viz.training_curves import search_curves, training_curves

LOSSES = [1.0, 0.6, 0.5]
SCORES = [{"a": 0.1, "b": 0.3}, {"a": 0.2, "b": 0.3}, {"a": 0.2, "b": 0.4}]
PHASES = ["projection", "training", "training"]


def test_the_curves_of_a_search() -> None:
    loss, zero, score = search_curves(LOSSES, [0, 1, 1], SCORES, PHASES, {"b"}).axes
    assert (loss.lines[0].get_xdata().tolist(), loss.lines[0].get_ydata().tolist()) == ([1, 2, 3], LOSSES)
    assert zero.lines[0].get_xdata().tolist() == [0, 1, 2, 3]
    assert zero.lines[0].get_ydata().tolist() == [0, 0, 1, 1]
    assert [line.get_ydata().tolist() for line in score.lines] == [[0.1, 0.2, 0.2], [0.3, 0.3, 0.4]]
    assert [line.get_linestyle() for line in score.lines] == ["-", "--"]
    assert [(text.get_text(), text.get_color()) for text in score.texts] == [
        ("a", score.lines[0].get_color()),
        ("b", score.lines[1].get_color()),
    ]


def test_epochs_that_begin_in_the_projection_phase_are_shaded() -> None:
    for axis in search_curves(LOSSES, [0, 1, 1], SCORES, PHASES, {"b"}).axes:
        (shade,) = axis.patches
        assert (shade.get_x(), shade.get_width()) == (1, 1)


def test_names_that_would_lie_on_one_another_are_moved_apart() -> None:
    names = [f"group {number}" for number in range(12)]
    *_, score = search_curves([1.0], [0], [dict.fromkeys(names, 0.5) | {"z": 0.9}], ["warm-up"], ()).axes
    assert not score.texts, "thirteen are too many"
    assert "dashed: removed" in score.get_title(loc="left")
    *_, score = search_curves([1.0], [0], [dict.fromkeys(names[:5], 0.5)], ["warm-up"], ()).axes
    heights = sorted(text.get_position()[1] for text in score.texts)
    assert all(high - low > 0.06 for low, high in pairwise(heights))


def test_a_model_without_groups() -> None:
    *_, score = search_curves(LOSSES, [0, 0, 0], [{}, {}, {}], PHASES, ()).axes
    assert not score.lines


def test_the_loss_of_a_training() -> None:
    (axis,) = training_curves(LOSSES).axes
    assert axis.lines[0].get_ydata().tolist() == LOSSES


def test_what_was_measured_at_the_end_of_every_epoch() -> None:
    loss, score = training_curves(LOSSES, [30.0, 20.0, 15.0], "validation perplexity").axes
    assert loss.lines[0].get_ydata().tolist() == LOSSES
    assert score.lines[0].get_ydata().tolist() == [30.0, 20.0, 15.0]
    assert score.get_title(loc="left") == "validation perplexity"
