"""Tensors and modules with several names or uses, buffers of all kinds, and memory written in place."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autosubnet
from subnet.checks import example, left, report_of, same, settled, shrink, zero

X = example(5, 6)


class Branches(nn.Module):
    """Three linear layers side by side; subclasses tie, share and add to them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + F.gelu(self.b(x)) + self.c(x)


class Tied(Branches):
    def __init__(self) -> None:
        super().__init__()
        self.b.weight = self.a.weight


def test_tied_weights_stay_tied() -> None:
    subnet = shrink(settled(Tied(), X), (X,), "c")
    assert subnet.get_parameter("a.weight") is subnet.get_parameter("b.weight")
    assert len(list(subnet.parameters())) == 3
    assert set(subnet.state_dict()) == {"a.weight", "a.bias", "b.weight", "b.bias"}


def test_a_tied_weight_that_loses_one_use_keeps_the_other() -> None:
    class Scaled(Tied):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(6))

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.scale * self.b(x) + self.c(x)

    subnet = shrink(settled(Scaled(), X), (X,), "scale", "c")
    assert left(subnet) == {"a"}
    subnet = shrink(settled(Scaled(), X), (X,), "c")
    assert subnet.get_parameter("a.weight") is subnet.get_parameter("b.weight")


def test_an_embedding_tied_to_the_head() -> None:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mix, self.gate = nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.head = nn.Linear(6, 9, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, ids: Tensor) -> Tensor:
            x = self.embed(ids)
            return self.head(x + self.mix(x) + self.gate(x))

    ids = torch.arange(12).view(3, 4) % 9
    subnet = shrink(settled(Language(), ids), (ids,), "gate")
    assert subnet.get_parameter("embed.weight") is subnet.get_parameter("head.weight")
    assert report_of(subnet).num_params == (54 + 2 * 42, 54 + 42)


def test_a_shared_module_stays_one() -> None:
    class Shared(Branches):
        def forward(self, x: Tensor) -> Tensor:
            return self.a(self.a(x)) + self.b(x) + self.c(self.a(x))

    subnet = shrink(settled(Shared(), X), (X,), "b")
    calls = [node for node in subnet.graph.nodes if node.target == "a"]
    assert len(calls) == 3
    assert left(subnet) == {"a", "c"}


