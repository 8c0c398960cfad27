"""Architecture gradients against exact autograd through one unrolled step."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from autosubnet.errors import InputError, NonFiniteError
from autosubnet.optim import first_order_gradient, second_order_gradient
from autosubnet.supernets import create

Batch = tuple[Tensor, Tensor]
ARCHITECTURE = ("mix", "gate")
GAMMA = 0.1


class Supernet(nn.Module):
    """A mixture of paths as in Eq. 1, with BatchNorm, a frozen path, and a weight that nothing reads."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(5, 8)
        self.norm = nn.BatchNorm1d(8)
        self.paths = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.paths[2].requires_grad_(False)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(8, 3)
        self.mix = nn.Parameter(torch.tensor([0.8, -0.5, 0.3]))
        self.gate = nn.Parameter(torch.ones(1))
        self.unused = nn.Parameter(torch.ones(1))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.norm(self.stem(x)))
        paths = zip(self.mix, self.paths, strict=True)
        return self.head(self.drop(sum(a * torch.tanh(path(x)) for a, path in paths) + self.gate * x))


def loss(network: Callable[..., Tensor], batch: Batch) -> Tensor:
    return cross_entropy(network(batch[0]), batch[1])


def batches() -> tuple[Batch, Batch]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 16, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 16), generator=generator)
    return (rows[0], labels[0]), (rows[1], labels[1])


def network_of(model: nn.Module, weights: dict[str, Tensor]) -> Callable[..., Tensor]:
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    return lambda x: functional_call(model, {**buffers, **weights}, (x,))


