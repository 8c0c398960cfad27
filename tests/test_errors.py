"""Every error of the contract: a message that names the place and the remedy, raised before anything was changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from graph.models import demo, resnet
from torch import Tensor, nn

import autosubnet
from autosubnet import AutoSubnet, errors
from autosubnet.errors import (
    AutoSubnetError,
    BudgetError,
    CaptureError,
    GroupError,
    InputError,
    NonFiniteError,
    StateError,
)

X = torch.randn(3, 4)


@contextmanager
def raises(model: nn.Module | None, error: type[AutoSubnetError], *words: str) -> Iterator[None]:
    """The block raises ``error`` with all ``words`` in its message, and changes nothing of ``model`` or of torch."""
    before = contents(model)
    random_state = torch.get_rng_state()
    call, mode = nn.Module.__call__, torch.overrides._get_current_function_mode()
    with pytest.raises(AutoSubnetError) as raised:
        yield
    assert isinstance(raised.value, error), repr(raised.value)
    for word in words:
        assert word in str(raised.value), f"{word!r} is not in: {raised.value}"
    assert torch.equal(torch.get_rng_state(), random_state)
    assert nn.Module.__call__ is call
    assert torch.overrides._get_current_function_mode() is mode
    assert contents(model) == before


def contents(model: nn.Module | None) -> list[tuple[Any, ...]]:
    """Everything that may not change in a model, as data that compares equal where it is the same, NaN included."""
    if model is None:
        return []
    tensors = [*model.named_parameters(), *model.named_buffers()]
    tensors += [(f"{name}.grad", p.grad) for name, p in model.named_parameters() if p.grad is not None]
    found = [(name, id(t), t.detach().contiguous().numpy().tobytes()) for name, t in tensors]
    return [*found, *((name, type(module), module.training) for name, module in model.named_modules())]


def test_every_error_is_an_autosubnet_error() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert len(classes) >= 9
    for each in classes:
        assert issubclass(each, (AutoSubnetError, UserWarning))
        assert each.__doc__


# ---------------------------------------------------------------- a model that cannot be captured


class Linear(nn.Module):
    """Two branches; subclasses do what cannot be followed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)
        self.register_buffer("state", torch.zeros(3))

    def forward(self, x: Tensor) -> Any:
        return self.a(x) + self.b(x)


class Branches(Linear):
    """Takes a way that depends on values; which one differs from input to input."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        for row in x:
            if row[0] > 0:
                y = y + self.b(x)
        return y


class Refuses(Linear):
    """Has a check of its own."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 4:
            raise ValueError("four features, please")
        return self.a(x) + self.b(x)


class Stranger(Linear):
    """Reads a tensor that is no attribute of any module."""

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + OUTSIDE


class Reassigns(Linear):
    """Replaces a buffer in forward."""

    def forward(self, x: Tensor) -> Tensor:
        self.state = self.state + 1
        return self.a(x) + self.state


class Returns(Linear):
    """Returns something of its own kind."""

    def forward(self, x: Tensor) -> object:
        return {1, 2}


OUTSIDE = torch.ones(3)

UNCAPTURABLE: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "values decide": (Branches, ("inputs", "test_errors.py:", "module of its own")),
    "a tensor from outside": (Stranger, ("shape (3,)", "unknown origin", "test_errors.py:", "register it as a buffer")),
    "a buffer is replaced": (Reassigns, ("'state'", "re-assigned", "buffer.copy_(value)")),
    "a strange output": (Returns, ("set", "tensors, or tuples, lists, dicts or dataclasses")),
}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("make", "words"), UNCAPTURABLE.values(), ids=UNCAPTURABLE)
def test_a_model_that_cannot_be_captured(make: Callable[[], nn.Module], words: tuple[str, ...], train: bool) -> None:
    model = make().train(train)
    x = torch.tensor([[1.0, 2, 3, 4], [-1, 2, 3, 4], [1, -2, 3, -4]])
    with raises(model, CaptureError, *words):
        AutoSubnet(model, x)
    with raises(model, CaptureError, *words):
        autosubnet.remove_zeros(model, x)


# ---------------------------------------------------------------- inputs


def test_an_input_of_the_wrong_shape() -> None:
    wide = torch.randn(3, 5)
    model = Refuses()
    with raises(model, CaptureError, "fails on its example inputs", "four features, please"):
        AutoSubnet(model, wide)
    model = Linear()
    with raises(model, CaptureError, "fails on its example inputs", "3x5"):
        AutoSubnet(model, wide)


def test_an_input_of_the_wrong_dtype() -> None:
    model = Linear()
    with raises(model, CaptureError, "fails on its example inputs", "dtype"):
        AutoSubnet(model, X.double())


