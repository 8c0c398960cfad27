"""A few of torch's operators as its own tests call them (all of them: ``benchmarks/operators.py``)."""

from __future__ import annotations

import pytest
from torch_operators import CONNECTED, EXACT, calls, connected, exact

from autosubnet.ops import elementwise, linear, reduction

# Zeros may make an output constant, which is told, and is no fault here.
pytestmark = pytest.mark.filterwarnings("ignore::autosubnet.errors.AutoSubnetWarning")
OPERATORS = (
    "add", "sub", "mul", "div.no_rounding_mode", "pow", "clamp", "maximum", "where", "masked_fill", "lerp", "addcmul",
    "exp", "sigmoid", "atan2", "cumsum", "flip", "roll", "gather", "index_select", "scatter_add", "cat", "stack",
    "split", "matmul", "baddbmm", "einsum", "linalg.norm", "softmax", "to_sparse", "resize_as_", "hash_tensor",
    "_segment_reduce.lengths", "nn.functional.layer_norm", "nn.functional.conv2d", "nn.functional.avg_pool2d",
    "nn.functional.max_pool2d", "nn.functional.interpolate.nearest", "nn.functional.embedding", "nn.functional.prelu",
    "nn.functional.glu", "nn.functional.pad.constant",
)  # fmt: skip
GOOD = ("exact", "smaller", "valid", "invalid", "invalid, connected", "not run")


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator(name: str) -> None:
    found = [
        (called, check.__name__, pattern, check(make(), pattern, 0))
        for called, make in calls(2, [name])
        for check, patterns in ((exact, EXACT[:4]), (connected, CONNECTED[2:5]))
        for pattern in patterns
    ]
    assert found
    assert not [each for each in found if each[-1] not in GOOD and "holds no finite number" not in each[-1]]
    assert {each[-1] for each in found} != {"not run"}


@pytest.mark.parametrize("name", ["lerp", "nn.functional.prelu"])
def test_a_factor_that_is_zero_ends_a_dependence(name: str) -> None:
    found = [connected(make(), ["slice"], seed) for _, make in calls(1, [name]) for seed in range(880, 920)]
    assert not [each for each in found if each not in GOOD]


@pytest.mark.parametrize("name", ["exp", "sigmoid"])
def test_a_rule_that_claims_too_much_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise.LosesZero, "zeros", elementwise.KeepsZero.zeros)
    assert any(exact(make(), ["all"], 0).startswith("WRONG CLAIM") for _, make in calls(3, [name]))


@pytest.mark.parametrize(
    ("name", "rule"),
    [("nn.functional.embedding", linear.Embedding), ("nn.functional.interpolate.nearest", reduction.Spatial)],
)
def test_a_check_that_doubts_too_little_is_caught(name: str, rule: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "blurs", lambda *_: False)
    found = [connected(make(), ["slice"], seed) for _, make in calls(8, [name]) for seed in range(8)]
    assert any(each.startswith("DISCONNECTED") for each in found)
