"""Validity: which groups may go together, and the choice of K of them (OTOv3, Section 3.2)."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Collection, Sequence
from itertools import chain, combinations

import numpy as np
import pytest
import torch
from removal import dependences
from torch import Tensor, nn

from autosubnet import AutoSubnet
from autosubnet.errors import BudgetError, InputError
from autosubnet.graph.validity import Validity, select
from graph.models import EXAMPLES, ClassToken, Example, demo, inception, settled, transformer

Names = Collection[str]


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(names, size) for size in range(len(names) + 1)))


def demo_is_valid(gone: Names) -> bool:
    """Figure 1: something must reach the concat, and something the last sum."""
    return not {"conv7", "conv8"} <= set(gone) and not {"conv2", "conv3", "conv4", "conv5"} <= set(gone)


def resnet_is_valid(gone: Names) -> bool:
    return not {"body.0", "body.0.shortcut"} <= set(gone)


def inception_is_valid(gone: Names) -> bool:
    blocks = [{f"body.{i}.{branch}" for branch in ("one.0", "three", "five", "pool.1")} for i in (0, 1)]
    return not any(block <= set(gone) for block in blocks)


def transformer_is_valid(gone: Names) -> bool:
    """The head reads the class token alone, and only attention tells that anything of the patches."""
    return not {"encoders.0.norm1", "encoders.1.norm1"} <= set(gone)


def always_valid(gone: Names) -> bool:
    return True


ORACLES: dict[str, Callable[[Names], bool]] = {
    "demo": demo_is_valid,
    "resnet": resnet_is_valid,
    "inception": inception_is_valid,
    "transformer": transformer_is_valid,
    "densenet": always_valid,
    "squeeze_excite": always_valid,
}


@pytest.mark.parametrize("name", ORACLES)
def test_every_subset_against_the_connections_drawn_by_hand(name: str) -> None:
    oto = AutoSubnet(*EXAMPLES[name]())
    for gone in subsets([group.name for group in oto.groups]):
        assert oto.is_valid(gone) == ORACLES[name](gone), gone


@pytest.mark.parametrize("name", ORACLES)
def test_every_subset_against_numbers(name: str) -> None:
    """What is called valid lets the output vary with the input; what is not leaves it constant."""
    model, inputs = EXAMPLES[name]()
    oto = AutoSubnet(model, inputs)
    chosen = random.Random(0).sample(every := subsets([group.name for group in oto.groups]), min(16, len(every)))
    for gone in chosen:
        zeroed = copy.deepcopy(model)
        _zero(oto, zeroed, gone)
        assert oto.is_valid(gone) == bool(dependences(zeroed, inputs, train=False)), gone


@pytest.mark.parametrize("name", ["demo", "inception", "transformer"])
def test_removing_more_never_repairs(name: str) -> None:
    oto = AutoSubnet(*EXAMPLES[name]())
    names = [group.name for group in oto.groups]
    rng = random.Random(1)
    for _ in range(12):
        order = rng.sample(names, len(names))
        verdicts = [oto.is_valid(order[:size]) for size in range(len(order) + 1)]
        assert verdicts == sorted(verdicts, reverse=True), order
        assert verdicts[0]
        assert not verdicts[-1]


@pytest.mark.parametrize("name", ["demo", "inception", "transformer", "densenet"])
def test_growing_step_by_step_equals_starting_from_scratch(name: str) -> None:
    oto = AutoSubnet(*EXAMPLES[name]())
    rng = random.Random(2)
    for _ in range(6):
        order = rng.sample(oto.groups, len(oto.groups))
        growing, taken = oto._validity(), []
        for group in order:
            expected = _fresh(oto, [*taken, group]).is_valid()
            assert growing.try_add(group) == expected
            taken += [group] if expected else []
            assert _state(growing) == _state(_fresh(oto, taken)), "a refused group left something behind"


def test_the_order_of_removal_does_not_matter() -> None:
    oto = AutoSubnet(*inception())
    growing = oto._validity()
    groups = [group for group in oto.groups if growing.try_add(group)]
    assert len(groups) >= 5
    assert _state(_fresh(oto, groups)) == _state(_fresh(oto, groups[::-1]))


def _fresh(oto: AutoSubnet, groups: Sequence[object]) -> Validity:
    validity = oto._validity()
    for group in groups:
        validity.add(group)
    return validity


def _state(validity: Validity) -> list[object]:
    """All masks of a validity, as plain data."""
    tables = [validity.propagation.masks, *(each.masks for each in validity.dependences.values())]
    return [_plain(table[node]) for table in tables for node in validity.view.nodes]


def _plain(mask: object) -> object:
    if isinstance(mask, tuple):
        return tuple(_plain(each) for each in mask)
    return mask.tolist() if isinstance(mask, np.ndarray) else mask


def _zero(oto: AutoSubnet, model: nn.Module, names: Names) -> None:
    parameters = dict(model.named_parameters())
    for each in (each for group in oto.groups if group.name in names for each in group.slices):
        whole = each.indices is None
        parameters[each.name].data[... if whole else list(each.indices)] = 0.0


# ---------------------------------------------------------------- what counts


def test_values_that_happen_to_be_zero_do_not_count() -> None:
    """A model with a zero head, a zero residual and all else zero is as valid as a trained one."""
    model, inputs = demo()
    for parameter in model.parameters():
        parameter.data.zero_()
    oto = AutoSubnet(model, inputs)
    assert oto.is_valid([])
    assert oto.is_valid(["conv7"])
    assert not oto.is_valid(["conv7", "conv8"])


class TwoInputs(nn.Module):
    """Two images, a mask of booleans, and two outputs; the second output reads the second image alone."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        first = self.a(x) + self.b(y)
        first = first.masked_fill(mask, 0.0)
        return first, y + self.c(y) + self.d(y)


