"""Verification: a wrong rule is caught, and what is measured is what is reported."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from graph.models import EXAMPLES
from torch import Tensor, nn

import autosubnet
from autosubnet import AutoSubnet, Rule, register_rule
from autosubnet.capture import Inputs, capture
from autosubnet.errors import AutoSubnetError, NonFiniteError, VerificationError
from autosubnet.ops import arithmetic, concat, elementwise, normalization, registry
from autosubnet.ops.rule import Alias
from autosubnet.subnet.verify import compare, verify
from subnet.checks import example, report_of, settled, untouched, zero

X = example(3, 3, 8, 8)


class Mixed(nn.Module):
    """A sum, a difference, a gate and a concat, each with one branch that is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.a, self.b, self.gate = (nn.Conv2d(4, 4, 1) for _ in range(3))
        self.c, self.norm = nn.Conv2d(4, 2, 1), nn.BatchNorm2d(6)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.stem(x))
        x = (self.a(x) - self.b(x)) * torch.sigmoid(self.gate(x))
        return self.head(torch.relu(self.norm(torch.cat([x, self.c(x)], 1))))


def mixed(*gone: str) -> nn.Module:
    model = settled(Mixed(), X)
    zero(model, gone)
    return model


def wrong_sign(self: Any, call: Any, gone: frozenset[Any]) -> Any:
    first, second = call.node.args
    return Alias(second) if first in gone else Alias(first) if second in gone else None


def everything(self: Any, call: Any, zeros: Any) -> Any:
    return zeros(call.input)


def all_zero(self: Any, call: Any, zeros: Any) -> Any:
    return ~call.nothing_known()


WRONG: dict[str, tuple[type, str, Any, str]] = {
    "0 - b is b": (arithmetic.Sum, "drops", wrong_sign, "a"),
    "sigmoid keeps zero": (elementwise.LosesZero, "zeros", everything, "gate"),
    "batch norm keeps zero": (normalization.BatchNorm, "zeros", everything, "c"),
    "a sum is zero": (arithmetic.Sum, "zeros", all_zero, "b"),
    "a concat is zero": (concat.Concat, "zeros", all_zero, "b"),
}


@pytest.mark.parametrize(("cls", "method", "wrong", "gone"), WRONG.values(), ids=WRONG)
def test_a_wrong_rule_is_caught(cls: type, method: str, wrong: Any, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = mixed(gone)
    autosubnet.remove_zeros(model, X)
    monkeypatch.setattr(cls, method, wrong)
    before = copy.deepcopy(model)
    with pytest.raises(VerificationError, match=r"the subnet differs from the model by .* nothing was returned"):
        autosubnet.remove_zeros(model, X)
    untouched(model, before)


def damage(monkeypatch: pytest.MonkeyPatch, change: Callable[[nn.Module], object]) -> None:
    """Let every construction return what ``change`` has spoilt."""
    stage = importlib.import_module("autosubnet.subnet.construct")
    emitted = stage.emit

    def spoilt(plan: Any) -> Any:
        subnet = emitted(plan)
        change(subnet)
        return subnet

    monkeypatch.setattr(stage, "emit", spoilt)


def test_the_output_that_differs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 2), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            x = self.stem(x)
            return {"first": self.first(x), "second": self.second(x)}

    x = example(5, 6)
    model = settled(Heads(), x)
    damage(monkeypatch, lambda subnet: subnet.get_parameter("second.bias").data.mul_(2))
    with pytest.raises(VerificationError, match=r"of the output's variation, most in output 1 \('second'\)"):
        autosubnet.remove_zeros(model, x)
    model.second.bias.data.fill_(1e308)
    model.second.weight.data.fill_(1e308)
    with pytest.raises(VerificationError, match=r"output 1 \('second'\) of the model holds no finite number"):
        autosubnet.remove_zeros(model, x)


def test_what_is_wrong_in_train_mode_alone_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    x = example(5, 6)
    model = settled(nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 2)), x)
    autosubnet.remove_zeros(model, x)
    damage(monkeypatch, lambda subnet: setattr(subnet.get_submodule("1"), "p", 0.25))
    with pytest.raises(VerificationError, match="in train mode the subnet differs"):
        autosubnet.remove_zeros(model, x)


def test_a_network_that_does_not_run_is_no_bare_error(monkeypatch: pytest.MonkeyPatch) -> None:
    damage(monkeypatch, lambda subnet: setattr(subnet.get_submodule("head"), "weight", nn.Parameter(torch.ones(2, 3))))
    with pytest.raises(VerificationError):
        autosubnet.remove_zeros(mixed("b"), X)


def test_without_verification_nothing_is_run_or_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mixed("b")
    subnet = autosubnet.remove_zeros(model, X, verify=False)
    report = report_of(subnet)
    assert (report.max_difference, report.relative_difference, report.dtype) == (None, None, None)
    oto = AutoSubnet(model, X)
    monkeypatch.setattr(nn.Conv2d, "forward", None)
    oto.construct_subnet(verify=False)


