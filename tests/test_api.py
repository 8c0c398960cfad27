"""The public face: what a person reads off an ``AutoSubnet``, and the way from a model to its subnet."""

from __future__ import annotations

import copy
import random
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from graph.models import EXAMPLES, demo, densenet, resnet, transformer
from torch import Tensor, fx, nn
from torch.nn.utils import prune

import autosubnet
from autosubnet import AutoSubnet, supernets
from autosubnet.errors import AutoSubnetWarning, BudgetError, GroupError, InputError
from autosubnet.subnet import Report

# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name", ["AutoSubnet", "remove_zeros", "export_onnx", "save", "load", "supernets", "optim", "errors"]
)
def test_the_public_names_come_with_the_package(name: str) -> None:
    assert hasattr(autosubnet, name)
    assert name in autosubnet.__all__


def test_every_argument_but_the_first_has_a_default() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    oto = AutoSubnet(model)
    assert oto.example_inputs[0].shape[:2] == (2, 3)
    assert any(note.startswith("example inputs: the first layer, Conv2d(3)") for note in oto.notes)
    assert isinstance(autosubnet.remove_zeros(model), fx.GraphModule)


# ---------------------------------------------------------------- example inputs


class Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor, y: Tensor | None = None, scale: float = 1.0) -> Tensor:
        return self.a(x) * scale + self.b(x if y is None else y)


@pytest.mark.parametrize(
    "inputs",
    [
        torch.randn(3, 4),
        (torch.randn(3, 4),),
        [torch.randn(3, 4), torch.randn(3, 4)],
        {"x": torch.randn(3, 4), "y": torch.randn(3, 4)},
        {"x": torch.randn(3, 4), "scale": 2.0},
        (torch.randn(3, 4), None, 0.5),
    ],
)
def test_example_inputs_as_tensor_tuple_or_dict(inputs: Any) -> None:
    oto = AutoSubnet(Keyword(), inputs)
    assert [group.name for group in oto.groups] == ["a", "b"]
    assert isinstance(oto.example_inputs, tuple)
    args, kwargs = oto.example_inputs, inputs if isinstance(inputs, dict) else {}
    expected = oto.model(*args, **(kwargs if not args else {}))
    if not isinstance(inputs, dict):
        assert torch.allclose(oto.construct_subnet()(*args), expected)


def test_example_inputs_are_not_changed() -> None:
    model, (x,) = resnet()
    before = x.clone()
    oto = AutoSubnet(model, x)
    oto.random_set_zero_groups()
    oto.construct_subnet()
    oto.compute_flops()
    assert torch.equal(x, before)
    assert oto.example_inputs[0] is x


def test_shapes_are_those_of_the_example_inputs() -> None:
    model, (x,) = resnet()
    oto = AutoSubnet(model, x)
    shapes = {vertex.name: vertex.shape for vertex in oto.graph.vertices}
    assert shapes["input_1"] == tuple(x.shape)
    assert shapes["head"] == (x.shape[0], 3)


# ---------------------------------------------------------------- what it says


def test_repr_counts_vertices_segments_and_groups() -> None:
    oto = AutoSubnet(*demo())
    assert repr(oto) == (
        "AutoSubnet(DemoSupNet: 1 input, 9 stem, 20 accessory, 3 joint, 1 output; 13 segments, 6 groups, 0 refused)"
    )


def test_a_model_without_groups_says_so_plainly_and_comes_back_equal() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    oto = AutoSubnet(model, x)
    assert oto.groups == ()
    assert oto.refused == ()
    assert repr(oto).endswith("0 groups, 0 refused; no operator can be removed from this model)")
    assert set(oto.complement) == {name for name, _ in model.named_parameters()}
    assert oto.random_set_zero_groups() == ()
    assert torch.equal(oto.construct_subnet()(x), model(x))
    optimizer = oto.h2spg(lr=0.1, total_steps=4)
    assert optimizer.groups == ()


