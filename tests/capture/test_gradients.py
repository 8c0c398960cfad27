"""Gradients through the captured graph are those of the model; what it cannot follow is refused, not dropped."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from autosubnet import AutoSubnet
from autosubnet.capture import MODES, Inputs, capture
from autosubnet.errors import CaptureError

from .capturing import Applied, images


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


def plain(m: Any, x: Tensor) -> Tensor:
    return m.norm(m.conv(x)).relu()


def in_place(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    view = y.flatten(2)
    y += 1
    return y * view.sum(-1)[..., None, None]


def detached(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    return y * y.detach().sigmoid()


def detached_straight_through(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    return y + (y.round() - y).detach()


def checkpointed(m: Any, x: Tensor) -> Tensor:
    return checkpoint(m.conv, x, use_reentrant=False).tanh()


def without_gradients_inside(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    with torch.no_grad():
        scale = m.conv(x).abs().mean()
    return y / scale


def written_without_gradients(write: Callable[[Any, Tensor], Any]) -> Callable[[Any, Tensor], Tensor]:
    """Memory changes, and its gradient goes on as if it had not."""

    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        view = y[:, :2]
        with torch.no_grad():
            write(m, y)
        return m.norm(y) * view.sum(1, keepdim=True)

    return body


def straight_through(m: Any, x: Tensor) -> Tensor:
    return StraightThrough.apply(m.conv(x)) * 2


def reversed_gradient(m: Any, x: Tensor) -> Tensor:
    return Reversed.apply(m.conv(x)).tanh()


def hooked(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    if y.requires_grad:
        y.register_hook(lambda gradient: gradient * 0.1)
    return y.tanh()


def frozen_part(m: Any, x: Tensor) -> Tensor:
    return m.frozen(m.conv(x))


FOLLOWED = [plain, in_place, detached, detached_straight_through, checkpointed, frozen_part]
FOLLOWED_OR_REFUSED = [without_gradients_inside, straight_through, reversed_gradient, hooked]


def make_model(body: Any) -> Applied:
    torch.manual_seed(0)
    frozen = nn.Conv2d(4, 4, 1).requires_grad_(False)
    return Applied(body, norm=nn.BatchNorm2d(4), frozen=frozen, activation=nn.LeakyReLU(inplace=True))


def gradients(module: nn.Module, model: nn.Module, mode: str) -> dict[str, Tensor | None]:
    """Return the gradients of ``model``'s parameters from a pass through ``module``."""
    model.train(mode == "train")
    module.training = mode == "train"
    model.zero_grad()
    torch.manual_seed(1)
    weights = torch.linspace(-1, 1, 36).reshape(6, 6)
    (module(images(4, seed=3)) * weights).sum().backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def assert_equal_gradients(model: nn.Module) -> None:
    trace = capture(model, Inputs.of(images()))
    for mode in MODES:
        expected, actual = gradients(model, model, mode), gradients(trace.module(mode), model, mode)
        for name, gradient in expected.items():
            if gradient is None:
                assert actual[name] is None, name
            else:
                torch.testing.assert_close(actual[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("body", FOLLOWED, ids=lambda body: body.__name__)
def test_gradients(body: Any) -> None:
    assert_equal_gradients(make_model(body))


@pytest.mark.parametrize(
    "write",
    [
        lambda m, y: y.clamp_(-0.5, 0.5),
        lambda m, y: y.copy_(y.round()),
        lambda m, y: y[:, 0].zero_(),
        lambda m, y: y.__setitem__((slice(None), 1), 2.0),
        lambda m, y: y.mul_(m.conv.weight.sum()),
        lambda m, y: torch.clamp(y, -0.1, 0.1, out=y),
        lambda m, y: F.relu(y, inplace=True),
        lambda m, y: m.activation(y),
        lambda m, y: y.detach().add_(1),
    ],
    ids=["clamp", "copy", "view", "setitem", "by a parameter", "out", "function", "module", "detached"],
)
def test_what_is_written_without_gradients_keeps_those_it_had(write: Any) -> None:
    assert_equal_gradients(make_model(written_without_gradients(write)))


def test_a_module_that_is_frozen_while_it_runs_is_refused() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        m.conv.requires_grad_(False)
        y = m.conv(x)
        m.conv.requires_grad_(True)
        return m.norm(y)

    model = make_model(body)
    with pytest.raises(CaptureError, match=r"requires_grad of tensor 'conv\.weight' is changed at"):
        capture(model, Inputs.of(images()))
    assert all(parameter.requires_grad for parameter in model.conv.parameters())


@pytest.mark.parametrize("body", FOLLOWED_OR_REFUSED, ids=lambda body: body.__name__)
def test_gradients_of_the_users_own_are_followed_or_refused(body: Any) -> None:
    try:
        assert_equal_gradients(make_model(body))
    except CaptureError as error:
        assert __file__ in str(error)  # noqa: PT017  # refused, naming the place


class Block(nn.Module):
    """Two layers side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + self.b(x)


def doubled(module: nn.Module, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(2 * each for each in inputs)


def hooked() -> Applied:
    model = make_model(lambda m, x: m.block(y := m.conv(x)) + m.other(y))
    model.block, model.other = Block(), nn.Conv2d(4, 4, 1)
    return model


@pytest.mark.parametrize("part", ["block", "other"])
def test_a_module_keeps_the_hooks_on_its_gradients(part: str) -> None:
    model = hooked()
    model.get_submodule(part).register_full_backward_hook(doubled)
    assert_equal_gradients(model)


def test_a_block_with_hooks_on_its_gradients_is_one_vertex() -> None:
    model = hooked()
    model.block.register_full_backward_pre_hook(lambda module, outputs: outputs)
    oto = AutoSubnet(model, images())
    assert [group.name for group in oto.groups] == ["other"]
    assert [each.reason for each in oto.refused] == [
        "'block' (in module 'block'): the module is kept as it is, since it has hooks on its gradients, which no graph "
        "of what is inside can hold"
    ]


def test_hooks_on_the_models_own_gradients_are_refused() -> None:
    model = hooked()
    model.register_full_backward_hook(doubled)
    with pytest.raises(CaptureError, match=r"the model has hooks on its gradients, .*; take them off for the capture"):
        capture(model, Inputs.of(images()))
