"""Train and eval mode: dual graphs, and notes where random operations or running statistics are touched."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from probes import run
from promises import equal_gradients, equal_train_outputs
from torch import Tensor, nn

import autosubnet
from autosubnet.errors import AutoSubnetWarning
from subnet.checks import example, left, operations, report_of, same, settled, shrink, zero

X = example(3, 3, 8, 8)


class Auxiliary(nn.Module):
    """A second head that runs in train mode only, as GoogLeNet's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = (nn.Conv2d(i, 4, 3, padding=1) for i in (3, 4, 4))
        self.norm = nn.BatchNorm2d(4)
        self.c, self.d = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.head, self.aux = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = F.gelu(self.norm(self.stem(x)))
        side = self.c(x) + self.d(x)
        x = self.a(x) + self.b(x)
        if self.training:
            return self.head(x.mean((2, 3))), self.aux(side.mean((2, 3)))
        return self.head(x.mean((2, 3)))


def test_both_graphs_lose_the_zero_branch() -> None:
    model = settled(Auxiliary(), X)
    subnet = shrink(model, (X,), "b", "d", train=False)
    assert report_of(subnet).notes == ()
    assert left(subnet) == {"stem", "norm", "a", "c", "head", "aux"}
    assert isinstance(subnet.eval()(X), Tensor)
    assert len(subnet.train()(X)) == 2


def test_gradients_and_statistics_of_both_heads() -> None:
    model = settled(Auxiliary(), X)
    zero(model, ["b", "d"])
    subnet = autosubnet.remove_zeros(model, X)
    for a, b in zip(run(model, (X,), train=True), run(subnet, (X,), train=True), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    assert torch.equal(model.norm.running_mean, subnet.get_submodule("norm").running_mean)
    equal_gradients(model.eval(), subnet.eval(), (X,), report_of(subnet).kept, train=True)


def test_a_dual_subnet_switches_copies_and_saves_like_any_module() -> None:
    model = settled(Auxiliary(), X)
    zero(model, ["b"])
    subnet = autosubnet.remove_zeros(model, X)
    assert not subnet.training
    before = subnet(X)
    twin = copy.deepcopy(subnet)
    for each in (subnet, twin):
        assert len(each.train()(X)) == 2
        assert each.training
        assert all(module.training for module in each.modules())
        assert torch.is_tensor(each.eval()(X))
    twin.get_parameter("a.weight").data.zero_()
    twin.get_parameter("a.bias").data.zero_()
    assert torch.equal(subnet.get_submodule("a").weight, model.a.weight), "a deep copy shares nothing"
    assert not torch.equal(twin(X), before)
    twin.load_state_dict(subnet.state_dict())
    assert torch.equal(twin(X), subnet(X))
    assert set(subnet.state_dict()) == {name for name in model.state_dict() if not name.startswith("b.")}
    assert report_of(twin) == report_of(subnet)


def test_a_copy_made_in_train_mode_is_in_train_mode() -> None:
    model = settled(Auxiliary(), X)
    zero(model, ["b"])
    subnet = autosubnet.remove_zeros(model, X).train()
    twin = copy.deepcopy(subnet)
    assert twin.training
    assert len(twin(X)) == 2
    assert torch.is_tensor(twin.eval()(X))
    assert len(subnet(X)) == 2, "the copy changed the original's mode"


@pytest.mark.parametrize("dual", [True, False])
def test_a_subnet_trains_in_place_of_its_model(dual: bool) -> None:
    model = settled(Auxiliary() if dual else nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(256, 2)), X)
    subnet = autosubnet.remove_zeros(model, X).train()
    optimizer = torch.optim.SGD(subnet.parameters(), lr=1e-4)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        outputs = subnet(X)
        loss = sum(each.square().mean() for each in (outputs if dual else [outputs]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_the_subnet_is_in_the_mode_of_the_model(mode: bool) -> None:
    model = settled(Auxiliary(), X).train(mode)
    zero(model, ["b"])
    subnet = autosubnet.remove_zeros(model, X)
    assert model.training is mode
    assert all(module.training is mode for module in subnet.modules())


def test_a_head_of_train_mode_that_becomes_constant_warns() -> None:
    model = settled(Auxiliary(), X)
    zero(model, ["c", "d", "aux"])
    with pytest.warns(AutoSubnetWarning, match="constant"):
        subnet = autosubnet.remove_zeros(model, X)
    for a, b in zip(run(model, (X,), train=True), run(subnet, (X,), train=True), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


# ---------------------------------------------------------------- random operations


class Dropped(nn.Module):
    """A branch with dropout, beside one without, and dropout behind both."""

    def __init__(self, functional: bool) -> None:
        super().__init__()
        self.functional = functional
        self.a, self.b, self.head = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 2)
        self.drop, self.last = nn.Dropout(0.5), nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        b = self.b(x)
        b = F.dropout(b, 0.5, self.training) if self.functional else self.drop(b)
        return self.head(self.last(F.gelu(self.a(x)) + b))


@pytest.mark.parametrize("functional", [False, True], ids=["module", "function"])
def test_dropout_that_stays_draws_the_same_numbers(functional: bool) -> None:
    x = example(5, 6)
    subnet = shrink(settled(Dropped(functional), x), (x,), "a")
    assert left(subnet) == {"b", "head"}
    assert not torch.equal(subnet.train()(x), subnet(x))


@pytest.mark.parametrize("functional", [False, True], ids=["module", "function"])
def test_dropout_that_goes_is_noted(functional: bool) -> None:
    x = example(5, 6)
    subnet = shrink(settled(Dropped(functional), x), (x,), "b", train=False)
    (note,) = report_of(subnet).notes
    assert "dropout" in note or "drop" in note
    assert "train mode" in note
    assert report_of(subnet).max_difference == 0.0


def test_dropout_of_probability_zero_is_no_random_operation() -> None:
    x = example(5, 6)
    model = settled(Dropped(functional=False), x)
    model.drop.p = 0.0
    assert report_of(shrink(model, (x,), "b")).notes == ()


def test_dropout_on_fewer_channels_is_noted() -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(6, 3), nn.Linear(6, 4), nn.Linear(7, 2)
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.drop(torch.cat([self.a(x), self.b(x)], 1)))

    x = example(5, 6)
    subnet = shrink(settled(Narrow(), x), (x,), "a", train=False)
    narrowed = subnet.get_parameter("head.weight").shape[1] == 4
    assert any("random" in note for note in report_of(subnet).notes) == narrowed
    if not narrowed:
        equal_train_outputs(settled(Narrow(), x), subnet, (x,), report_of(subnet).kept)


# ---------------------------------------------------------------- running statistics


def test_a_norm_that_loses_one_of_its_calls_is_noted() -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(6, 4) for _ in range(3))
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.a(x)) + self.c(x) * self.norm(self.b(x))

    x = example(5, 6)
    subnet = shrink(settled(Reused(), x), (x,), "c", train=False)
    assert left(subnet) == {"a", "norm"}
    (note,) = report_of(subnet).notes
    assert "'norm' lost a call" in note
    assert "train mode" in note


