"""Tests of the tests: the random models are what they claim to be."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from plan_operators import FUNCTIONS, LAYERS
from plans import COVERAGE, build, constructs
from probes import redraw, run
from promises import gradients, variations
from random_models import ODD, ODD_NORMS, draw_plan
from test_random_models import in_precision
from torch import nn

SEEDS = range(200)


def test_random_models_run_vary_and_train() -> None:
    found: Counter[str] = Counter()
    for seed in SEEDS:
        plan = draw_plan(random.Random(seed).choice)
        model, example_inputs = build(plan)
        found.update(constructs(plan))
        variations(model, example_inputs)
        for batch in (2, 5):
            with torch.no_grad():  # a weight that is computed with gradients could not be copied afterwards
                outputs = run(model, redraw(example_inputs, batch, seed), train=True)
            assert all(o.isfinite().all() and o.shape[0] == batch for o in outputs), str(plan)
        for name, gradient in gradients(model, example_inputs, train=True).items():
            assert gradient.isfinite().all(), f"{name}: infinite gradient in\n{plan}"
    rare = {n: found[n] for least, names in COVERAGE.items() for n in names.split() if found[n] < least}
    assert not rare, f"too rare in {len(SEEDS)} random models: {rare}"


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "autocast"])
def test_most_models_have_kernels_in_less_precision(precision: str) -> None:
    """Which are compared there; of the others nothing is known."""
    drawn = [draw_plan(random.Random(seed).choice) for seed in range(60)]
    run_there = [in_precision(precision, *build(plan)) is not None for plan in drawn]
    assert sum(run_there) >= 0.8 * len(drawn)


def test_every_construct_occurs() -> None:
    found = {name for seed in range(2000) for name in constructs(draw_plan(random.Random(seed).choice))}
    flags = (
        "auxiliary channels_last dict nested dataclass output_of_output tied_embedding born float16 bfloat16 autocast"
    )
    options = "no_momentum no_statistics padding_mode ceil_mode without_padding sync causal no_affine_instance"
    odd = [f"{op}:{kind}" for op in ("odd_conv", "odd_linear") for kind in ODD]
    odd += [f"odd_norm:{kind}" for kind in ODD_NORMS] + ["odd_conv:standardised"]
    wanted = {*LAYERS, *FUNCTIONS, *odd, "instance_statistics", *flags.split(), *options.split()}
    assert wanted <= found, f"in none of 2,000 plans: {sorted(wanted - found)}"


def test_a_plan_builds_the_same_model_twice() -> None:
    plan = draw_plan(random.Random(7).choice)
    (first, a), (second, b) = build(plan), build(plan)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    state = second.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in first.state_dict().items())
    norms = [m for m in first.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]
    assert norms
    assert all(norm.momentum == 0.1 and norm.running_mean.abs().max() > 1e-3 for norm in norms)
