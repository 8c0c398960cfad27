"""A weight of one on every path changes nothing; at zero the path goes."""

from __future__ import annotations

import itertools
import random
import warnings

import promises
import pytest
import removal
import torch
from plans import is_random, reuses_statistics
from probes import largest, probe
from random_models import random_model
from subnet.checks import example, left, settled
from torch import Tensor, fx, nn

import autosubnet
from autosubnet import AutoSubnet
from autosubnet.capture import Inputs, capture
from autosubnet.errors import AutoSubnetWarning, InputError
from autosubnet.paths import with_path_weights
from autosubnet.supernets import create

X = example(3, 6)


class Paths(nn.Module):
    """A skip, two layers and a table that is added, a concat, and a sum of three at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = (nn.Linear(6, 6) for _ in range(4))
        self.mix = nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.a(x).relu()
        y = self.mix(torch.cat([y, self.b(y)], 1))
        return self.head((y + self.c(y)) + y.tanh())


def injected(model: nn.Module, *inputs: Tensor):
    return with_path_weights(capture(model, Inputs.of(inputs)))


def test_the_search_is_over_the_network_with_weights() -> None:
    model = settled(Paths(), X)
    oto = AutoSubnet(model, X, architecture_weights=True)
    assert [len(group.slices) for group in oto.paths] == [2, 2, 3]
    assert oto.model is not model
    same(model, oto.model, (X,))
    optimizer = oto.h2spg(lr=0.01, total_steps=12, target_group_sparsity=0.5)
    for _ in range(12):
        optimizer.zero_grad()
        oto.model.train()(X).square().mean().backward()
        optimizer.step()
    report = oto.construct_subnet().meta["autosubnet"]
    assert report.num_params[1] < report.num_params[0]
    assert report.relative_difference <= 1e-9


@pytest.mark.parametrize("kind", ["hapg", "adamhapg"])
def test_paths_are_searched_by_the_optimizers_of_sparsenas(kind: str) -> None:
    """Beside an optimizer for all else; what is derived constructs exactly."""
    model = settled(Paths(), X)
    oto = AutoSubnet(model, X, architecture_weights=True)
    architecture = getattr(oto, kind)(lr=0.02, lam=0.3, alpha=0.5, warmup_steps=10)
    names = {part.name for group in oto.paths for part in group.slices}
    others = [p for name, p in oto.model.named_parameters() if name not in names]
    weights = torch.optim.SGD(others, lr=0.01)
    goal = example(3, 6)
    for _ in range(100):
        architecture.zero_grad()
        weights.zero_grad()
        (oto.model.train()(X) - goal).square().mean().backward()
        architecture.step()
        weights.step()
    architecture.derive()
    gone = {name for name in names if not oto.model.get_parameter(name).any()}
    assert 0 < len(gone) < len(names)
    subnet = oto.construct_subnet()
    assert not gone & {name for name, _ in subnet.named_parameters()}
    assert subnet.meta["autosubnet"].relative_difference <= 1e-9


def test_operators_and_paths_are_searched_at_once() -> None:
    """Two views of one model, two optimizers on parameters of their own, one construction."""
    model = settled(Paths(), X)
    operators = AutoSubnet(model, X)
    oto = AutoSubnet(model, X, architecture_weights=True)
    weights = operators.h2spg(lr=0.01, total_steps=60, target_group_sparsity=0.4)
    architecture = oto.adamhapg(lr=0.02, lam=0.3, alpha=1.0, warmup_steps=10)
    held = [{p for each in optimizer.param_groups for p in each["params"]} for optimizer in (weights, architecture)]
    assert not held[0] & held[1]
    assert held[0] | held[1] == set(oto.model.parameters())
    goal = example(3, 6)
    for _ in range(60):
        oto.model.zero_grad()
        (oto.model.train()(X) - goal).square().mean().backward()
        architecture.step()
        weights.step()
    architecture.derive()
    names = {part.name for group in oto.paths for part in group.slices}
    gone = {name for name in names if not oto.model.get_parameter(name).any()}
    (operator,) = (group.name for group in weights.chosen)
    subnet = oto.construct_subnet()
    assert 0 < len(gone) < len(names)
    assert not gone & {name for name, _ in subnet.named_parameters()}
    assert operator not in left(subnet)
    assert subnet.meta["autosubnet"].relative_difference <= 1e-9


def test_paths_and_operators_that_cut_the_output_off_together_are_told() -> None:
    """Each alone leaves a way."""

    class TwoWays(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.b(x)

    model = settled(TwoWays(), X)
    operators, oto = AutoSubnet(model, X), AutoSubnet(model, X, architecture_weights=True)
    assert operators.is_valid(["a"])
    operators._set_zero([group for group in operators.groups if group.name == "a"])
    oto.construct_subnet()
    oto.model.get_parameter(oto.paths[0].slices[1].name).data.zero_()
    with pytest.warns(AutoSubnetWarning, match="constant"):
        oto.construct_subnet()


def test_a_second_search_has_weights_of_its_own() -> None:
    """On a subnet of the first, whose trained weights stay; or on a model that uses the name itself."""
    first = AutoSubnet(settled(Paths(), X), X, architecture_weights=True)
    for name, parameter in first.model.named_parameters():
        if name.startswith("path_weights."):
            parameter.data.fill_(0.5)
    subnet = first.construct_subnet()
    second = AutoSubnet(subnet, X, architecture_weights=True)
    same(subnet, second.model, (X,))
    names = [name for name, _ in second.model.named_parameters() if name.startswith("path_weights")]
    assert len(names) == 14
    assert {part.name for group in second.paths for part in group.slices} == {n for n in names if "_1." in n}


def test_an_operand_that_is_written_later() -> None:
    """Its product's gradient needs it as it was."""

    class Written(Paths):
        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            z = y + self.b(x)
            y[:, 0] = 0
            return self.head(z + y)

    model = settled(Written(), X)
    network, groups = injected(model, X)
    same(model, network, (X,))
    found = []
    for module in (model, network):  # which share their parameters
        model.zero_grad()
        module(X).square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) == 6
    assert all(largest(a - b) <= 1e-12 * largest(a) for a, b in zip(*found, strict=True))
    assert all(network.get_parameter(part.name).grad.any() for group in groups for part in group.slices)


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (lambda a, b: torch.cat([a, b, a], 1)[:, 6:12], 3),
        (lambda a, b: a + a + b, 3),
        (lambda a, b: (torch.complex(a, b) + torch.complex(b, a)).real, 2),
        (lambda a, b: sum([a, b, a.tanh()]), 3),
        (lambda a, b: torch.hstack([a, b])[:, 3:9], 2),
        (lambda a, b: torch.column_stack([a, b])[:, 3:9], 2),
        (lambda a, b: torch.addcmul(a, b, b.tanh(), value=0.5), 2),
        (lambda a, b: torch.addcmul(a, torch.full((6,), 0.5), b), 2),
        (lambda a, b: torch.lerp(a, b, b.sigmoid()), 2),
        (lambda a, b: torch.where(a > b, a, b), 2),
        (lambda a, b: torch.baddbmm(a[None], b[None], torch.eye(6).to(b)[None])[0], 2),
        (lambda a, b: torch.addmm(a, b[:, :3], b[:3]), 2),
    ],
    ids=[
        *("a tensor twice in a concat", "a tensor twice in a sum", "complex", "Python's sum", "hstack"),
        *("column_stack", "addcmul", "addcmul by a table", "lerp", "where", "baddbmm by a table", "addmm"),
    ],
)
def test_each_path_has_a_weight_of_its_own(body, paths: int) -> None:
    class Twice(Paths):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(body(self.a(x), self.b(x)))

    model = settled(Twice(), X)
    network, groups = injected(model, X)
    assert sum(len(group.slices) for group in groups) == paths
    same(model, network, (X,))