def two_inputs() -> Example:
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 4)
    return TwoInputs(), (x, y, x > 0)


def test_every_output_keeps_every_floating_point_input_by_default() -> None:
    oto = AutoSubnet(*two_inputs())
    assert [group.name for group in oto.groups] == ["a", "b", "c", "d"]
    assert not oto.is_valid(["a"]), "the first output would lose x"
    assert not oto.is_valid(["b"]), "the first output would lose y"
    assert oto.is_valid(["c", "d"]), "the second output still reads y, and never read x"


def test_required_inputs_by_name() -> None:
    oto = AutoSubnet(*two_inputs(), required_inputs=("y",))
    assert oto.is_valid(["a"]), "x is not required"
    assert not oto.is_valid(["b"])
    oto = AutoSubnet(*two_inputs(), required_inputs=())
    assert oto.is_valid(["a"])
    assert oto.is_valid(["b"])
    assert not oto.is_valid(["a", "b"]), "an output that depended on something may not become constant"


def test_a_required_input_that_does_not_exist_is_named() -> None:
    with pytest.raises(InputError, match="required input 'z' is none of the model's: x, y, mask"):
        AutoSubnet(*two_inputs(), required_inputs=("z",))


def test_where_no_input_is_floating_the_first_is_required() -> None:
    class Ids(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.kinds = nn.Embedding(9, 4), nn.Embedding(3, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, ids: Tensor, kinds: Tensor) -> Tensor:
            return self.head(self.words(ids) + self.kinds(kinds))

    oto = AutoSubnet(Ids(), (torch.arange(6).view(2, 3), torch.zeros(2, 3, dtype=torch.long)))
    assert [group.name for group in oto.groups] == ["words", "kinds"]
    assert oto.is_valid(["kinds"])
    assert not oto.is_valid(["words"])


def test_an_output_that_is_constant_from_the_start_may_stay_so() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(3))
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x + self.a(x) + self.b(x), self.table * 2

    oto = AutoSubnet(Constant(), torch.randn(3, 4))
    assert oto.is_valid(["a", "b"])


def test_a_bias_behind_the_last_live_branch_is_no_dependence() -> None:
    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.head(self.a(x) + self.b(x)))

    oto = AutoSubnet(Biased(), torch.randn(3, 4))
    assert oto.is_valid(["a"])
    assert oto.is_valid(["b"])
    assert not oto.is_valid(["a", "b"])


def test_a_group_at_a_product_takes_the_other_factor_with_it() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value, self.gate, self.other = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.value(x) * self.gate(x) + self.other(x)

    oto = AutoSubnet(Product(), torch.randn(3, 4))
    assert [group.name for group in oto.groups] == ["value", "gate", "other"]
    assert oto.is_valid(["value", "gate"])
    assert not oto.is_valid(["value", "other"])
    assert not oto.is_valid(["gate", "other"])


def test_mean_over_the_tokens_needs_no_attention() -> None:
    class Mean(ClassToken):
        def forward(self, patches: Tensor) -> Tensor:
            x = self.embed(patches)
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
            return self.head(self.encoders(x).mean(1))

    torch.manual_seed(0)
    inputs = (torch.randn(2, 5, 6, dtype=torch.float64),)
    oto = AutoSubnet(settled(Mean(), inputs), inputs)
    assert len(oto.groups) == 4
    assert oto.is_valid(oto.groups)


