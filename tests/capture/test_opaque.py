"""Modules that cannot be followed: one vertex each, whatever they return, and removable where a bound is proved."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import promises
import pytest
import removal
import torch
from torch import Tensor, nn

from autosubnet import AutoSubnet, remove_zeros
from autosubnet.errors import CaptureError


@dataclass
class Pair:
    first: Tensor
    rest: Any = None


@dataclass
class Output(OrderedDict[str, Any]):
    """Both a dataclass and a dict, as are those of Hugging Face."""

    last: Tensor
    hidden: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        self.update(last=self.last, hidden=self.hidden)


MAKES: dict[str, Any] = {
    "dict": lambda a, b, c: {"a": a, "bs": [b, {"c": c}], "n": 3},
    "dataclass": lambda a, b, c: Pair(a, Pair(b, (c,))),
    "both": lambda a, b, c: Output(a, (b, c)),
}
TAKES: dict[str, Any] = {
    "dict": lambda out: (out["a"], out["bs"][0], out["bs"][1]["c"]),
    "dataclass": lambda out: (out.first, out.rest.first, out.rest.rest[0]),
    "both": lambda out: (out.last, out["hidden"][0], out.hidden[1]),
}


def outside(x: Tensor) -> Tensor:
    """Compute what no graph can follow."""
    return torch.from_numpy(x.detach().numpy() * 2)


class Inner(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Any:
        y = self.layer(x)
        return MAKES[self.kind](y, outside(y), y + outside(y))


class Outer(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner = Inner(kind)
        self.p, self.q = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = TAKES[self.inner.kind](self.inner(x))
        return self.p(a + b) + self.q(c) + x


@pytest.mark.parametrize("kind", MAKES)
@pytest.mark.parametrize("number", [0, 1])
def test_what_it_returns_is_taken_apart(kind: str, number: int) -> None:
    torch.manual_seed(0)
    model = Outer(kind).double()
    oto = AutoSubnet(model, torch.randn(3, 6, dtype=torch.float64))
    assert {group.name for group in oto.groups} == {"p", "q"}
    removal.set_zero(model, [oto.groups[number]])
    before = copy.deepcopy(model)
    subnet = oto.construct_subnet()
    assert {name.partition(".")[0] for name, _ in subnet.named_parameters()} == {"inner", oto.groups[1 - number].name}
    promises.equal_outputs(before, subnet, oto.example_inputs)


def test_it_is_told_why_it_was_not_followed() -> None:
    notes = AutoSubnet(Outer("dict"), torch.randn(3, 6)).notes
    assert len(notes) == 2
    assert notes[1].startswith("not followed: module 'inner', since a tensor of shape (3, 6) of unknown origin enters")
    assert "test_opaque.py:" in notes[1]


class Branch(nn.Module):
    """A layer that no graph can follow, and perhaps a norm behind it."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.body, self.norm = nn.Sequential(nn.Linear(6, 6), Outside()), norm

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.body(x))


class Outside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + outside(x) + 1


def test_a_norm_bounds_it() -> None:
    torch.manual_seed(0)
    model = Branch(nn.BatchNorm1d(6)).double()
    oto = AutoSubnet(model, torch.randn(3, 6, dtype=torch.float64))
    assert len(oto.groups) == 1
    assert {each.name for each in oto.groups[0].slices} == {name for name, _ in model.named_parameters()}
    oto.random_set_zero_groups(1.0)
    subnet = oto.construct_subnet()
    assert list(subnet.parameters()) == []
    promises.equal_outputs(copy.deepcopy(model), subnet, oto.example_inputs)


def test_nothing_bounds_it() -> None:
    oto = AutoSubnet(Branch(nn.Identity()), torch.randn(3, 6))
    assert oto.groups == ()
    (refusal,) = oto.refused
    assert refusal.reason.startswith(
        "'body_1' (in module 'body.1'): the module is kept as it is, since a tensor of shape"
    )


class Net(nn.Module):
    """An inner module that cannot be followed, layers beside it, and a forward that is given."""

    def __init__(self, inner: nn.Module, way: Any) -> None:
        super().__init__()
        self.inner, self.way = inner, way
        self.p, self.q, self.r = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