JOINTS = {
    "hstack": lambda a, b, c: torch.hstack([a, b, c])[:, 4:10],
    "addcmul": lambda a, b, c: torch.addcmul(a, b, c, value=0.5),
    "lerp": lambda a, b, c: torch.lerp(a, b, 0.3) + c,
    "maximum": lambda a, b, c: torch.maximum(a, b) * c,
    "where": lambda a, b, c: torch.where(a > 0, b, c),
    "addmm": lambda a, b, c: torch.addmm(a, b[:, :3], c[:3]),
    "addcmul by a table": lambda a, b, c: torch.addcmul(a + c, torch.linspace(0.1, 1, 6).to(b), b),
}


@pytest.mark.parametrize("join", JOINTS.values(), ids=JOINTS)
def test_any_zeros_of_a_joint_construct_exactly(join) -> None:
    class Joined(Paths):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(join(self.a(x), self.b(x), self.c(x)))

    model = settled(Joined(), X)
    network, groups = injected(model, X)
    names = [part.name for group in groups for part in group.slices]
    for pattern in itertools.product((True, False), repeat=len(names)):
        for name, alive in zip(names, pattern, strict=True):
            network.get_parameter(name).data.fill_(alive)
        subnet = constructed(network, (X,))
        assert subnet.meta["autosubnet"].max_difference <= 1e-12
        gone = {name for name, alive in zip(names, pattern, strict=True) if not alive}
        assert not gone & weights_of(subnet)


