"""The long hunt: a failure is made smaller from its own network, and is mended only if the same network passes."""

from __future__ import annotations

import random
import time
from typing import Any

import fuzz
import pytest
from plan_text import plan_in
from plans import Plan, build
from random_models import draw_plan


def failing(monkeypatch: pytest.MonkeyPatch, *ops: str) -> None:
    """Let every network fail that holds all of these, and others elsewhere."""

    def check_model(plan: Plan, sparsity: float, seed: int) -> tuple[int, int]:
        found = {step.op for step in plan.steps}
        if found >= {*ops}:
            raise AssertionError("the same")
        if "cat" in found:
            raise KeyError("another failure")
        return 1, 1

    monkeypatch.setattr(fuzz, "check_model", check_model)


def seeds(*ops: str) -> list[int]:
    plans = ((seed, draw_plan(random.Random(seed).choice)) for seed in range(3000))
    return [seed for seed, plan in plans if {step.op for step in plan.steps} >= {*ops}][:4]


@pytest.mark.parametrize("ops", [("prelu", "lerp"), ("token_conv", "rms_norm"), ("pixel_linear", "glu")], ids=str)
def test_a_rare_failure_becomes_a_small_network(ops: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, *ops)
    before, after = 0, 0
    for seed in seeds(*ops):
        plan = draw_plan(random.Random(seed).choice)
        what = fuzz.check(plan, seed)
        assert isinstance(what, str)
        small = fuzz.made_smaller(seed, what)
        assert {step.op for step in small.steps} >= {*ops}
        before, after = before + len(plan.steps), after + len(small.steps)
    assert after <= before / 4


def test_a_failure_is_tried_again_with_its_own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its seed draws another one by now."""
    failing(monkeypatch, "prelu")
    (seed, *_) = seeds("prelu")
    what = fuzz.check(draw_plan(random.Random(seed).choice), seed)
    run: dict[str, Any] = {"failures": {str(seed + 5000): what}}
    assert fuzz.tried_again(run) == {**run, "mended": {}}
    monkeypatch.setattr(fuzz, "check_model", lambda *_: (1, 1))
    assert fuzz.tried_again(run) == {"failures": {}, "mended": run["failures"]}


def test_a_network_that_does_not_come_to_an_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    monkeypatch.setattr(fuzz, "check_model", lambda *_: time.sleep(20))
    what = fuzz.check(draw_plan(random.Random(0).choice), 0)
    assert isinstance(what, str)
    assert "TimeoutError: a network took more than 1 seconds" in what


def test_every_plan_can_be_read_back() -> None:
    for seed in range(1000):
        plan = draw_plan(random.Random(seed).choice)
        assert plan_in(f"Traceback of v0:\n{plan}") == plan
    with pytest.raises(ValueError, match="no plan"):
        plan_in("Traceback")


def test_what_is_made_smaller_can_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates of which nothing can be built are no failures: what is left fails as the network of the seed does."""

    def check_model(plan: Plan, sparsity: float, seed: int) -> tuple[int, int]:
        build(plan)
        if any(step.op == "prelu" for step in plan.steps):
            raise AssertionError("the same")
        return 1, 1

    monkeypatch.setattr(fuzz, "check_model", check_model)
    for seed in seeds("prelu", "cat"):
        plan = draw_plan(random.Random(seed).choice)
        small = fuzz.made_smaller(seed, str(fuzz.check(plan, seed)))
        model, inputs = build(small)
        model(*inputs)
        assert len(small.steps) <= len(plan.steps) / 3