class Given(nn.Module):
    """A layer and a buffer, and a forward that is given."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body, self.layer = body, nn.Linear(6, 6)
        self.mean = nn.Buffer(torch.zeros(6))

    def forward(self, x: Tensor, *others: Any) -> Any:
        return self.body(self, self.layer(x) + 0.1 * outside(x), *others)


def searched(body: Any, way: Any) -> AutoSubnet:
    torch.manual_seed(0)
    return AutoSubnet(Net(Given(body), way).double(), torch.randn(4, 6, dtype=torch.float64))


def clamped(m: Any, x: Tensor) -> Tensor:
    out = m.inner(x)
    out["hidden"].clamp_(-6, 6)
    return m.p(out["hidden"]) + m.q(x) + out["flat"]


def test_results_that_share_memory_are_written_together() -> None:
    oto = searched(lambda m, y: {"hidden": y, "flat": y.view(-1, 6)}, clamped)
    oto.random_set_zero_groups(0.5)
    subnet = oto.construct_subnet()
    x = 100 * torch.randn(4, 6, dtype=torch.float64)
    torch.testing.assert_close(subnet.eval()(x), oto.model.eval()(x))


def updated(m: Any, y: Tensor) -> Tensor:
    if m.training:
        m.mean.lerp_(y.detach().mean(0), 0.1)
    return y - m.mean


def test_a_call_less_of_one_that_updates_buffers_is_told() -> None:
    oto = searched(updated, lambda m, x: m.inner(m.p(x)) + m.r(x) * m.inner(m.q(x)))
    removal.set_zero(oto.model, [next(group for group in oto.groups if group.name == "r")])
    report = oto.construct_subnet().meta["autosubnet"]
    assert report.training_notes == ("module 'inner' lost a call: its buffers differ in train mode",)


def counted(m: Any, y: Tensor) -> Tensor:
    m.mean.add_(1)
    return y


def test_one_that_writes_its_buffers_in_eval_mode_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"module 'inner' .* writes 'inner\.mean' in forward in eval mode; write it"):
        searched(counted, lambda m, x: m.inner(x) + m.p(x))


def test_one_that_writes_what_others_read_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"module 'inner' .* writes 'inner\.mean' in forward and others read it"):
        searched(updated, lambda m, x: m.inner(x) + m.p(x) * m.inner.mean)


def averaged(m: Any, x: Tensor) -> Tensor:
    y, mean = m.inner(x)
    mean.lerp_(y.detach().mean(0), 0.5)
    return m.p(x) + m.q(x) + y - mean


def test_a_buffer_that_it_hands_out_is_written() -> None:
    oto = searched(lambda m, y: (y, m.mean), averaged)
    oto.random_set_zero_groups(0.5)
    model, subnet = oto.model.eval(), oto.construct_subnet().eval()
    for seed in range(3):
        torch.manual_seed(seed)
        x = torch.randn(4, 6, dtype=torch.float64)
        torch.testing.assert_close(subnet(x), model(x))


@pytest.mark.parametrize(
    ("body", "way"),
    [
        (lambda m, y: y if m.training else y.float(), lambda m, x: m.inner(x) + m.p(x)),
        (lambda m, y: y if m.training else y[:, :1], lambda m, x: m.inner(x) + m.p(x)),
        (
            lambda m, y: (y, y) if m.training else y,
            lambda m, x: m.p(m.inner(x)[0] if m.training else m.inner(x)) + m.q(x),
        ),
    ],
    ids=["dtype", "shape", "number"],
)
def test_other_results_in_eval_mode_are_refused(body: Any, way: Any) -> None:
    with pytest.raises(CaptureError, match="'inner' cannot be followed, and returns tensors of another number"):
        searched(body, way)


@dataclass
class Options:
    scale: float = 1.0


@pytest.mark.parametrize("argument", [Options(), {1, 2}, int, torch.relu, nn.Linear(2, 2)])
def test_what_generated_code_cannot_spell_makes_the_module_around_it_opaque(argument: Any) -> None:
    inner = Net(Given(lambda m, y, other: y), lambda m, x: m.p(m.inner(x, argument)) + m.q(x))
    with pytest.raises(CaptureError, match=r"an object of class .* enters module 'inner'"):
        AutoSubnet(inner, torch.randn(4, 6))
    oto = AutoSubnet(Net(inner, lambda m, x: m.p(m.inner(x)) + m.q(x)), torch.randn(4, 6))
    oto.random_set_zero_groups(0.5)
    oto.construct_subnet()


@pytest.mark.parametrize(
    "argument",
    [None, 3, "a", (1, {"a": [2.0, None]}), torch.Size([2, 3]), slice(1, None), np.float64(2), torch.float64],
)
def test_plain_arguments_are_kept(argument: Any) -> None:
    seen: list[Any] = []
    oto = searched(lambda m, y, other: (seen.append(other), y)[1], lambda m, x: m.p(m.inner(x, argument)) + m.q(x))
    oto.random_set_zero_groups(0.5)
    subnet = oto.construct_subnet()
    seen.clear()
    subnet(*oto.example_inputs)
    assert seen == [argument]


def numbers(m: Any, x: Tensor) -> Tensor:
    x = x.reshape(-1, np.int64(6)) / np.sqrt(8) + torch.tensor(np.sqrt(4.0)) * np.float32(0.5)
    x = torch.add(m.p(x), torch.nn.functional.leaky_relu(m.q(x), np.float64(0.1)), alpha=np.float64(0.5))
    return x.sum(np.int64(1), keepdim=bool(np.bool_(True))) + x[:, np.int64(0) : np.int64(6)] + m.r(x)


def test_numbers_of_numpy_are_python_numbers() -> None:
    torch.manual_seed(0)
    model = Net(nn.Identity(), numbers).double()
    oto = AutoSubnet(model, torch.randn(4, 6, dtype=torch.float64))
    oto.random_set_zero_groups(0.5)
    before = copy.deepcopy(model)
    promises.equal_outputs(before, oto.construct_subnet(), oto.example_inputs)


class Foreign(nn.Module):
    """What it returns is made out of sight."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body, self.layer = body, nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