def test_the_report_says_what_was_measured() -> None:
    report = report_of(autosubnet.remove_zeros(mixed("b"), X))
    assert report.dtype == "float64"
    assert report.max_difference == report.relative_difference == 0.0
    assert report.removed_params == ("b.weight", "b.bias")
    assert set(report.removed_vertices) == {"b", "sub"}
    assert report.kept == {}
    assert report.notes == ()


def test_float32_models_are_verified_in_float64() -> None:
    model = mixed("b").float()
    report = report_of(autosubnet.remove_zeros(model, X.float()))
    assert report.dtype == "float64"
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_a_model_with_a_float32_island_is_verified_in_float32() -> None:
    class Island(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = x.float()
            return self.a(x) + self.b(x)

    torch.manual_seed(0)
    model, x = Island(), torch.randn(4, 6)
    zero(model, ["b"])
    report = report_of(autosubnet.remove_zeros(model, x))
    assert report.dtype == "float32"
    assert report.max_difference == 0.0


def test_verification_looks_at_another_batch_size_and_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """A zero whose height is written out is right at the example's size only."""

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 1, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.a(x) + self.b(x))

    model = settled(Wide(), X)
    zero(model, ["b"])
    autosubnet.remove_zeros(model, X)
    emitter = importlib.import_module("autosubnet.subnet.emit")._Emitter
    zeros = emitter._zeros

    def frozen(self: Any, node: Any, beside: Any) -> Any:
        new = zeros(self, node, beside)
        new.args = (new.args[0], (*new.args[1][:2], 8, 8))
        return new

    monkeypatch.setattr(emitter, "_zeros", frozen)
    with pytest.raises(VerificationError):
        autosubnet.remove_zeros(model, X)


# ---------------------------------------------------------------- weights that are no numbers


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["a.weight", "norm.bias", "c.bias"])
def test_weights_that_are_no_numbers_are_refused(name: str, value: float) -> None:
    model = mixed("b")
    model.get_parameter(name).data.view(-1)[0] = value
    oto = AutoSubnet(mixed("b"), X)
    with pytest.raises(NonFiniteError, match=f"parameter '{name}' holds NaN or infinite values; restore it"):
        autosubnet.remove_zeros(model, X)
    oto.model.get_parameter(name).data.view(-1)[0] = value
    with pytest.raises(NonFiniteError, match=name):
        oto.construct_subnet()


@pytest.mark.parametrize("name", ["norm.running_mean", "norm.running_var"])
def test_a_verification_that_could_compare_nothing_is_none(name: str) -> None:
    """With such statistics every output is NaN: no difference can be seen, and none may be reported as zero."""
    model = mixed("b")
    model.get_buffer(name).fill_(float("nan"))
    with pytest.raises(AutoSubnetError, match=r"NaN|finite"):
        autosubnet.remove_zeros(model, X)


def test_masks_of_minus_infinity_are_no_fault() -> None:
    class Causal(nn.Module):
        """A causal mask is a buffer of infinities, and rightly so."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
            mask = torch.full((5, 5), float("-inf"), dtype=torch.float64).triu(1)
            self.register_buffer("mask", mask)

        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(x, x, self.a(x) + self.b(x), attn_mask=self.mask)

    x = example(3, 5, 6)
    model = settled(Causal(), x)
    zero(model, ["b"])
    assert report_of(autosubnet.remove_zeros(model, x)).removed_params == ("b.weight", "b.bias")


# ---------------------------------------------------------------- how differences are measured


def test_compare_measures_against_the_variation() -> None:
    expected = [torch.tensor([[1.0, 5.0], [3.0, 5.0]], dtype=torch.float64)]
    actual = [expected[0] + torch.tensor([[0.5, 0.0], [0.0, 0.0]], dtype=torch.float64)]
    difference, _, relative = compare(expected, actual)
    assert difference == 0.5
    assert relative == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(
    "actual",
    [
        [],
        [torch.zeros(2, 3)],
        [torch.zeros(2, 2), torch.zeros(1)],
        [torch.full((2, 2), float("nan"))],
    ],
)
def test_compare_never_passes_what_cannot_be_compared(actual: list[Tensor]) -> None:
    assert compare([torch.ones(2, 2)], actual)[1:] == (float("inf"), float("inf"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_tiny_error_is_not_let_through(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One weight off by 1e-6 of its size in the subnet must be seen in float64."""
    model, inputs = EXAMPLES[name]()
    head = "linear" if name == "demo" else "head"
    damage(monkeypatch, lambda subnet: subnet.get_submodule(head).weight.data.mul_(1 + 1e-6))
    with pytest.raises(VerificationError, match="in eval mode the subnet differs from the model"):
        autosubnet.remove_zeros(model, inputs)