def test_without_the_hierarchy_groups_go_that_cannot_go_together() -> None:
    model, (x,) = demo()
    oto = AutoSubnet(model, x)
    rows = [torch.randn_like(x) for _ in range(8)]
    with pytest.raises(BudgetError):
        oto.h2spg(lr=0.01, total_steps=8, target_group_sparsity=1.0)
    optimizer = oto.dhspg(lr=0.01, total_steps=8, target_group_sparsity=1.0)
    for each in rows:
        optimizer.zero_grad()
        model(each).square().mean().backward()
        optimizer.step()
    assert optimizer.progress().num_zero == len(oto.groups)
    assert not oto.is_valid(optimizer.chosen)
    with pytest.warns(AutoSubnetWarning, match="no longer depends on any input"):
        subnet = oto.construct_subnet()
    assert torch.equal(subnet(x), subnet(rows[0]))


@pytest.mark.parametrize("kind", ["h2spg", "dhspg"])
def test_a_copy_is_trained_in_place_of_the_model(kind: str) -> None:
    model, (x,) = demo()
    oto = AutoSubnet(model, x)
    before, twin = copy.deepcopy(model), copy.deepcopy(model)
    optimizer = getattr(oto, kind)(lr=0.01, total_steps=8, model=twin)
    twin(x).square().mean().backward()
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(twin.parameters(), before.parameters(), strict=True))
    with pytest.raises(GroupError, match="no parameter of the model"):
        getattr(oto, kind)(lr=0.01, total_steps=8, model=nn.Linear(2, 2))


def test_explain_names_parameters_proof_reader_and_what_dies() -> None:
    oto = AutoSubnet(*demo())
    text = oto.explain("conv3")
    lines = text.splitlines()
    assert lines[0] == "conv3: 4 vertices, 312 parameters"
    assert "conv3.conv.weight, conv3.conv.bias, conv3.bn.weight, conv3.bn.bias" in lines[1]
    assert "proof: 'conv3_conv' (in module 'conv3.conv') is zero for every input" in text
    assert "and so is every vertex up to 'conv3_relu' (in module 'conv3.relu')" in text
    assert "read by: 'cat' (in the model's forward)" in text
    assert oto.explain(oto.groups[1]) == text


def test_explain_names_the_slices_behind_concats() -> None:
    oto = AutoSubnet(*densenet())
    text = oto.explain("body.0.layers.2")
    assert "the channels that it fills of: body.0.norm.weight[2], body.0.norm.bias[2]" in text


def test_explain_names_what_else_becomes_zero() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value, self.gate, self.other = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.value(x) * self.gate(x) + self.other(x)

    text = AutoSubnet(Product(), torch.randn(3, 4)).explain("value")
    assert "also zero then: 'mul' (in the model's forward)" in text


def test_explain_gives_a_score_once_there_is_one() -> None:
    model, inputs = demo()
    oto = AutoSubnet(model, inputs)
    assert "score" not in oto.explain("conv2")
    optimizer = oto.h2spg(lr=0.01, total_steps=8)
    model.train()(*inputs).square().sum().backward()
    optimizer.step()
    score = float(re.search(r"redundancy score: (\S+)", oto.explain("conv2"))[1])
    assert score == pytest.approx(float(optimizer.scores[0]), abs=1e-4)


def test_explain_of_a_refusal_gives_its_reason() -> None:
    oto = AutoSubnet(*EXAMPLES["squeeze_excite"]())
    (refusal,) = oto.refused
    assert oto.explain(refusal) == oto.explain(refusal.segment) == f"body.0 is not a group: {refusal.reason}"


def test_explain_knows_groups_and_refusals_only() -> None:
    with pytest.raises(GroupError, match=r"there is no group 'conv1'; the groups are conv2, conv3"):
        AutoSubnet(*demo()).explain("conv1")


# ---------------------------------------------------------------- groups


def test_groups_by_object_or_name() -> None:
    oto = AutoSubnet(*demo())
    assert oto.is_valid(oto.groups[:2])
    assert oto.is_valid(["conv2", oto.groups[1]])
    assert oto.is_valid([])
    assert not oto.is_valid(["conv7", "conv8"])
    assert oto.is_valid(["conv7", "conv7"]), "twice the same is once"


