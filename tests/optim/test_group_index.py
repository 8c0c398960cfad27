"""The compiled index against loops over groups and entries."""

import pytest
import torch
from torch import Tensor, nn

from autosubnet.errors import GroupError
from autosubnet.graph.groups import Group
from autosubnet.optim.group_index import GroupIndex, first_non_finite

from .toy import GROUPS, cut, entries, group, make_toy, whole


def make_index(model: nn.Module, groups: tuple[Group, ...] = GROUPS) -> GroupIndex:
    return GroupIndex(groups, {name: p.shape for name, p in model.named_parameters()})


def mask_of(*chosen: int) -> Tensor:
    return torch.tensor([i in chosen for i in range(len(GROUPS))])


def test_sums_over_groups_agree_with_loops() -> None:
    model = make_toy()
    index = make_index(model)
    pairs = {name: (p.detach(), torch.randn_like(p)) for name, p in model.named_parameters()}
    sums = index.group_sums(index.cell_sums({name: pairs[name] for name in index.names}))
    differences = index.group_sums(index.cell_sums({name: pairs[name] for name in index.names}, difference=True))
    for i, g in enumerate(GROUPS):
        masks = entries(model, [g])
        x = torch.cat([pairs[name][0][mask] for name, mask in masks.items()])
        y = torch.cat([pairs[name][1][mask] for name, mask in masks.items()])
        assert index.sizes[i] == x.numel()
        for got, second in ((sums, y), (differences, x - y)):
            expected = torch.stack([(x * x).sum(), (x * second).sum(), (second * second).sum()])
            torch.testing.assert_close(got[:, i], expected, rtol=1e-12, atol=1e-12)


def test_slices_of_one_group_that_overlap_count_once() -> None:
    overlapping = group("g", cut("table", 0, 1), cut("table", 1, 2), *whole("head.bias"), cut("head.bias", 0, 0, 4))
    index = make_index(make_toy(), (overlapping,))
    assert index.sizes.tolist() == [5 + 4 - 1 + 5]


def test_a_large_parameter_is_summed_in_any_memory_format() -> None:
    x, y = torch.randn(2, 64, 96, 5, 5, dtype=torch.float64).unbind()
    index = GroupIndex([group("g", *whole("w"))], {"w": x.shape})
    for first, second in ((x, y), (x.to(memory_format=torch.channels_last), y)):
        sums = index.cell_sums({"w": (first, second)})[:, 0]
        expected = torch.stack([(x * x).sum(), (x * y).sum(), (y * y).sum()])
        torch.testing.assert_close(sums, expected, rtol=1e-12, atol=1e-9)


def test_half_precision_is_summed_in_float32() -> None:
    index = GroupIndex([group("g", *whole("w"))], {"w": (1000,)})
    w = torch.full((1000,), 16.0, dtype=torch.float16)
    assert index.cell_sums({"w": (w, w)})[:, 0].tolist() == [256_000.0] * 3


def test_a_missing_second_tensor_counts_as_zero() -> None:
    model = make_toy()
    index = make_index(model)
    sums = index.cell_sums({"table": (model.table.detach(), None)})
    assert sums[0].sum() > 0
    assert not sums[1:].any()


def test_spread_adds_the_values_of_all_groups_of_a_cell() -> None:
    index = make_index(make_toy())
    values = torch.tensor([1.0, 10.0, 100.0, 1000.0, 0.0, 0.0], dtype=torch.float64)
    target = torch.zeros(8, dtype=torch.float64)
    index.subtract("norm.weight", target, index.spread(values), torch.ones(8, dtype=torch.float64))
    assert (-target).tolist() == [1, 1, 1, 10, 1010, 1000, 1100, 100]


@pytest.mark.parametrize("chosen", [(), (0,), (3, 2), (4,), (4, 5), (0, 1, 2, 3, 4, 5)])
def test_zero_set_clears_the_union_and_nothing_else(chosen: tuple[int, ...]) -> None:
    model = make_toy()
    index = make_index(model)
    zeros = index.zero_set(index.union(mask_of(*chosen)))
    expected = entries(model, [GROUPS[i] for i in chosen])
    assert set(zeros.names) == set(expected)
    for name, p in model.named_parameters():
        tensor = torch.randn_like(p)
        before = tensor.clone()
        if name in zeros.names:
            zeros.clear(name, tensor)
        cleared = expected.get(name, torch.zeros(p.shape, dtype=torch.bool))
        assert torch.equal(tensor, before.masked_fill(cleared, 0))
        assert (name in zeros.whole) == bool(cleared.all())


def test_no_groups() -> None:
    index = make_index(make_toy(), ())
    assert index.cell_sums({}).shape == (3, 0)
    assert index.group_sums(index.cell_sums({})).shape == (3, 0)
    assert index.zero_set(index.union(torch.zeros(0, dtype=torch.bool))).names == ()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (whole("absent.weight")[0], "group 'g' holds 'absent.weight', which is no parameter of the model"),
        (cut("table", 2, 0), "group 'g' cuts 'table' of shape \\(4, 5\\) along dimension 2"),
        (cut("table", 0, 4), "along dimension 0 at indices that it does not have"),
    ],
)
def test_slices_that_do_not_exist(bad: object, message: str) -> None:
    with pytest.raises(GroupError, match=message):
        make_index(make_toy(), (Group("g", "gezig", (bad,), 0, ("g",)),))  # type: ignore[arg-type]  # parametrized


def test_first_non_finite_names_the_first() -> None:
    good, nan, inf = torch.ones(3), torch.tensor([1, float("nan")]), torch.tensor([float("inf"), float("-inf")])
    assert first_non_finite({}) is None
    assert first_non_finite({"a": good, "b": good}) is None
    assert first_non_finite({"a": good, "b": inf, "c": nan}) == "b"
