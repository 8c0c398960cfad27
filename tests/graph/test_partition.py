"""Groups: which segments become one, what they hold, and what they do not depend on."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

import autosubnet
from autosubnet import AutoSubnet
from autosubnet.graph.groups import ParameterSlice
from graph.models import EXAMPLES, DenseBlock, ImageNet, Residual, densenet, images, resnet


def partition(oto: AutoSubnet) -> tuple[object, ...]:
    return oto.graph, oto.groups, oto.refused, oto.complement


def refusal(oto: AutoSubnet, segment: str) -> str:
    found = [each.reason for each in oto.refused if each.segment == segment]
    assert len(found) == 1, f"{segment} is refused {len(found)} times: {oto.refused}"
    assert segment not in {group.name for group in oto.groups}
    return found[0]


def zero_all(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data.zero_()


def train(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for seed in range(3):
        torch.manual_seed(seed)
        model(torch.randn(2, 3, 8, 8, dtype=torch.float64)).square().sum().backward()
        optimizer.step()


def load(model: nn.Module) -> None:
    state = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    model.load_state_dict(state)


def replace(model: nn.Module) -> None:
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)


@pytest.mark.parametrize("change", [zero_all, train, load, replace])
@pytest.mark.parametrize("name", ["resnet", "densenet", "squeeze_excite"])
def test_partition_does_not_depend_on_values(name: str, change: Callable[[nn.Module], None]) -> None:
    model, inputs = EXAMPLES[name]()
    before = partition(AutoSubnet(model, inputs))
    change(model)
    assert partition(AutoSubnet(model, inputs)) == before


def test_partition_does_not_depend_on_mode_dtype_or_batch() -> None:
    model, (x,) = densenet()
    before = partition(AutoSubnet(model, x))
    assert partition(AutoSubnet(model.train(), x)) == before
    assert partition(AutoSubnet(model.float(), x.float())) == before
    assert AutoSubnet(model, torch.randn(5, 3, 8, 8)).groups == before[1]


def test_zero_initialised_residual_is_a_group_like_any_other() -> None:
    model, inputs = resnet()
    nn.init.zeros_(model.body[1].second[1].weight)
    nn.init.zeros_(model.body[1].second[1].bias)
    oto = AutoSubnet(model, inputs)
    assert [group.name for group in oto.groups] == ["body.0", "body.0.shortcut", "body.1"]
    assert oto.is_valid(["body.1"])


def test_a_frozen_parameter_refuses_its_segment() -> None:
    model, inputs = resnet()
    model.body[1].second[0].weight.requires_grad_(False)
    reason = refusal(AutoSubnet(model, inputs), "body.1")
    assert reason == (
        "'body_1_second_0' (in module 'body.1.second.0'): "
        "parameter 'body.1.second.0.weight' is frozen (requires_grad=False)"
    )


def test_a_wholly_frozen_segment_has_nothing_to_train() -> None:
    model, inputs = resnet()
    model.body[1].requires_grad_(False)
    oto = AutoSubnet(model, inputs)
    assert "no trainable variables" in refusal(oto, "body.1")
    assert not any(name.startswith("body.1") for name in oto.complement)


def test_a_module_used_twice_in_one_segment_is_one_group() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(torch.relu(self.conv(x)))

    oto = AutoSubnet(*images(ImageNet(Twice(), width=4)))
    assert [each.num_params for each in oto.groups] == [20]
    assert [each.name for each in oto.groups[0].slices] == ["body.0.conv.weight", "body.0.conv.bias"]


def test_of_a_weight_norm_the_scale_makes_the_zero() -> None:
    """To zero the direction as well would give 0 / 0."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain = nn.Linear(6, 6)
            self.normed = torch.nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.plain(x) + self.normed(x)

    oto = AutoSubnet(Normed(), torch.randn(3, 6))
    assert [group.name for group in oto.groups] == ["plain", "normed"]
    assert {each.name for each in oto.groups[1].slices} == {
        "normed.parametrizations.weight.original0",
        "normed.bias",
    }
    assert oto.complement == ("normed.parametrizations.weight.original1",)
    oto._set_zero(oto.groups[1:])
    assert not [name for name, _ in oto.construct_subnet().named_parameters() if name.startswith("normed")]