def test_is_valid_changes_nothing() -> None:
    model, inputs = demo()
    before = copy.deepcopy(model.state_dict())
    oto = AutoSubnet(model, inputs)
    for _ in range(2):
        assert not oto.is_valid(["conv7", "conv8"])
        assert oto.is_valid(["conv7"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_random_set_depends_on_its_seed_alone() -> None:
    sets = set()
    for seed in range(8):
        random.seed(seed + 1)
        torch.manual_seed(seed + 1)
        first, second = (AutoSubnet(*demo()).random_set_zero_groups(0.5, seed=seed) for _ in range(2))
        assert [group.name for group in first] == [group.name for group in second]
        sets.add(frozenset(group.name for group in first))
    assert len(sets) > 3


def test_a_random_set_does_not_touch_the_global_random_states() -> None:
    oto = AutoSubnet(*demo())
    random.seed(0)
    torch.manual_seed(0)
    expected = random.random(), torch.rand(1)
    random.seed(0)
    torch.manual_seed(0)
    oto.random_set_zero_groups()
    assert (random.random(), torch.rand(1)) == expected


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_out_of_range(share: float) -> None:
    with pytest.raises(InputError, match=r"target_group_sparsity is .*; it is a share, in \[0, 1\]"):
        AutoSubnet(*demo()).random_set_zero_groups(share)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.34, 2), (0.5, 3), (0.67, 4), (1.0, 4)])
def test_as_many_groups_as_asked_for_and_possible(share: float, count: int) -> None:
    assert len(AutoSubnet(*demo()).random_set_zero_groups(share)) == count


def test_a_share_like_0_29_of_100_is_29() -> None:
    """0.29 * 100 is 28.999...; the number meant is taken, as H2SPG does."""

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(nn.Linear(2, 2) for _ in range(100))

        def forward(self, x: Tensor) -> Tensor:
            for branch in self.branches:
                x = x + branch(x)
            return x

    oto = AutoSubnet(Wide(), torch.randn(2, 2))
    assert len(oto.groups) == 100
    assert len(oto.random_set_zero_groups(0.29)) == 29


# ---------------------------------------------------------------- numbers


def test_num_params_is_that_of_the_model_as_it_stands() -> None:
    model, inputs = demo()
    oto = AutoSubnet(model, inputs)
    assert oto.compute_num_params() == sum(p.numel() for p in model.parameters())
    assert oto.compute_num_params() == oto.construct_subnet().meta["autosubnet"].num_params[0]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_flops_are_two_a_multiply_add_for_one_example(batch: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 8 * 8, 5))
    oto = AutoSubnet(model, torch.randn(batch, 3, 8, 8))
    assert oto.compute_flops() == 2 * (8 * 8 * 4 * 27 + 256 * 5)


def test_flops_of_a_module_that_returns_a_view_of_its_parameter() -> None:
    class Prompt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Parameter(torch.randn(4))

        def forward(self) -> Tensor:
            return self.tokens.reshape(1, 4)

    class Prompted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prompt = Prompt()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x + self.prompt())

    assert AutoSubnet(Prompted(), torch.randn(2, 4)).compute_flops() == 2 * 4 * 3


def test_flops_do_not_change_the_model() -> None:
    model, inputs = demo()
    model.train()
    before = copy.deepcopy(model.state_dict())
    AutoSubnet(model, inputs).compute_flops()
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# ---------------------------------------------------------------- the quick start


def test_the_quick_start() -> None:
    torch.manual_seed(0)
    model, _ = demo()
    model.float().train()
    loader = [(torch.randn(4, 1, 8, 8), torch.randint(10, (4,))) for _ in range(12)]
    oto = AutoSubnet(model, loader[0][0])
    opt = oto.h2spg(lr=0.05, total_steps=len(loader))
    for x, y in loader:
        opt.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        opt.step()
    subnet = oto.construct_subnet()
    report = subnet.meta["autosubnet"]
    assert isinstance(subnet, fx.GraphModule)
    assert isinstance(report, Report)
    assert opt.progress().num_zero == 3
    assert report.num_params[1] <= report.num_params[0] - sum(group.num_params for group in opt.chosen)
    x = torch.randn(3, 1, 8, 8)
    assert torch.allclose(subnet.eval()(x), model.eval()(x), rtol=0, atol=1e-5)
    assert subnet.code
    again = oto.carry_optimizer(opt, subnet)
    assert type(again) is torch.optim.SGD