@pytest.mark.parametrize("inputs", [(X, X), {"y": X}, ()], ids=["too many", "unknown name", "none"])
def test_arguments_that_do_not_fit(inputs: Any) -> None:
    model = Linear()
    with raises(model, CaptureError, "example inputs do not fit forward()"):
        AutoSubnet(model, inputs)


@pytest.mark.parametrize("inputs", ["x", 3, {1, 2}, 1.5])
def test_example_inputs_of_another_kind(inputs: Any) -> None:
    model = Linear()
    with raises(model, InputError, f"example_inputs is a {type(inputs).__name__}", "pass a tensor, a tuple"):
        AutoSubnet(model, inputs)
    with raises(model, InputError, "example_inputs"):
        autosubnet.remove_zeros(model, inputs)


def test_no_example_inputs_and_nothing_to_guess_from() -> None:
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 4))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    model = Silent()
    with raises(model, InputError, "no example inputs could be guessed", "pass example_inputs="):
        AutoSubnet(model)
    with raises(model, InputError, "pass example_inputs="):
        autosubnet.remove_zeros(model)


def test_no_example_inputs_and_every_guess_fails() -> None:
    class Picky(Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("never happy")

    model = Picky()
    with raises(model, InputError, "no example inputs could be guessed", "Linear(4)", "never happy"):
        AutoSubnet(model)


def test_something_that_is_no_module() -> None:
    with raises(None, InputError, "model is a function", "torch.nn.Module"):
        AutoSubnet(lambda x: x)
    with raises(None, InputError, "model is a function", "torch.nn.Module"):
        autosubnet.remove_zeros(lambda x: x)


def test_a_required_input_that_does_not_exist() -> None:
    model = Linear()
    with raises(model, InputError, "required input 'image' is none of the model's: x"):
        AutoSubnet(model, X, required_inputs=["image"])


# ---------------------------------------------------------------- groups


def test_a_group_that_does_not_exist() -> None:
    model, inputs = resnet()
    oto = AutoSubnet(model, inputs)
    for ask in (lambda: oto.is_valid(["body.7"]), lambda: oto.explain("body.7")):
        with raises(model, GroupError, "there is no group 'body.7'", "the groups are body.0, body.0.shortcut, body.1"):
            ask()


def test_a_group_of_another_model() -> None:
    model, inputs = resnet()
    foreign = AutoSubnet(*demo()).groups[0]
    with raises(model, GroupError, "there is no group 'conv2'"):
        AutoSubnet(model, inputs).is_valid([foreign])


def test_a_group_that_does_not_exist_where_there_are_none() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with raises(model, GroupError, "there is no group '0'; the groups are none"):
        AutoSubnet(model, X).is_valid(["0"])


def test_keeping_what_does_not_exist() -> None:
    model, inputs = resnet()
    with raises(model, GroupError, "keep='body.9.*' matches no parameter and no module with parameters"):
        AutoSubnet(model, inputs, keep=["body.0", "body.9.*"])


def test_keep_given_as_one_string() -> None:
    model, inputs = resnet()
    with raises(model, GroupError, "keep"):
        AutoSubnet(model, inputs, keep="head")


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_a_budget_that_cannot_be_met_names_the_nearest_that_can(share: float) -> None:
    model, inputs = demo()
    oto = AutoSubnet(model, inputs)
    with raises(model, BudgetError, "of 6 groups are to be removed", "only 4 were found", "at most 0.66"):
        oto.h2spg(lr=0.1, total_steps=8, target_group_sparsity=share)


@pytest.mark.parametrize("share", [-0.5, 1.01])
def test_a_budget_out_of_range(share: float) -> None:
    model, inputs = demo()
    oto = AutoSubnet(model, inputs)
    with raises(model, InputError, "target_group_sparsity", "[0, 1]"):
        oto.h2spg(lr=0.1, total_steps=8, target_group_sparsity=share)
    with raises(model, InputError, "target_group_sparsity", "[0, 1]"):
        oto.random_set_zero_groups(share)


OPTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no schedule": ({}, ("phases are not known", "pass total_steps")),
    "too short": ({"total_steps": 4, "warmup_steps": 3, "projection_steps": 3}, ("do not fit", "total_steps=4")),
    "no steps": ({"total_steps": 0}, ("total_steps is 0", "at least 1")),
    "another variant": ({"total_steps": 8, "variant": "lion"}, ("lion", "sgd", "adamw")),
    "momentum out of range": ({"total_steps": 8, "score_momentum": 1.0}, ("score_momentum", "[0, 1)")),
    "an unknown option": ({"total_steps": 8, "betas": (0.9, 0.9)}, ("betas", "sgd")),
}