def test_a_registered_rule_answers_for_the_users_own_module() -> None:
    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sin()

    register_rule(elementwise.KeepsZero(), modules=[Own])
    try:
        x = example(5, 6)
        model = settled(nn.Sequential(nn.Linear(6, 4), Own(), nn.Linear(4, 2)), x)
        subnet = autosubnet.remove_zeros(model, x)
        assert any(type(module).__name__ == "Own" for module in subnet.modules())
    finally:
        registry._modules.pop(registry._qualified(Own))
    assert isinstance(Rule(), Rule)


def test_rounding_that_a_norm_blows_up_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """In train mode a BatchNorm over two examples that are nearly alike magnifies rounding a million times.

    The model run twice on inputs that differ by one unit in the last place is as far from itself.
    """

    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 32), nn.Linear(6, 32)
            self.mix, self.norm, self.head = nn.Linear(64, 8), nn.BatchNorm1d(8, eps=1e-20), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.mix(torch.cat([self.a(x), self.b(x)], 1))))

    x = example(1, 6) + 1e-8 * example(2, 6, seed=3)
    model = settled(Narrow(), example(4, 6))
    zero(model, ["a"])
    damage(monkeypatch, lambda subnet: subnet.get_submodule("mix").weight.data.mul_(1 + 2**-52))
    report = report_of(autosubnet.remove_zeros(model, x))
    assert {"a.weight", "a.bias"} <= set(report.removed_params)


def test_a_graph_that_draws_in_its_own_dtype_in_train_mode_alone() -> None:
    """As float64 it would draw other numbers than its model; in float32 both draw the same."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x) + self.b(x)
            if self.training:
                y = y * torch.rand(x.shape, dtype=x.dtype, device=x.device)
            return self.head(y)

    model = Net()
    zero(model, ["a"])
    report = report_of(autosubnet.remove_zeros(model, torch.randn(4, 6)))
    assert report.dtype == "float32"
    assert report.training_notes == ()


def test_a_decision_by_size_does_not_keep_verification_from_another_length() -> None:
    seen: list[int] = []

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.shape[1] + 0)
            y = self.a(x) + self.b(x)
            return self.head(y) if x.shape[1] > 2 else self.head(y * 2)

    oto = AutoSubnet(Net(), torch.randn(3, 7, 6))
    assert any("a decision by size" in note for note in oto.notes)
    oto.random_set_zero_groups(1.0)
    seen.clear()
    oto.construct_subnet()
    assert len({int(each) for each in seen}) == 2


class Dropping(nn.Module):
    """Draws twice; what comes first goes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.first, self.last = nn.Dropout(0.3), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.first(self.b(x)) + self.a(x))
        return y


def test_train_mode_is_compared_where_a_random_operation_went() -> None:
    rows = example(4, 6)
    model = settled(Dropping(), rows)
    zero(model, ["b"])
    trace = capture(model, Inputs.of(rows))
    subnet = autosubnet.remove_zeros(model, (rows,))
    assert "first" in report_of(subnet).training_notes[0]
    assert verify(trace, subnet, draws="each anew")["max_difference"] == 0.0
    with pytest.raises(VerificationError, match="in train mode"):
        verify(trace, subnet, draws="in order")  # the second draw of the model is the first of the subnet
    subnet.last.p = 0.6
    with pytest.raises(VerificationError, match="in train mode"):
        verify(trace, subnet, draws="each anew")


def test_the_report_says_what_capture_held_fixed() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            y = x.new_zeros(x.shape[0], 6)
            for step in range(x.shape[1]):
                y = torch.tanh(self.a(x[:, step]) + self.b(y))
            return y

    model = settled(Steps(), example(3, 5, 6))
    report = report_of(autosubnet.remove_zeros(model, (example(3, 5, 6),)))
    assert any(note.startswith("frozen: a size") for note in report.notes)
    assert report_of(autosubnet.remove_zeros(mixed("b"), X)).capture_notes == ()


def test_a_cause_that_the_graph_does_not_show_is_named() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(8, 2)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            y: Tensor = self.head(self.encoder(x, src_key_padding_mask=mask))
            return y

    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[0, 3:] = True
    with pytest.raises(VerificationError, match=r"module 'encoder' fills .* enable_nested_tensor=False"):
        autosubnet.remove_zeros(Padded(), (torch.randn(3, 5, 8), mask))


def test_hooks_of_all_modules_are_named() -> None:
    model = mixed("b")
    hook = nn.modules.module.register_module_forward_hook(lambda module, _, y: y + 1)
    try:
        with pytest.raises(VerificationError, match="Hooks of all modules"):
            autosubnet.remove_zeros(model, (X,))
    finally:
        hook.remove()


def test_a_hook_that_keeps_something_elsewhere_is_named() -> None:
    class Noted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: dict[str, Tensor] = {}
            self.a, self.b, self.head = (nn.Linear(6, 6) for _ in range(3))
            self.a.register_forward_hook(lambda module, inputs, output: self.seen.update(a=output))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.head(self.a(x) + self.b(x)), self.seen["a"]

    with pytest.raises(VerificationError, match=r"Module 'a' has a hook; .* let forward return it"):
        autosubnet.remove_zeros(Noted(), (torch.randn(3, 6),))