def test_a_shared_module_that_is_cut_in_one_use_only_is_not_cut() -> None:
    """One convolution reads two concats; the zero block is in one of them."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(6, 4) for _ in range(3))
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            a, b, c = self.a(x), self.b(x), self.c(x)
            return self.head(torch.cat([a, b], 1)) + self.head(torch.cat([b, c], 1)).tanh()

    subnet = shrink(settled(Shared(), X), (X,), "a")
    assert subnet.get_parameter("head.weight").shape == (3, 8)
    assert left(subnet) == {"b", "c", "head"}


def test_one_module_under_two_names() -> None:
    class Aliased(Branches):
        def __init__(self) -> None:
            super().__init__()
            self.again = self.a

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + F.gelu(self.again(x)) + self.c(x)

    model = settled(Aliased(), X)
    del model.b
    subnet = shrink(model, (X,), "c")
    assert left(subnet) == {"a"}


@pytest.mark.parametrize("persistent", [True, False])
def test_buffers_stay_as_persistent_as_they_were(persistent: bool) -> None:
    class Buffered(Branches):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.linspace(0, 1, 6, dtype=torch.float64), persistent=persistent)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) * self.table + self.b(x)

    subnet = shrink(settled(Buffered(), X), (X,), "b")
    assert ("table" in subnet.state_dict()) is persistent
    assert torch.equal(subnet.get_buffer("table"), torch.linspace(0, 1, 6, dtype=torch.float64))
    assert subnet.float().get_buffer("table").dtype == torch.float32


def test_a_buffer_that_only_the_dead_branch_read_goes() -> None:
    class Buffered(Branches):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.ones(6, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.b(x) * self.table

    subnet = shrink(settled(Buffered(), X), (X,), "b")
    assert dict(subnet.named_buffers()) == {}


def test_a_plain_tensor_attribute_is_taken_along() -> None:
    class Constant(Branches):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.linspace(1, 2, 6, dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) * self.table + self.b(x)

    model = settled(Constant(), X)
    subnet = shrink(model, (X,), "b")
    assert set(subnet.state_dict()) == {"a.weight", "a.bias"}
    expected = model(X)
    model.table.zero_()
    assert torch.allclose(subnet(X), expected), "the subnet reads the model's tensor"


def test_bare_parameters_are_used_and_cut_by_name() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.w2 = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(4, 6))
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.w1) * self.scale + x @ self.w2.t()

    subnet = shrink(settled(Bare(), X), (X,), "w1")
    assert set(dict(subnet.named_parameters())) == {"w2"}


def test_frozen_parameters_stay_frozen() -> None:
    model = settled(Branches(), X)
    model.a.weight.requires_grad_(False)
    subnet = shrink(model, (X,), "c")
    assert {n: p.requires_grad for n, p in subnet.named_parameters()} == {
        "a.weight": False,
        "a.bias": True,
        "b.weight": True,
        "b.bias": True,
    }


def test_a_frozen_zero_branch_goes_too() -> None:
    model = settled(Branches(), X)
    model.c.requires_grad_(False)
    assert left(shrink(model, (X,), "c")) == {"a", "b"}


# ---------------------------------------------------------------- memory written in place


class Written(Branches):
    def __init__(self, body: str) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        match self.body:
            case "a += 1":
                a += 1.0
                return a + b
            case "a[:, 0] = 0":
                a[:, 0] = 0.0
                return a + b
            case "a[:, :2] = b[:, :2]":
                a[:, :2] = b[:, :2]
                return a + self.c(x)
            case "b[:, 0] = 1":
                b[:, 0] = 1.0
                return a + b
            case "view":
                b.view(-1)[0] += 2.0
                return a + b
            case "fill a zero":
                b.fill_(3.0)
                return a + b
            case "old name":
                kept = b
                b += x
                return a + kept
            case "relu of a slice":
                a[:, :3].relu_()
                return a + b
            case "scratch":
                y = torch.zeros_like(a)
                y[:, 1:4] = a[:, 1:4]
                return y + b
            case "copy_":
                y = torch.empty_like(a)
                y.copy_(b)
                return y + a
        raise ValueError(self.body)


BODIES = [
    *("a += 1", "a[:, 0] = 0", "a[:, :2] = b[:, :2]", "b[:, 0] = 1", "view", "fill a zero", "old name"),
    *("relu of a slice", "scratch", "copy_"),
]


@pytest.mark.parametrize("gone", ["a", "b"])
@pytest.mark.parametrize("body", BODIES)
def test_memory_written_in_place(body: str, gone: str) -> None:
    """Whatever is written where: the outputs are equal, also where the written tensor is a claimed zero."""
    model = settled(Written(body), X)
    zero(model, [gone])
    subnet = autosubnet.remove_zeros(model, X)
    for x in (X, example(2, 6, seed=3)):
        same(model, subnet, (x,))
        assert torch.equal(model.train()(x), model.eval()(x))
        assert torch.allclose(subnet.train()(x), model(x), rtol=0, atol=1e-12)
        subnet.eval()


def test_inputs_are_not_written() -> None:
    class Writes(Branches):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.a(x) + self.b(x), inplace=True)

    model = settled(Writes(), X)
    before = X.clone()
    shrink(model, (X,), "b")
    assert torch.equal(X, before)


# ---------------------------------------------------------------- independence


def test_training_the_subnet_leaves_the_model_alone() -> None:
    model = settled(Branches(), X)
    subnet = shrink(model, (X,), "c")
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(subnet.parameters(), lr=0.1)
    subnet.train()(X).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_training_the_model_leaves_the_subnet_alone() -> None:
    model = settled(Branches(), X)
    subnet = shrink(model, (X,), "c")
    expected = subnet(X)
    zero(model, ["*"])
    assert torch.equal(subnet(X), expected)


def test_a_model_with_gradients_gives_a_subnet_without() -> None:
    model = settled(Branches(), X)
    model(X).sum().backward()
    zero(model, ["c"])
    subnet = autosubnet.remove_zeros(model, X)
    assert all(p.grad is None for p in subnet.parameters())
    assert all(p.grad is not None for p in model.parameters())


def test_the_random_state_is_left_alone() -> None:
    model = settled(Branches(), X)
    zero(model, ["c"])
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    autosubnet.remove_zeros(model, X)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_dtypes(dtype: torch.dtype) -> None:
    model = settled(Branches(), X).to(dtype)
    zero(model, ["c"])
    x = X.to(dtype)
    subnet = autosubnet.remove_zeros(model, x)
    assert left(subnet) == {"a", "b"}
    assert subnet(x).dtype == dtype
    assert torch.equal(subnet(x), model(x)), "only a term of a sum went"
    assert all(p.dtype == dtype for p in subnet.parameters())
    assert report_of(subnet).dtype == "float64"