@pytest.mark.parametrize(
    "glob", ["body.1", "body.1.*", "body.1.second.0.weight", "*second.0.weight", "body.?.second.0"]
)
def test_kept_names_refuse_their_segments(glob: str) -> None:
    reason = refusal(AutoSubnet(*resnet(), keep=(glob,)), "body.1")
    assert re.match(r"'body_1_(\w+)' \(in module 'body\.1\.[\w.]+'\): parameter 'body\.1\.", reason)
    assert reason.endswith("is kept by request")


def test_a_kept_norm_behind_a_concat_takes_its_slices_out_of_the_groups() -> None:
    oto = AutoSubnet(*densenet(), keep=("body.0.norm",))
    assert [group.name for group in oto.groups] == [f"body.0.layers.{i}" for i in range(3)]
    assert not any(each.name.startswith("body.0.norm") for group in oto.groups for each in group.slices)
    assert {"body.0.norm.weight", "body.0.norm.bias"} <= set(oto.complement)


def test_dense_groups_own_the_affine_slices_of_every_norm_behind_them() -> None:
    growth, width = 2, 4
    oto = AutoSubnet(*images(ImageNet(DenseBlock(width, growth, layers=3), width=4)))
    for number, group in enumerate(oto.groups):
        start = width + growth * number
        channels = tuple(range(start, start + growth))
        norms = [f"body.0.layers.{later}.norm" for later in range(number + 1, 3)] + ["body.0.norm"]
        expected = {ParameterSlice(f"{norm}.{role}", 0, channels) for norm in norms for role in ("weight", "bias")}
        assert {each for each in group.slices if each.indices is not None} == expected


def test_dense_groups_overlap_and_their_union_is_counted_once() -> None:
    model, inputs = densenet()
    oto = AutoSubnet(model, inputs)
    first, second, _ = oto.groups
    shared = {each.name for each in first.slices} & {each.name for each in second.slices if each.indices is None}
    assert shared == {"body.0.layers.1.norm.weight", "body.0.layers.1.norm.bias"}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    oto._set_zero([first, second])
    zeroed = sum(int((p == 0).sum()) for name, p in model.named_parameters() if before[name].all())
    assert zeroed == first.num_params + second.num_params - 4, "two channels of weight and bias are in both"


def test_num_params_counts_entries_of_slices_only() -> None:
    model, inputs = densenet()
    for group in AutoSubnet(model, inputs).groups:
        fresh = copy.deepcopy(model)
        for parameter in fresh.parameters():
            parameter.data.fill_(1.0)
        oto = AutoSubnet(fresh, inputs)
        oto._set_zero([each for each in oto.groups if each.name == group.name])
        assert sum(int((p == 0).sum()) for p in fresh.parameters()) == group.num_params


def test_a_concat_straight_into_layer_norm_has_no_slices() -> None:
    class Cat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 4)
            self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(torch.cat([self.a(x), self.b(x)], 1)))

    oto = AutoSubnet(Cat(), torch.randn(3, 6))
    assert [[each.name for each in group.slices] for group in oto.groups] == [
        ["a.weight", "a.bias"],
        ["b.weight", "b.bias"],
    ]
    assert all(each.indices is None for group in oto.groups for each in group.slices)