FOREIGN: dict[str, Any] = {
    "numpy": lambda m, x: torch.from_numpy(m.layer(x).detach().numpy() * 2),
    "vmap": lambda m, x: torch.func.vmap(lambda row: m.layer(row))(x),
    "a list": lambda m, x: torch.tensor(x.tolist(), dtype=x.dtype) * m.layer(x),
    "a choice of rows": lambda m, x: m.layer(x) if len((x[:, 0] > 0).nonzero()) > 2 else x,
    "gradients": lambda m, x: torch.autograd.grad(
        m.layer(y := x.detach().requires_grad_()).square().sum(), y, create_graph=True
    )[0],
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_module_in_which_it_happens_is_the_one_that_is_not_followed(kind: str) -> None:
    torch.manual_seed(0)
    branch = Branch(nn.BatchNorm1d(6))
    branch.body = nn.Sequential(nn.Linear(6, 6), Foreign(FOREIGN[kind]))
    model = nn.Sequential(nn.Linear(6, 6), branch).double()
    with torch.enable_grad():
        oto = AutoSubnet(model, torch.randn(4, 6, dtype=torch.float64))
    assert [note.partition(",")[0] for note in oto.notes if note.startswith("not followed")] == [
        "not followed: module '1.body.1'"
    ]
    assert [group.name for group in oto.groups] == ["1"]


class Routed(nn.Module):
    """Sends each row to one of its experts."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(6, 4)
        self.experts = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        chosen, y = self.router(x).argmax(-1), torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero().squeeze(-1)
            if len(rows):
                y = y.index_add(0, rows, expert(x[rows]))
        return y


def routed(rows: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Routed().double(), torch.randn(rows, 6, dtype=torch.float64)


def test_experts_that_no_row_was_sent_to_are_not_lost() -> None:
    model, few = routed(2)
    with pytest.raises(CaptureError, match=r"len\(tensor\)"):
        AutoSubnet(model, few)
    net = nn.Sequential(model, nn.Linear(6, 6).double())
    oto = AutoSubnet(net, few)
    assert oto.notes[1].startswith("not followed: module '0', since")
    subnet = oto.construct_subnet()
    assert len(list(subnet.parameters())) == len(list(net.parameters()))
    many = torch.randn(40, 6, dtype=torch.float64)
    torch.testing.assert_close(subnet.eval()(many), net.eval()(many))


def chosen_by_entry(m: Any, x: Tensor) -> Tensor:
    y = torch.where(x > 0, 1.0, 0.5)
    return m.p(x) + y if y.shape[1] > 2 else m.q(x)


def test_a_choice_entry_by_entry_has_the_sizes_of_its_mask() -> None:
    oto = AutoSubnet(Net(nn.Identity(), chosen_by_entry), torch.randn(4, 6))
    assert not [note for note in oto.notes if "which values decide" in note]


def test_a_softmax_in_parts_keeps_all_of_them() -> None:
    torch.manual_seed(0)
    loss = nn.AdaptiveLogSoftmaxWithLoss(6, 20, [5, 10])
    net = Net(loss, lambda m, x: m.inner(m.p(x), x[:, 0].abs().long()).loss)
    x = torch.ones(4, 6)
    subnet = AutoSubnet(net, x).construct_subnet()
    x[:, 0] = torch.tensor([1, 7, 12, 19])
    torch.testing.assert_close(subnet(x), net(x))


class Hooking(nn.Module):
    """Puts a hook on its layer in its first call, as some packages do to collect what it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Any:
        if not hasattr(self, "hooked"):
            self.layer.register_forward_hook(lambda module, args, result: self.seen.append(result))
            self.hooked = True
        self.seen.clear()
        y = self.layer(x) + x
        return y, list(self.seen)


def test_hooks_that_forward_puts_on_are_taken_off() -> None:
    model = Hooking()
    x = torch.randn(3, 6)
    subnet = AutoSubnet(model, x).construct_subnet()
    assert not model.layer._forward_hooks
    assert not hasattr(model, "hooked")
    assert len(model(x)[1]) == len(subnet(x)[1]) == 1


def test_a_write_goes_where_sizes_alone_are_read_of_what_it_wrote() -> None:
    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.p, self.q = Inner("dict"), nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            a = self.inner(x)["a"]
            shape = a.mul_(0.5).shape
            return self.p(a).view(shape) + self.q(x).view(shape)

    torch.manual_seed(0)
    model, x = Sized().double(), torch.randn(3, 6, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.p.parameters():
            parameter.zero_()
    subnet = remove_zeros(model, x)
    assert "mul_" not in [node.target for node in subnet.graph.nodes]
    promises.fixed_point(subnet, remove_zeros(subnet, x))
    other = torch.randn(5, 6, dtype=torch.float64)
    assert torch.equal(subnet(other), model(other))