def test_construct_uses_the_values_of_now() -> None:
    model, (x,) = demo()
    oto = AutoSubnet(model, x)
    first = oto.construct_subnet()
    oto.random_set_zero_groups(0.5)
    second = oto.construct_subnet()
    assert second.meta["autosubnet"].num_params[1] < first.meta["autosubnet"].num_params[1]
    model.load_state_dict(
        {name: torch.rand_like(value.double()).to(value) for name, value in model.state_dict().items()}
    )
    third = oto.construct_subnet()
    assert third.meta["autosubnet"].num_params[1] == first.meta["autosubnet"].num_params[1]
    assert torch.equal(third(x), model(x))


def test_construct_follows_parameters_that_were_replaced() -> None:
    model, (x,) = demo()
    oto = AutoSubnet(model, x)
    state = {name: torch.rand_like(value.double()).to(value) for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    chosen = oto.random_set_zero_groups(0.5)
    subnet = oto.construct_subnet()
    assert torch.allclose(subnet(x), model(x), rtol=0, atol=1e-12)
    assert not any(name.startswith(group.name + ".") for group in chosen for name, _ in subnet.named_parameters())


def test_construct_follows_modules_that_were_replaced() -> None:
    """What was a ReLU at capture is now a Sigmoid: a zero no longer passes."""
    model, (x,) = demo()
    oto = AutoSubnet(model, x)
    model.conv2.relu = nn.Sigmoid()
    for parameter in model.conv2.parameters():
        parameter.data.zero_()
    subnet = oto.construct_subnet()
    assert torch.allclose(subnet(x), model(x), rtol=0, atol=1e-12)


def test_a_model_moved_to_another_dtype_after_capture() -> None:
    model, (x,) = demo()
    oto = AutoSubnet(model, x)
    oto.random_set_zero_groups(0.5)
    model.float()
    subnet = oto.construct_subnet()
    assert {p.dtype for p in subnet.parameters()} == {torch.float32}
    assert torch.allclose(subnet(x.float()), model(x.float()), rtol=0, atol=1e-5)


def test_remove_zeros_equals_construct_subnet() -> None:
    model, inputs = densenet()
    oto = AutoSubnet(model, inputs)
    oto.random_set_zero_groups(0.7)
    one, two = oto.construct_subnet(), autosubnet.remove_zeros(model, inputs)
    assert one.code == two.code
    assert one.meta["autosubnet"] == two.meta["autosubnet"]
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def test_remove_zeros_takes_what_torch_prune_made() -> None:
    model, (x,) = resnet()
    block = model.body[1].second[0]
    prune.ln_structured(model.body[0].first[0], "weight", amount=0.5, n=2, dim=0)
    prune.remove(model.body[0].first[0], "weight")
    block.weight.data.zero_()
    model.body[1].second[1].weight.data.zero_()
    model.body[1].second[1].bias.data.zero_()
    subnet = autosubnet.remove_zeros(model, x)
    assert torch.allclose(subnet(x), model(x), rtol=0, atol=1e-12)
    assert not any(name.startswith("body.1.") for name, _ in subnet.named_parameters())


def test_remove_zeros_looks_through_masks_that_are_still_on() -> None:
    model, (x,) = resnet()
    layer = prune.identity(model.body[1].second[0], "weight")
    layer.weight_mask.zero_()
    model.body[1].second[1].weight.data.zero_()
    model.body[1].second[1].bias.data.zero_()
    subnet = autosubnet.remove_zeros(model, x)
    assert torch.allclose(subnet(x), model(x), rtol=0, atol=1e-12)


def test_construct_saves_where_it_is_told(tmp_path: Path) -> None:
    model, (x,) = demo()
    oto = AutoSubnet(model, x)
    oto.random_set_zero_groups(0.5)
    subnet = oto.construct_subnet(tmp_path / "subnet")
    loaded = autosubnet.load(tmp_path / "subnet")
    assert torch.equal(loaded.eval()(x), subnet(x))


def test_a_constant_output_warns_at_the_line_of_the_caller() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.a(x), self.b(x)

    model = Two()
    nn.init.zeros_(model.b.weight)
    nn.init.zeros_(model.b.bias)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        AutoSubnet(model, torch.randn(3, 4)).construct_subnet()
        autosubnet.remove_zeros(model, torch.randn(3, 4))
    assert [each.category for each in seen] == [AutoSubnetWarning] * 2
    assert {each.filename for each in seen} == {__file__}


# ---------------------------------------------------------------- pictures and graphs


@pytest.mark.parametrize("view", ["segments", "trace", "groups", "subnet"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_view_of_every_model(name: str, view: str) -> None:
    oto = AutoSubnet(*EXAMPLES[name]())
    oto.random_set_zero_groups(0.5)
    picture = oto.visualize(view)
    assert hasattr(picture, "_repr_svg_")
    assert hasattr(picture, "save")


def test_a_view_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="view is 'tree'; choose 'trace', 'segments', 'groups' or 'subnet'"):
        AutoSubnet(*demo()).visualize("tree")


def test_the_graph_as_networkx() -> None:
    oto = AutoSubnet(*transformer())
    graph = oto.graph.to_networkx()
    assert list(graph) == [vertex.name for vertex in oto.graph.vertices]
    assert graph.nodes["encoders_0_attention"]["kind"] == "stem"
    assert graph.nodes["add"]["kind"] == "joint"
    assert graph.nodes["head"]["segment"] == "head"
    assert ("add", "encoders_0_norm2") in graph.edges
    assert graph.nodes["patches"]["kind"] == "input"


# ---------------------------------------------------------------- nothing is changed


@pytest.mark.parametrize("train", [True, False])
def test_analysis_changes_neither_model_nor_random_state(train: bool) -> None:
    model, (x,) = densenet()
    model.train(train)
    model.body[0].layers[0].norm.eval()
    before = copy.deepcopy(model)
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    oto = AutoSubnet(model, x)
    oto.is_valid(oto.groups)
    oto.explain(oto.groups[0])
    oto.compute_flops()
    oto.visualize("segments")
    oto.construct_subnet()
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(value, before.state_dict()[name]) for name, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    assert [type(m).forward for m in model.modules()] == [type(m).forward for m in before.modules()]
    assert "forward" not in vars(model)
    assert nn.Module.__call__.__name__ != "call", "the tracer's patch is still on"


def test_an_autosubnet_is_not_copied() -> None:
    oto = AutoSubnet(torch.nn.Sequential(torch.nn.Linear(3, 3)), torch.randn(2, 3))
    with pytest.raises(InputError, match="copy its model"):
        copy.deepcopy(oto)


def test_hooks_on_gradients_are_noted() -> None:
    class Hooked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(x) + self.b(x)

    model = Hooked()
    model.a.weight.register_hook(lambda gradient: gradient * 0)
    oto = AutoSubnet(model, torch.randn(2, 3))
    oto.random_set_zero_groups(0.5)
    (note,) = oto.construct_subnet().meta["autosubnet"].training_notes
    assert "a.weight" in note
    assert "hooks" in note


@pytest.mark.parametrize("name", ["demo", "timm:test_vit"])
def test_the_costs_of_the_vertices_add_up_to_those_of_the_model(name: str) -> None:
    oto = AutoSubnet(supernets.create(name))
    costs = oto.compute_vertex_costs()
    assert list(costs) == [vertex.name for vertex in oto.graph.vertices]
    assert sum(each["num_params"] for each in costs.values()) == pytest.approx(oto.compute_num_params())
    assert sum(each["flops"] for each in costs.values()) == oto.compute_flops()


def test_a_shared_parameter_counts_for_each_vertex_by_its_share() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(torch.relu(self.linear(x)))

    costs = AutoSubnet(Twice(), torch.randn(2, 4)).compute_vertex_costs()
    assert [each for each in costs.values() if any(each.values())] == [{"num_params": 10.0, "flops": 32.0}] * 2