@pytest.mark.parametrize(("options", "words"), OPTIONS.values(), ids=OPTIONS)
def test_options_that_do_not_fit(options: dict[str, Any], words: tuple[str, ...]) -> None:
    model, inputs = demo()
    oto = AutoSubnet(model, inputs)
    with raises(model, InputError, *words):
        oto.h2spg(lr=0.1, **options)


# ---------------------------------------------------------------- weights that are no numbers


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_cannot_be_constructed(value: float) -> None:
    model, inputs = resnet()
    oto = AutoSubnet(model, inputs)
    model.body[1].second[0].weight.data[0, 0, 0, 0] = value
    words = ("parameter 'body.1.second.0.weight' holds NaN or infinite values", "restore it")
    with raises(model, NonFiniteError, *words):
        oto.construct_subnet()
    with raises(model, NonFiniteError, *words):
        oto.construct_subnet(verify=False)
    with raises(model, NonFiniteError, *words):
        autosubnet.remove_zeros(model, inputs)


def test_a_model_with_weights_that_are_no_numbers_can_still_be_analysed() -> None:
    model, inputs = resnet()
    expected = AutoSubnet(model, inputs).groups
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    assert AutoSubnet(model, inputs).groups == expected


def test_a_copy_to_train_that_is_none() -> None:
    oto = AutoSubnet(*resnet())
    with pytest.raises(GroupError, match="which is no parameter of the model"):
        oto.h2spg(lr=0.1, total_steps=8, model=nn.Linear(2, 2))


@pytest.mark.parametrize(("spoil", "word"), [("weight", "weight"), ("gradient", "gradient")])
def test_training_on_what_is_no_number_stops(spoil: str, word: str) -> None:
    model, inputs = resnet()
    oto = AutoSubnet(model, inputs)
    optimizer = oto.h2spg(lr=0.1, total_steps=8)
    model(*inputs).square().sum().backward()
    weight = model.body[1].second[0].weight
    (weight.data if spoil == "weight" else weight.grad)[0] = float("nan")
    with raises(model, NonFiniteError, word, "body.1.second.0.weight"):
        optimizer.step()


# ---------------------------------------------------------------- states


def test_a_state_dict_of_another_partition() -> None:
    model, inputs = demo()
    optimizer = AutoSubnet(model, inputs).h2spg(lr=0.1, total_steps=8)
    state = AutoSubnet(*resnet()).h2spg(lr=0.1, total_steps=8).state_dict()
    with raises(model, StateError):
        optimizer.load_state_dict(state)
    kept = AutoSubnet(model, inputs, keep=["conv2"]).h2spg(lr=0.1, total_steps=8).state_dict()
    with raises(model, StateError):
        optimizer.load_state_dict(kept)


def test_a_state_dict_of_a_plain_optimizer() -> None:
    model, inputs = demo()
    optimizer = AutoSubnet(model, inputs).h2spg(lr=0.1, total_steps=8)
    with raises(model, StateError):
        optimizer.load_state_dict(torch.optim.SGD(model.parameters(), lr=0.1).state_dict())


def test_carrying_the_optimizer_of_another_model() -> None:
    model, inputs = demo()
    other, others = resnet()
    oto = AutoSubnet(model, inputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    subnet = AutoSubnet(other, others).construct_subnet()
    with raises(model, StateError, "is not in the model"):
        oto.carry_optimizer(optimizer, subnet)


def test_carrying_another_kind_of_optimizer() -> None:
    model, inputs = demo()
    oto = AutoSubnet(model, inputs)
    optimizer = torch.optim.Adagrad(model.parameters())
    with raises(model, InputError, "Adagrad", "H2SPG, SGD, Adam or AdamW"):
        oto.carry_optimizer(optimizer, oto.construct_subnet())


def test_carrying_to_something_that_is_no_subnet() -> None:
    model, inputs = demo()
    oto = AutoSubnet(model, inputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with raises(model, InputError, "construct_subnet"):
        oto.carry_optimizer(optimizer, copy.deepcopy(model))


def test_a_parameter_that_was_taken_out_of_the_model() -> None:
    model, inputs = demo()
    oto = AutoSubnet(model, inputs)
    optimizer = oto.h2spg(lr=0.1, total_steps=8)
    model(*inputs).square().sum().backward()
    del model.conv2.conv.weight
    with pytest.raises(StateError, match=r"parameter 'conv2\.conv\.weight' is gone from the model"):
        optimizer.step()


def test_a_model_without_values_has_groups_but_no_subnet() -> None:
    names = [group.name for group in AutoSubnet(Linear(), torch.randn(2, 4)).groups]
    with torch.device("meta"):
        model = Linear()
    oto = AutoSubnet(model, torch.empty(2, 4, device="meta"))
    assert [group.name for group in oto.groups] == names
    with pytest.raises(InputError, match="is on the meta device, without values; load them"):
        oto.construct_subnet()