def test_batch_norm_turns_nothing_into_a_dependence() -> None:
    """In train mode a constant goes through batch statistics; it stays a constant."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.a(x) + self.b(x))

    oto = AutoSubnet(Normed(), torch.randn(3, 4))
    assert not oto.is_valid(["a", "b"])


def test_each_output_of_each_mode_must_live() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head, self.aux = (nn.Linear(4, 4) for _ in range(4))
            self.c, self.d = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            y = self.head(self.a(x) + self.b(x))
            return (y, self.aux(self.c(x) + self.d(x))) if self.training else y

    oto = AutoSubnet(Auxiliary(), torch.randn(3, 4))
    assert {group.name for group in oto.groups} == {"a", "b", "c", "d"}
    assert oto.is_valid(["a", "c"])
    assert not oto.is_valid(["c", "d"]), "the output of train mode would be a constant"
    assert not oto.is_valid(["a", "b"])


# ---------------------------------------------------------------- the choice of K


def names_of(oto: AutoSubnet, order: Sequence[str], count: int) -> list[str]:
    position = {group.name: i for i, group in enumerate(oto.groups)}
    chosen = select(oto._validity, oto.groups, [position[name] for name in order], count)
    return [oto.groups[i].name for i in chosen]


def test_figure_2_a_redundant_group_that_would_disconnect_is_skipped() -> None:
    """K = 3: Conv7 scores above Conv2, but once Conv8 is gone nothing else joins input and output."""
    oto = AutoSubnet(*demo())
    order = ["conv3", "conv8", "conv7", "conv2", "conv4", "conv5"]
    assert names_of(oto, order, 3) == ["conv3", "conv8", "conv2"]


@pytest.mark.parametrize("count", range(5))
def test_k_is_met_with_the_most_redundant_first(count: int) -> None:
    oto = AutoSubnet(*demo())
    rng = random.Random(count)
    for _ in range(5):
        order = rng.sample([group.name for group in oto.groups], 6)
        chosen = names_of(oto, order, count)
        assert len(chosen) == len(set(chosen)) == count
        assert oto.is_valid(chosen)
        assert chosen[:1] == order[: min(count, 1)]


def test_more_than_can_go_is_an_error_with_the_nearest_that_can() -> None:
    oto = AutoSubnet(*demo())
    with pytest.raises(BudgetError, match=r"5 of 6 groups .* only 4 .*target_group_sparsity of at most 0\.66"):
        names_of(oto, [group.name for group in oto.groups], 5)


def test_the_sparsity_that_the_error_proposes_works() -> None:
    model, inputs = demo()
    oto = AutoSubnet(model, inputs)
    with pytest.raises(BudgetError) as raised:
        oto.h2spg(total_steps=8, target_group_sparsity=1.0)
    proposed = float(str(raised.value).rpartition(" ")[2])
    optimizer = oto.h2spg(lr=0.01, total_steps=8, target_group_sparsity=proposed)
    for _ in range(8):
        optimizer.zero_grad()
        model(inputs[0]).square().sum().backward()
        optimizer.step()
    assert len(optimizer.chosen) == 4


class Bypass(nn.Module):
    """Four outputs, each the sum of its own branch and of a bypass that all share: one may go, or the four others."""

    def __init__(self, bypass_first: bool) -> None:
        super().__init__()
        self.bypass_first = bypass_first
        self.bypass = nn.Linear(4, 4)
        self.branches = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        shared = self.bypass(x) if self.bypass_first else None
        branches = [branch(x) for branch in self.branches]
        shared = self.bypass(x) if shared is None else shared
        return tuple(branch + shared for branch in branches)


@pytest.mark.parametrize("bypass_first", [False, True])
def test_where_a_preferred_one_blocks_all_others_the_target_is_still_met(bypass_first: bool) -> None:
    oto = AutoSubnet(Bypass(bypass_first), torch.randn(3, 4))
    branches = [f"branches.{i}" for i in range(4)]
    assert oto.is_valid(branches)
    assert oto.is_valid(["bypass"])
    assert not oto.is_valid(["bypass", "branches.0"])
    assert names_of(oto, ["bypass", *branches], 1) == ["bypass"]
    assert names_of(oto, ["bypass", *branches], 4) == branches


def test_no_groups_and_none_asked_for() -> None:
    oto = AutoSubnet(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(3, 4))
    assert names_of(oto, [], 0) == []


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_a_random_set_is_valid_and_zero(share: float) -> None:
    model, inputs = transformer()
    oto = AutoSubnet(model, inputs)
    chosen = oto.random_set_zero_groups(share, seed=3)
    assert len(chosen) == min(int(share * 4), 3)
    assert oto.is_valid(chosen)
    values = dict(model.named_parameters())
    assert not any(values[each.name].any() for group in chosen for each in group.slices)
    assert oto.random_set_zero_groups(share, seed=3) == chosen


@pytest.mark.parametrize("blank", [True, False])
def test_what_is_written_into_a_tensor_is_what_it_depends_on(blank: bool) -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base, self.part, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.zeros(x.shape[0], 4) if blank else self.base(x).clone()
            y[:, 1:3] = self.part(x)[:, :2]
            return self.head(y + 1)

    model = Writes()
    nn.init.zeros_(model.base.weight)
    nn.init.zeros_(model.base.bias)
    oto = AutoSubnet(model, torch.randn(3, 4))
    assert oto.construct_subnet().meta["autosubnet"].notes == ()
    assert all(oto._validity().outputs.values())