def test_a_norm_as_a_function_that_goes_does_not_trouble_the_others() -> None:
    """Many norms are calls of one function; only those that share statistics share their calls."""

    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))
            self.mean, self.variance = nn.Buffer(torch.zeros(4)), nn.Buffer(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias, self.training)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), Norm(), Norm()

        def forward(self, x: Tensor) -> Tensor:
            return self.first(self.a(x)) + self.second(self.b(x))

    x = example(3, 3, 4, 4)
    shrink(settled(Net(), x), (x,), "b", "second")


def test_a_norm_that_goes_wholly_is_no_matter() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 4)
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.norm(self.b(x))

    x = example(5, 6)
    subnet = shrink(settled(Normed(), x), (x,), "b", "norm")
    assert left(subnet) == {"a"}
    assert list(dict(subnet.named_buffers())) == []


def test_a_norm_without_running_statistics_stays_exact_in_both_modes() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 4)
            self.norm = nn.BatchNorm1d(4, track_running_stats=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.a(x) + self.b(x))

    x = example(5, 6)
    model = settled(Plain(), x)
    zero(model, ["b"])
    subnet = autosubnet.remove_zeros(model, x)
    same(model, subnet, (x,))
    assert left(subnet) == {"a", "norm"}


def test_a_counter_of_ones_own_goes_on_counting() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 4)
            self.register_buffer("calls", torch.zeros((), dtype=torch.long))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.calls += 1
            return self.a(x) + self.b(x)

    x = example(5, 6)
    model = settled(Counting(), x)
    zero(model, ["b"])
    subnet = autosubnet.remove_zeros(model, x)
    start = int(model.calls)
    subnet.train()(x)
    subnet(x)
    subnet.eval()(x)
    assert int(subnet.get_buffer("calls")) == start + 2
    assert int(model.calls) == start


def test_a_subnet_can_be_pickled_and_compiled() -> None:
    model = settled(Auxiliary(), X)
    zero(model, ["b"])
    subnet = autosubnet.remove_zeros(model, X)
    for training in (True, False):
        for again in (pickle.loads(pickle.dumps(subnet.train(training))), copy.copy(subnet), copy.deepcopy(subnet)):
            assert again.training == training
            assert again.meta["autosubnet"] == subnet.meta["autosubnet"]
            for mode in (True, False):
                expected, got = (run(copy.deepcopy(each), (X,), train=mode) for each in (subnet, again))
                assert all(map(torch.equal, expected, got)), f"pickled with training={training}, run with {mode}"
                assert len(got) == 1 + mode
    subnet.eval()
    exported = torch.export.export(subnet, (X,)).module()
    assert torch.allclose(exported(X), subnet(X), rtol=0, atol=1e-12)
    assert "add" not in operations(subnet)
