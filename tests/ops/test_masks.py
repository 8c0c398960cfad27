"""The algebra of zero masks against the same operations on full arrays of booleans."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autosubnet.ops import masks

SHAPES = st.lists(st.integers(1, 4), min_size=0, max_size=4).map(tuple)


@st.composite
def masked(draw: st.DrawFn, min_ndim: int = 0) -> tuple[tuple[int, ...], masks.Mask]:
    """Return a shape and a mask of a tensor of that shape: each dimension at its size, or at 1."""
    shape = draw(SHAPES.filter(lambda each: len(each) >= min_ndim))
    stored = tuple(draw(st.sampled_from((1, size))) for size in shape)
    bits = draw(st.lists(st.booleans(), min_size=math.prod(stored), max_size=math.prod(stored)))
    return shape, np.array(bits, dtype=bool).reshape(stored)


def full(mask: masks.Mask, shape: tuple[int, ...]) -> masks.Mask:
    return np.broadcast_to(mask, shape)


@given(masked(min_ndim=1), st.data())
@settings(deadline=None)
def test_along(case: tuple[tuple[int, ...], masks.Mask], data: st.DataObject) -> None:
    shape, mask = case
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    others = tuple(axis for axis in range(len(shape)) if axis != dim % len(shape))
    result = masks.along(mask, dim)
    assert result.ndim == 1
    assert (np.broadcast_to(result, shape[dim]) == full(mask, shape).all(axis=others)).all()


@given(masked(min_ndim=1), st.data())
@settings(deadline=None)
def test_collapse(case: tuple[tuple[int, ...], masks.Mask], data: st.DataObject) -> None:
    shape, mask = case
    dims = data.draw(st.sets(st.integers(0, len(shape) - 1)))
    given_dims = [dim - len(shape) if data.draw(st.booleans()) else dim for dim in dims]
    result = masks.collapse(mask, given_dims)
    assert all(result.shape[dim] == 1 for dim in dims)
    assert (full(result, shape) == np.broadcast_to(full(mask, shape).all(axis=tuple(dims), keepdims=True), shape)).all()


@given(masked())
@settings(deadline=None)
def test_compress(case: tuple[tuple[int, ...], masks.Mask]) -> None:
    shape, mask = case
    small = masks.compress(np.array(full(mask, shape)))
    assert (full(small, shape) == full(mask, shape)).all()
    for dim in range(len(shape)):
        assert small.shape[dim] == 1 or (small != small.take([0], axis=dim)).any()
    assert masks.same(masks.compress(small), small)


@given(masked(min_ndim=1), st.data())
@settings(deadline=None)
def test_expand_and_with_ndim(case: tuple[tuple[int, ...], masks.Mask], data: st.DataObject) -> None:
    shape, mask = case
    dim = data.draw(st.integers(0, len(shape) - 1))
    assert masks.expand(mask, shape, dim).shape == (*mask.shape[:dim], shape[dim], *mask.shape[dim + 1 :])
    assert (full(masks.expand(mask, shape, dim), shape) == full(mask, shape)).all()
    assert (full(masks.with_ndim(mask, 6), (*(2,) * (6 - len(shape)), *shape)) == full(mask, shape)).all()


@given(masked())
@settings(deadline=None)
def test_of_tensor(case: tuple[tuple[int, ...], masks.Mask]) -> None:
    shape, mask = case
    values = torch.where(torch.from_numpy(np.array(full(mask, shape))), 0.0, torch.rand(shape) + 1)
    result = masks.of_tensor(values)
    assert result.ndim == len(shape)
    assert (full(result, shape) == full(mask, shape)).all()
    assert masks.is_zero(result) == bool(full(mask, shape).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64])
def test_of_tensor_of_any_dtype(dtype: torch.dtype) -> None:
    values = torch.tensor([[0, 1], [0, 1]]).to(dtype)
    assert (masks.of_tensor(values) == [[True, False]]).all()


def test_of_tensor_takes_minus_zero_for_zero_and_nan_for_something() -> None:
    assert masks.of_tensor(torch.tensor([-0.0, math.nan, 1e-45])).tolist() == [True, False, False]


def test_same_tells_structures_apart() -> None:
    one, other = masks.uniform(2, True), masks.uniform(2, False)
    assert masks.same((one, None), (one, None))
    assert not masks.same((one, None), (one, other))
    assert not masks.same((one,), (one, one))
    assert not masks.same(one, masks.uniform(3, True))
    assert not masks.same(one, None)
