"""Arguments as JSON and back, with their types."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import fx

from autosubnet.errors import ExportError
from autosubnet.export.values import decode, encode

from .networks import Pair

CONSTANTS = [torch.float16, torch.bool, torch.strided, torch.channels_last, torch.device("cuda", 1), ..., 1 + 2j,
             torch.Size([2, 3]), slice(1, None, -2), -math.inf]  # fmt: skip
INTEGERS = st.integers(1 - 2**64, 2**64 - 1)
LEAVES = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | st.text() | st.sampled_from(CONSTANTS)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | INTEGERS | st.tuples(st.booleans()), inner, max_size=3)
        | st.tuples(inner, inner).map(lambda pair: slice(*pair))
    ),
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, slice):
        left, right = (left.start, left.stop, left.step, "slice"), (right.start, right.stop, right.step, "slice")
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (tuple, list)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_values_come_back_with_their_types(value: Any) -> None:
    text = json.dumps(encode(value, "here"), allow_nan=False)
    assert same(decode(json.loads(text), "here", {}), value)


def test_not_a_number() -> None:
    assert math.isnan(decode(encode(math.nan, "here"), "here", {}))


def test_nodes_are_references() -> None:
    graph = fx.Graph()
    node = graph.placeholder("x")
    assert encode([node], "here") == {"list": [{"node": "x"}]}
    assert decode({"list": [{"node": "x"}]}, "here", {"x": node}) == [node]


def test_named_tuples_keep_names_and_fields() -> None:
    back = decode(encode(Pair(1, [2]), "here"), "here", {})
    assert (type(back).__name__, back._fields, tuple(back)) == ("Pair", ("first", "second"), (1, [2]))


@pytest.mark.parametrize("value", [{1}, b"bytes", print, range(3), 2**64, -(2**64)])
def test_what_is_no_data(value: Any) -> None:
    with pytest.raises(ExportError, match="'here' holds a builtins"):
        encode(value, "here")