def test_under_autocast_weights_have_the_dtype_of_the_model() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        network, groups = injected(Paths(), torch.randn(3, 6))
    assert {network.get_parameter(part.name).dtype for group in groups for part in group.slices} == {torch.float32}


def test_optimizers_of_paths_need_paths() -> None:
    for kind in ("hapg", "adamhapg"):
        with pytest.raises(InputError, match="architecture_weights=True"):
            getattr(AutoSubnet(settled(Paths(), X), X), kind)()


def test_a_model_without_joints_is_refused() -> None:
    chain = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    with pytest.raises(InputError, match="needs paths that meet in a sum"):
        AutoSubnet(chain, torch.randn(3, 6), architecture_weights=True)
    assert AutoSubnet(chain, torch.randn(3, 6)).paths == ()


def same(model: nn.Module, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Equal bit by bit, in both modes."""
    for train in (False, True):
        expected, got = (probe(each, inputs, train=train) for each in (model, network))
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def set_paths_to_zero(network: nn.Module, groups, seed: int) -> set[str]:
    """Set four paths in ten to zero, but one into each joint; return which."""
    draw, zeros = random.Random(seed), set()
    for group in groups:
        kept = draw.randrange(len(group.slices))
        for number, part in enumerate(group.slices):
            if number != kept and draw.random() < 0.4:
                network.get_parameter(part.name).data.zero_()
                zeros.add(part.name)
    return zeros


def constructed(network: nn.Module, inputs: tuple[Tensor, ...]) -> fx.GraphModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AutoSubnetWarning)  # a pattern may cut an output off
        return autosubnet.remove_zeros(network, inputs)


def test_every_path_into_every_joint_has_a_weight() -> None:
    model = settled(Paths(), X)
    network, groups = injected(model, X)
    assert [len(group.slices) for group in groups] == [2, 2, 3]
    assert {group.kind for group in groups} == {"paths"}
    weights = [p for name, p in network.named_parameters() if name.startswith("path_weights.")]
    assert len(weights) == 7
    assert all(weight.requires_grad and weight.item() == 1 and weight.ndim == 0 for weight in weights)
    own = dict(model.named_parameters())
    assert all(p is own[name] for name, p in network.named_parameters() if name in own)
    same(model, network, (X,))


def test_skips_and_concats_can_be_removed() -> None:
    """What OTOv3 cannot: a path without variables becomes a group, for H2SPG as for the optimizers of SparseNAS."""
    model = settled(Paths(), X)
    assert {group.name for group in AutoSubnet(model, X).groups} == {"a", "b", "c"}
    network, groups = injected(model, X)
    assert len(AutoSubnet(network, X).groups) == 7
    for joint, gone in ((0, "a"), (1, "b"), (2, "c")):
        network, groups = injected(settled(Paths(), X), X)
        names = [part.name for part in groups[joint].slices]
        layer = next(name for name in names if gone in reader_of(network, name))
        network.get_parameter(layer).data.zero_()
        subnet = autosubnet.remove_zeros(network, (X,))
        assert gone not in left(subnet)


def reader_of(network: fx.GraphModule, weight: str) -> set[str]:
    """Names of the modules whose result a weight scales, activations between them left out."""
    (node,) = (each for each in network.graph.nodes if each.target == weight)
    (product,) = node.users
    sources = {product.args[0], *product.args[0].all_input_nodes}
    return {str(each.target) for each in sources if each.op == "call_module"}


def test_random_models() -> None:
    """Equal at weight one; with paths at zero the promises of every construction hold."""
    checked = 0
    for seed in range(60):
        model, inputs = random_model(seed)
        if is_random(model.plan) or reuses_statistics(model.plan):
            continue  # what is drawn at random may go with its path
        try:
            network, groups = injected(model, *inputs)
        except InputError as error:
            if "needs paths that meet in a sum" not in str(error):
                raise
            continue
        same(model, network, inputs)
        assert {part.name for group in groups for part in group.slices} == weights_of(network)
        gone = set_paths_to_zero(network, groups, seed)
        subnet = constructed(network, inputs)
        assert not gone & weights_of(subnet)
        assert weights_of(network) - gone >= weights_of(subnet)
        if removal.wake(network, inputs):
            subnet = constructed(network, inputs)
            kept = subnet.meta["autosubnet"].kept
            promises.equal_outputs(network, subnet, inputs)
            promises.equal_train_outputs(network, subnet, inputs, kept)
            for train in (False, True):
                promises.equal_gradients(network, subnet, inputs, kept, train=train)
            promises.names_kept(network, subnet, kept)
            promises.fixed_point(subnet, constructed(subnet, inputs))
            checked += bool(gone)
    assert checked >= 20


def weights_of(network: nn.Module) -> set[str]:
    return {name for name, _ in network.named_parameters() if name.startswith("path_weights.")}


MODELS = (
    *("torchvision:resnet18", "torchvision:googlenet", "torchvision:mobilenet_v2", "torchvision:shufflenet_v2_x0_5"),
    *("torchvision:squeezenet1_1", "timm:resnet18", "timm:dla34", "timm:mixer_s32_224", "timm:res2net50_26w_4s"),
    "timm:convnext_atto",
)


@pytest.mark.parametrize("name", MODELS)
def test_models_of_public_zoos(name: str) -> None:
    """Equal at weight one, and any pattern of zeros constructs exactly (verified by the construction itself)."""
    torch.manual_seed(0)
    size = 224 if "mixer" in name else 64
    model, x = create(name).eval(), torch.randn(2, 3, size, size)
    network, groups = injected(model, x)
    assert groups
    same(model, network, (x,))
    for seed in (0, 1):
        network, groups = injected(model, x)
        assert set_paths_to_zero(network, groups, seed)
        report = constructed(network, (x,)).meta["autosubnet"]
        assert report.num_params[1] < report.num_params[0]
        assert report.relative_difference <= 1e-9


ENDS = {
    "Linear": (lambda: nn.Linear(6, 6), True),
    "a norm with a weight": (lambda: nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), True),
    "a norm without": (lambda: nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6, affine=False)), False),
    "LayerNorm without": (lambda: nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6, elementwise_affine=False)), False),
    "tanh": (lambda: nn.Sequential(nn.Linear(6, 6), nn.Tanh()), False),
    "nothing trained": (lambda: nn.Linear(6, 6).requires_grad_(False), False),
    "a skip": (nn.Identity, False),
}


@pytest.mark.parametrize(("end", "dodges"), ENDS.values(), ids=ENDS)
def test_paths_that_can_dodge_their_penalty_are_noted(end, dodges: bool) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.path = nn.Linear(6, 6), end()

        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(self.stem(x))
            return x.sin() + self.path(x)

    model, rows = Two(), torch.randn(4, 6)
    notes = [note for note in AutoSubnet(model, rows, architecture_weights=True).notes if "dodge" in note]
    assert not [note for note in AutoSubnet(model, rows).notes if "dodge" in note]
    assert len(notes) == dodges
    if dodges:
        assert notes[0].startswith("1 of 2 paths end in an operator with trained weights")
        assert "path_weights.add.1; let them end in a norm" in notes[0]


def test_of_many_such_paths_some_are_named() -> None:
    class Many(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.paths = nn.ModuleList(nn.Linear(6, 6) for _ in range(5))
            self.weight = nn.Parameter(torch.randn(6, 6))

        def forward(self, x: Tensor) -> Tensor:
            return sum([path(x) for path in self.paths], start=nn.functional.linear(x, self.weight))

    (note,) = (each for each in AutoSubnet(Many(), X.float(), architecture_weights=True).notes if "dodge" in each)
    assert note.startswith("6 of 6 paths")
    assert " and 3 more; let them" in note