class Gated(nn.Module):
    """A branch of every kind that cannot be proved zero, each ahead of the same sum."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.plain = nn.BatchNorm2d(4, affine=False)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        match self.kind:
            case "sigmoid":
                y = torch.sigmoid(y)
            case "plain batch norm":
                y = self.plain(y)
            case "shift":
                y = y + 1.0
            case "softmax":
                y = y.softmax(1)
            case "pad":
                y = nn.functional.pad(y, (1, 1, 1, 1), value=2.0)[:, :, 1:-1, 1:-1]
            case "unknown":
                y = torch.erfinv(torch.tanh(y))
        return x + y


@pytest.mark.parametrize(
    ("kind", "place", "words"),
    [
        ("sigmoid", "'sigmoid'", "does not map zero to zero"),
        ("plain batch norm", "'body_0_plain'", "no affine parameters"),
        ("shift", "'add'", "another term of the sum is not zero"),
        ("softmax", "'softmax'", "positive whatever comes in"),
        ("pad", "'pad'", "pads with a number that is not zero"),
        ("unknown", "'erfinv'", "nothing is known about its values"),
    ],
)
def test_an_unprovable_segment_is_refused_with_the_vertex_that_breaks_the_zero(
    kind: str, place: str, words: str
) -> None:
    oto = AutoSubnet(*images(ImageNet(Gated(kind), width=4)))
    assert oto.groups == ()
    (each,) = [each for each in oto.refused if oto.graph.segment[each.segment].variables]
    assert place in each.reason
    assert words in each.reason
    assert "body.0" in each.reason


def test_a_segment_without_variables_is_reported() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.MaxPool2d(3, 1, 1)
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.pool(x) + self.conv(x)

    oto = AutoSubnet(*images(ImageNet(Skip(), width=4)))
    assert refusal(oto, "body.0.pool") == (
        "'body_0_pool' (in module 'body.0.pool'): it has no trainable variables, so it cannot be trained to zero"
    )
    assert [group.name for group in oto.groups] == ["body.0.conv"]


def test_the_same_model_twice_gives_the_same_text() -> None:
    one, two = (AutoSubnet(*resnet()) for _ in range(2))
    assert partition(one) == partition(two)
    assert [one.explain(group) for group in one.groups] == [two.explain(group) for group in two.groups]


def test_partition_of_a_residual_needs_no_norm() -> None:
    class Plain(Residual):
        def __init__(self) -> None:
            super().__init__(4, 4, project=False)
            self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    oto = autosubnet.AutoSubnet(*images(ImageNet(Plain(), width=4)))
    assert [each.name for each in oto.groups[0].slices] == [
        f"body.0.{part}.{role}" for part in ("first", "second") for role in ("weight", "bias")
    ]


class Noisy(nn.Module):
    """Noise on the input in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.head = (nn.Linear(6, 6) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + 0.1 * torch.randn_like(x)
        x = self.stem(x)
        x = x + self.a(x)
        return self.head(x + self.b(x))


class HandMadeDropPath(nn.Module):
    """Stochastic depth as many write it: nothing at all in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))

    def drop(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * torch.empty(x.shape[0], 1).bernoulli_(0.9) / 0.9

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b, self.c):
            x = x + self.drop(layer(x))
        return x


class ScaledInEval(nn.Module):
    """Each mode computes something of its own, once."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x * torch.rand(x.shape[0], 1) if self.training else x * 0.5
        x = x + self.a(x)
        return x + self.b(x)


@pytest.mark.parametrize(
    ("cls", "groups"), [(Noisy, ["a", "b"]), (HandMadeDropPath, ["a", "b", "c"]), (ScaledInEval, ["a", "b"])]
)
def test_an_operation_of_one_mode_alone_does_not_hide_the_groups_behind_it(
    cls: type[nn.Module], groups: list[str]
) -> None:
    oto = AutoSubnet(cls(), torch.randn(3, 6))
    assert [group.name for group in oto.groups] == groups


def test_an_in_place_sum_behind_stochastic_depth_does_not_hide_the_groups() -> None:
    """EfficientNet's block: in eval mode the layer returns the very tensor that it was given."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.drop = nn.Linear(6, 6), StochasticDepth(0.5, "row")

        def forward(self, x: Tensor) -> Tensor:
            y = self.drop(self.conv(x))
            y += x
            return y

    oto = AutoSubnet(nn.Sequential(nn.Linear(6, 6), Block(), Block()), torch.randn(3, 6))
    assert [group.name for group in oto.groups] == ["1.conv", "2.conv"]