def weights_of(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    names = architecture_of(model)
    return {n: named[n] for n in names}, {n: p for n, p in named.items() if n not in names}


def architecture_of(model: nn.Module) -> Sequence[str]:
    return ARCHITECTURE if isinstance(model, Supernet) else ("architecture.normal", "architecture.reduce")


def unrolled(model: nn.Module, train: Batch, valid: Batch, gamma: float) -> Tensor:
    """The exact gradient through w' = w - gamma grad L_train, by autograd."""
    a, w = weights_of(model)
    value = loss(network_of(model, {**w, **a}), train)
    descent = torch.autograd.grad(value, list(w.values()), create_graph=True, materialize_grads=True)
    ahead = {name: p - gamma * g for (name, p), g in zip(w.items(), descent, strict=True)}
    return flat(torch.autograd.grad(loss(network_of(model, {**ahead, **a}), valid), list(a.values())))


def by_difference(
    model: nn.Module, train: Batch, valid: Batch, gamma: float, along: str = "valid", factor: float | None = None
) -> Tensor:
    """Eq. 13 put right; ``along="train"`` and ``factor=1`` are as the paper prints it."""
    a, w = weights_of(model)
    grad = torch.autograd.grad
    descent = grad(loss(network_of(model, {**w, **a}), train), list(w.values()), materialize_grads=True)
    ahead = {name: (p - gamma * g).detach().requires_grad_() for (name, p), g in zip(w.items(), descent, strict=True)}
    value = loss(network_of(model, {**ahead, **a}), valid)
    first = flat(grad(value, list(a.values()), retain_graph=True))
    v = grad(value, list(ahead.values()), materialize_grads=True) if along == "valid" else descent
    epsilon = 0.01 / float(flat(v).norm())
    sides = []
    for sign in (1, -1):
        shifted = {name: (p + sign * epsilon * d).detach() for (name, p), d in zip(w.items(), v, strict=True)}
        sides.append(flat(grad(loss(network_of(model, {**shifted, **a}), train), list(a.values()))))
    return first - (gamma if factor is None else factor) * (sides[0] - sides[1]) / (2 * epsilon)


def flat(tensors: Any) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gamma", [0.025, GAMMA, 0.0])
def test_second_order_is_that_of_autograd(training: bool, gamma: float) -> None:
    model = Supernet().train(training)
    train, valid = batches()
    exact = unrolled(model, train, valid, gamma)
    found = second_order_gradient(model, loss, ARCHITECTURE, train, valid, gamma=gamma)
    assert list(found) == list(ARCHITECTURE)
    assert relative(flat(found.values()), exact) <= 1e-9


def test_cells_of_darts_where_a_difference_quotient_is_no_derivative() -> None:
    """Behind every operation there is a ReLU or a maximum, which changes sides for some entry within the step."""
    torch.manual_seed(0)
    model = create("darts", architecture_weights=True, channels=2, cells=3).double()
    images = torch.randn(2, 8, 3, 8, 8, dtype=torch.float64)
    labels = torch.randint(0, 10, (2, 8))
    train, valid = (images[0], labels[0]), (images[1], labels[1])
    exact = unrolled(model, train, valid, 0.025)
    found = second_order_gradient(model, loss, architecture_of(model), train, valid, gamma=0.025)
    first = flat(first_order_gradient(model, loss, architecture_of(model), valid).values())
    quotient = relative(by_difference(model, train, valid, 0.025), exact)
    print(f"difference quotient: {quotient:.1e}, first order: {relative(first, exact):.1e}")
    assert relative(flat(found.values()), exact) <= 1e-9
    assert quotient > 1e-2


def test_what_is_printed_is_not() -> None:
    model, (train, valid) = Supernet(), batches()
    exact = unrolled(model, train, valid, GAMMA)
    first = flat(first_order_gradient(model, loss, ARCHITECTURE, valid).values())
    errors = {
        "as printed": relative(by_difference(model, train, valid, GAMMA, along="train", factor=1), exact),
        "without gamma": relative(by_difference(model, train, valid, GAMMA, factor=1), exact),
        "first order": relative(first, exact),
    }
    put_right = relative(by_difference(model, train, valid, GAMMA), exact)
    print({name: f"{error:.1e}" for name, error in errors.items()}, f"put right: {put_right:.1e}")
    assert put_right <= 1e-5
    assert all(error > 1e-2 for error in errors.values())


def test_first_order_is_the_plain_gradient() -> None:
    model, (_, valid) = Supernet(), batches()
    found = first_order_gradient(model, loss, ARCHITECTURE, valid)
    model.zero_grad()
    loss(model, valid).backward()
    assert torch.equal(found["mix"], model.mix.grad)
    assert torch.equal(found["gate"], model.gate.grad)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("order", [1, 2])
def test_nothing_of_the_model_changes(order: int, training: bool) -> None:
    model, (train, valid) = Supernet(dropout=0.5).train(training), batches()
    model.mix.grad = torch.full((3,), 7.0).double()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with torch.no_grad():
        if order == 1:
            first_order_gradient(model, loss, ARCHITECTURE, valid)
        else:
            second_order_gradient(model, loss, ARCHITECTURE, train, valid, gamma=GAMMA)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert model.mix.grad.tolist() == [7.0, 7.0, 7.0]
    assert all(p.grad is None for name, p in model.named_parameters() if name != "mix")
    assert model.training is training


def test_dropout_draws_one_mask_for_both_derivatives() -> None:
    model, (train, valid) = Supernet(dropout=0.5), batches()
    torch.manual_seed(3)
    exact = unrolled(model, train, valid, GAMMA)
    after = torch.get_rng_state()
    torch.manual_seed(3)
    found = second_order_gradient(model, loss, ARCHITECTURE, train, valid, gamma=GAMMA)
    assert relative(flat(found.values()), exact) <= 1e-9
    assert torch.equal(torch.get_rng_state(), after)


def test_a_validation_loss_that_ignores_the_weights() -> None:
    model, (train, valid) = Supernet(), batches()

    def only_mix(network: Callable[..., Tensor], batch: Batch) -> Tensor:
        return loss(network, batch) if batch is train else 0 * network(batch[0]).sum() + 2 * model.mix.sum()

    found = second_order_gradient(model, only_mix, ARCHITECTURE, train, valid, gamma=GAMMA)
    assert found["mix"].tolist() == [2.0, 2.0, 2.0]
    assert found["gate"].tolist() == [0.0]


def test_a_training_loss_that_is_linear_in_the_weights() -> None:
    model, (train, valid) = Supernet(), batches()

    def linear(network: Callable[..., Tensor], batch: Batch) -> Tensor:
        return loss(network, batch) if batch is valid else 0.1 * network(batch[0]).new_ones(()) * model.head.bias.sum()

    found = second_order_gradient(model, linear, ARCHITECTURE, train, valid, gamma=GAMMA)
    first = first_order_gradient(model, loss, ARCHITECTURE, valid)
    assert all(torch.equal(found[name], first[name]) for name in ARCHITECTURE)


def test_a_model_of_architecture_weights_alone() -> None:
    model, (train, valid) = Supernet(), batches()
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    second = second_order_gradient(model, loss, names, train, valid, gamma=GAMMA)
    first = first_order_gradient(model, loss, names, valid)
    assert all(torch.equal(second[name], first[name]) for name in names)


def test_weights_that_two_cells_share() -> None:
    class Cells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.cells = nn.ModuleList(nn.ParameterDict({"mix": torch.randn(2).double()}) for _ in range(2))
            self.cells[1]["mix"] = self.cells[0]["mix"]
            self.layers = nn.ModuleList(nn.Linear(5, 5) for _ in range(4)).double()

        def forward(self, x: Tensor) -> Tensor:
            for i, cell in enumerate(self.cells):
                x = sum(a * torch.tanh(self.layers[2 * i + k](x)) for k, a in enumerate(cell["mix"]))
            return x

    model, (train, valid) = Cells(), batches()
    found = second_order_gradient(model, loss, ["cells.0.mix"], train, valid, gamma=GAMMA)
    named = dict(model.named_parameters())
    a = {"cells.0.mix": named.pop("cells.0.mix")}
    value = loss(network_of(model, {**named, **a}), train)
    descent = torch.autograd.grad(value, list(named.values()), create_graph=True)
    ahead = {name: p - GAMMA * g for (name, p), g in zip(named.items(), descent, strict=True)}
    exact = torch.autograd.grad(loss(network_of(model, {**ahead, **a}), valid), list(a.values()))
    assert relative(flat(found.values()), flat(exact)) <= 1e-9


class Attention(nn.Module):
    """One whose kernel has no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(5, 3)
        self.mix = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.qkv(x)[None, None]
        return scaled_dot_product_attention(self.mix * y, y, y)[0, 0]


def test_a_model_that_cannot_be_differentiated_twice() -> None:
    train, valid = ((rows.float(), labels) for rows, labels in batches())
    with pytest.raises(InputError, match=r"cannot be differentiated twice \(derivative for .*; take the first order"):
        second_order_gradient(Attention(), loss, ["mix"], train, valid, gamma=GAMMA)


def test_a_search_lowers_the_validation_loss() -> None:
    model, (train, valid) = Supernet(), batches()
    before = float(loss(model, valid).detach())
    for _ in range(20):
        gradient = second_order_gradient(model, loss, ARCHITECTURE, train, valid, gamma=GAMMA)
        with torch.no_grad():
            for name, g in gradient.items():
                model.get_parameter(name).sub_(0.5 * g)
    assert float(loss(model, valid).detach()) < before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"architecture": []}, InputError, "architecture is empty"),
        ({"architecture": ["nobody"]}, InputError, "'nobody', which is no trainable parameter"),
        ({"architecture": ["paths.2.weight"]}, InputError, "is no trainable parameter"),
        ({"gamma": -1.0}, InputError, "gamma is -1.0"),
        ({"loss": lambda network, batch: network(batch[0])}, InputError, "must be a scalar"),
        ({"loss": lambda network, batch: torch.zeros(())}, InputError, "must be a scalar with a gradient"),
        ({"loss": lambda network, batch: network(batch[0]).sum() / 0}, NonFiniteError, "has norm nan; lower gamma"),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    train, valid = batches()
    arguments = {"loss": loss, "architecture": ARCHITECTURE, "gamma": GAMMA} | options
    with pytest.raises(error, match=message):
        second_order_gradient(Supernet(), train_batch=train, valid_batch=valid, **arguments)
