"""Masks through reshapes, against the same reshape of full arrays of booleans."""

import math
import operator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autosubnet.ops import masks
from autosubnet.ops.reshape import reshaped
from autosubnet.ops.sizes import Arithmetic, product

from .test_masks import full, masked


def reshape(mask: masks.Mask, old: tuple[int, ...], new: tuple[int, ...]) -> masks.Mask:
    """Reshape where the first size alone varies."""
    sizes, wanted = (("n", *shape[1:]) if shape else () for shape in (old, new))
    return reshaped(mask, old, new, sizes, wanted if old[:1] == new[:1] else new)


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, ...], masks.Mask, tuple[int, ...]]:
    """Return a shape, a mask, and another shape of as many entries: factors of the first one, regrouped."""
    shape, mask = draw(masked())
    factors = [factor for size in shape for factor in ((2, 2) if size == 4 else (size,)) if factor > 1]
    new: list[int] = []
    for factor in factors:
        if new and draw(st.booleans()):
            new[-1] *= factor
        else:
            new += [1] * draw(st.integers(0, 1)) + [factor]
    return shape, mask, (*new, *[1] * draw(st.integers(0, 2)))


@given(cases())
@settings(deadline=None, max_examples=300)
def test_reshape(case: tuple[tuple[int, ...], masks.Mask, tuple[int, ...]]) -> None:
    """Exact where the batch stays by itself: an equal dimension ahead of all stands for it."""
    shape, mask, new = case
    result = reshape(mask[None], (3, *shape), (3, *new))
    assert result.ndim == len(new) + 1
    assert (full(result, (3, *new)) == full(mask, shape).reshape(new)).all()


@given(cases())
@settings(deadline=None, max_examples=300)
def test_reshape_that_mixes_the_batch_claims_no_more_than_is_so(
    case: tuple[tuple[int, ...], masks.Mask, tuple[int, ...]],
) -> None:
    shape, mask, new = case
    result = reshape(mask, shape, new)
    assert result.ndim == len(new)
    assert (full(result, new) <= full(mask, shape).reshape(new)).all()
    assert masks.is_zero(result) == bool(full(mask, shape).all())


@given(cases())
@settings(deadline=None, max_examples=100)
def test_reshape_there_and_back(case: tuple[tuple[int, ...], masks.Mask, tuple[int, ...]]) -> None:
    shape, mask, new = ((3, *case[0]), case[1][None], (3, *case[2]))
    back = reshape(reshape(mask, shape, new), new, shape)
    assert masks.same(masks.compress(back), masks.compress(mask))


def test_reshape_across_the_batch_claims_no_pattern() -> None:
    mask = np.array([[False, False, True, True]])
    assert not reshape(mask, (2, 4), (4, 2)).any()
    assert not reshape(mask, (2, 4), (8,)).any()


def test_reshape_keeps_uniform_dimensions_small() -> None:
    mask = np.array([True, False, True, False]).reshape(1, 4, 1, 1)
    assert reshape(mask, (8, 4, 16, 16), (8, 2, 2, 256)).shape == (1, 2, 2, 1)
    assert reshape(masks.uniform(4, True), (8, 4, 16, 16), (8 * 4, 256)).shape == (1, 1)


@given(
    first=st.integers(1, 3),
    inner=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    seen=st.integers(1, 3),
    other=st.integers(0, 4),
    data=st.data(),
)
@settings(deadline=None, max_examples=300)
def test_a_first_block_keeps_its_place_at_every_length(
    first: int, inner: list[int], seen: int, other: int, data: st.DataObject
) -> None:
    """A sequence of some first tokens and others that are alike, flattened and taken apart again.

    What is claimed at the length that was seen holds at any other.
    """
    length = Arithmetic(operator.add, (first, "n"))
    tokens = st.lists(st.booleans(), min_size=math.prod(inner), max_size=math.prod(inner))
    head, rest = [data.draw(tokens) for _ in range(first)], data.draw(tokens)
    mask = np.array([*head, *[rest] * seen], dtype=bool).reshape(first + seen, *inner)
    elsewhere = np.array([*head, *[rest] * other], dtype=bool).reshape(-1)

    sizes, joined = [length, *inner], [product([length, *inner])]
    flat = reshaped(mask, mask.shape, (mask.size,), sizes, joined)
    claims = full(flat, (mask.size,))
    block = first * math.prod(inner)
    assert (claims[:block] == mask.reshape(-1)[:block]).all()
    assert (claims[block:] == all(rest)).all()
    assert (np.resize(claims[block:], elsewhere.size - block) <= elsewhere[block:]).all()

    back = full(reshaped(flat, (mask.size,), mask.shape, joined, sizes), mask.shape)
    assert (back.reshape(-1) == claims).all()
