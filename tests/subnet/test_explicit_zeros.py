"""Where a zero is still read it stays, as a zero that follows the live sizes; what computed it goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autosubnet
from autosubnet.errors import AutoSubnetWarning
from subnet.checks import example, left, operations, report_of, same, settled, shrink, zero

X = example(3, 3, 8, 8)
SIZES = (example(2, 3, 16, 12), example(1, 3, 8, 16))


class Product(nn.Module):
    """A product that a zero factor makes zero, read by a BatchNorm that makes something of it."""

    def __init__(self, between: Callable[[Tensor], Tensor] = Tensor.relu, width: int = 4) -> None:
        super().__init__()
        self.live = nn.Conv2d(3, 4, 3, padding=1)
        self.value, self.gate = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(4 + width, 2)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        product = self.value(x) * self.gate(x)
        live = F.gelu(self.live(x)).mean((2, 3))
        dead = self.norm(self.between(product)).amax((2, 3))
        return self.head(torch.cat([live, dead], 1))


@pytest.mark.parametrize("gone", ["value", "gate"])
def test_a_zero_product_read_by_batch_norm_stays_and_both_factors_go(gone: str) -> None:
    subnet = shrink(settled(Product(), X), (X,), gone, sizes=SIZES)
    assert {"value", "gate"} & left(subnet) == set()
    assert {"norm", "live", "head"} <= left(subnet)
    assert "new_zeros" in operations(subnet)


BETWEEN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.ReLU(),
    "max pool": nn.MaxPool2d(2),
    "max pool with ceiling": nn.MaxPool2d(3, stride=2, ceil_mode=True),
    "padded max pool": nn.MaxPool2d(3, stride=2, padding=1),
    "dilated max pool": nn.MaxPool2d(2, stride=1, dilation=2),
    "average pool": nn.AvgPool2d(2),
    "average pool of oblong windows": nn.AvgPool2d((2, 3), stride=(1, 2), padding=(1, 0)),
    "functional pool": lambda y: F.max_pool2d(y, 3, 2),
    "adaptive pool": nn.AdaptiveAvgPool2d(2),
    "functional adaptive pool": lambda y: F.adaptive_avg_pool2d(y, (3, 1)),
    "upsample": nn.Upsample(scale_factor=2, mode="nearest"),
    "resize to a live size": lambda y: F.interpolate(y, size=(y.shape[2] * 2, y.shape[3] + 1)),
    "pad": nn.ZeroPad2d((1, 0, 2, 0)),
    "functional pad": lambda y: F.pad(y, (1, 1, 1, 1)),
    "permute": lambda y: y.permute(0, 1, 3, 2),
    "transpose": lambda y: y.transpose(2, 3),
    "flatten and back": lambda y: y.flatten(2).unflatten(2, (1, y.shape[2] * y.shape[3])),
    "view": lambda y: y.view(y.shape[0], 4, -1, 2),
    "squeeze and unsqueeze": lambda y: y.mean((2, 3)).unsqueeze(-1).unsqueeze(-1),
    "slice": lambda y: y[:, :, ::2, 1:],
    "mean": lambda y: y.mean(3, keepdim=True),
    "sum": lambda y: y.sum((2, 3), keepdim=True),
    "scale": lambda y: 3.0 * y / 2,
    "negation": lambda y: -y,
    "power": lambda y: y**2,
    "clone": lambda y: y.clone().contiguous(),
    "roll": lambda y: torch.roll(y, 1, 2),
    "flip": lambda y: y.flip(2),
    "repeat": lambda y: y.repeat(1, 1, 2, 1),
    "expand": lambda y: y.mean((2, 3), keepdim=True).expand(-1, -1, 5, y.shape[3]),
    "stack": lambda y: torch.stack([y, y]).sum(0),
    "square": lambda y: y.square().tanh(),
    "einsum": lambda y: torch.einsum("bchw->bcwh", y),
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_a_zero_follows_the_live_sizes_through_every_operator(between: Callable[[Tensor], Tensor]) -> None:
    subnet = shrink(settled(Product(between), X), (X,), "gate", sizes=SIZES)
    assert {"value", "gate"} & left(subnet) == set()


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: nn.Conv2d(4, 4, 3, padding=1, bias=False),
    "convolution with stride": lambda: nn.Conv2d(4, 4, 3, stride=2, padding=1, bias=False),
    "dilated convolution": lambda: nn.Conv2d(4, 4, 3, dilation=2, bias=False),
    "same padding": lambda: nn.Conv2d(4, 4, 3, padding="same", bias=False),
    "transposed convolution": lambda: nn.ConvTranspose2d(4, 4, 3, stride=2, output_padding=1, bias=False),
    "slope": lambda: nn.PReLU(4),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layers_without_bias_that_only_pass_a_zero_go_too(make: Callable[[], nn.Module]) -> None:
    """Their weights have no gradient while what they read is zero, and they multiply nothing else."""
    subnet = shrink(settled(Product(make()), X), (X,), "gate", sizes=SIZES, train=False)
    assert {"value", "gate", "between"} & left(subnet) == set()


def test_a_convolution_with_a_bias_still_speaks() -> None:
    subnet = shrink(settled(Product(nn.Conv2d(4, 4, 3, padding=1)), X), (X,), "gate", sizes=SIZES)
    assert {"value", "gate"} & left(subnet) == set()
    assert "between.bias" in dict(subnet.named_parameters())


def test_a_sigmoid_of_zero_is_a_half() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.live, self.gate = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.live(x) * torch.sigmoid(self.gate(x))

    model = settled(Gate(), X)
    subnet = shrink(model, (X,), "gate", sizes=SIZES)
    assert left(subnet) == {"live"}
    assert torch.allclose(subnet(X), model.live(X) / 2)


def test_a_zero_between_two_tensors_of_other_sizes() -> None:
    class Attention(nn.Module):
        """A zero value makes attention zero; zero queries give the mean of the values."""

        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(6, 6) for _ in range(4))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            found = F.scaled_dot_product_attention(self.query(x), self.key(y), self.value(y))
            return x + self.out(found)

    inputs = example(2, 5, 6), example(2, 7, 6, seed=2)
    longer = example(2, 9, 6, seed=3), example(2, 3, 6, seed=4)
    model = settled(Attention(), *inputs)
    zero(model, ["value"])
    subnet = autosubnet.remove_zeros(model, inputs)
    assert {"query", "key", "value"} & left(subnet) == set()
    same(model, subnet, inputs)
    same(model, subnet, longer)
    model = settled(Attention(), *inputs)
    zero(model, ["query"])
    subnet = autosubnet.remove_zeros(model, inputs)
    assert "value" in left(subnet)
    same(model, subnet, longer)


def test_a_matmul_of_zero_follows_both_sizes() -> None:
    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.live = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 6)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            weights = (self.a(x) @ self.b(y).transpose(-2, -1)).softmax(-1)
            return x + weights @ self.live(y)

    inputs = example(2, 5, 6), example(2, 7, 6, seed=2)
    model = settled(Scores(), *inputs)
    zero(model, ["a"])
    subnet = autosubnet.remove_zeros(model, inputs)
    assert {"a", "b"} & left(subnet) == set()
    same(model, subnet, inputs)
    same(model, subnet, (example(3, 4, 6), example(3, 2, 6, seed=5)))


class TwoHeads(nn.Module):
    """Two outputs, of which the second becomes constant."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.trunk, self.branch = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.first, self.second = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1, bias=bias)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = F.gelu(self.trunk(x))
        return {"first": self.first(x), "second": self.second(self.branch(x))}


@pytest.mark.parametrize("bias", [False, True], ids=["zero", "constant"])
def test_an_output_that_became_constant_is_kept_with_a_warning(bias: bool) -> None:
    model = settled(TwoHeads(bias), X)
    zero(model, ["branch"])
    with pytest.warns(AutoSubnetWarning, match=r"output '.*' .*constant"):
        subnet = autosubnet.remove_zeros(model, X)
    assert any("constant" in note for note in report_of(subnet).notes)
    assert "branch" not in left(subnet)
    for x in (X, *SIZES):
        assert set(subnet(x)) == {"first", "second"}
        same(model, subnet, (x,))


def test_a_zero_image_out_of_a_zero_network_still_has_the_right_shape() -> None:
    model = settled(TwoHeads(bias=False), X)
    zero(model, ["trunk", "first.bias"])
    zero(model, ["branch.bias"])
    with pytest.warns(AutoSubnetWarning):
        subnet = autosubnet.remove_zeros(model, X)
    assert sum(p.numel() for p in subnet.parameters()) == 0
    for x in (X, *SIZES):
        same(model, subnet, (x,))


def test_an_output_that_is_live_gives_no_warning() -> None:
    model = settled(TwoHeads(bias=True), X)
    zero(model, ["second.bias"])
    subnet = autosubnet.remove_zeros(model, X)  # a warning would be an error here
    assert report_of(subnet).notes == ()


def test_explicit_zeros_move_with_the_module() -> None:
    """A zero takes device and dtype from what is live; nothing is baked in."""
    model = settled(Product(), X)
    subnet = shrink(model, (X,), "gate")
    model, subnet = model.float(), subnet.float()
    assert subnet(X.float()).dtype == torch.float32
    same(model, subnet, (X.float(),), tolerance=1e-5)
    assert subnet.to("meta")(X.float().to("meta")).device.type == "meta"


def test_a_zero_never_keeps_dead_parameters_alive() -> None:
    class Chain(nn.Module):
        """The product's sizes could be read off ``value``, which nothing else needs."""

        def __init__(self) -> None:
            super().__init__()
            self.value, self.gate, self.live = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4)
            self.reader = nn.LayerNorm(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.live(x) + self.reader(self.value(x).relu() * self.gate(x))

    x = example(3, 5, 6)
    subnet = shrink(settled(Chain(), x), (x,), "gate", sizes=(example(2, 9, 6),))
    assert left(subnet) <= {"live", "reader"}


class Towers(nn.Module):
    """Images beside prompts, as CLIP has them: their numbers need not be the same."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.token = nn.Linear(3, 4), nn.Embedding(11, 4)
        self.q, self.k, self.v, self.o = (nn.Linear(4, 4) for _ in range(4))

    def text(self, ids: Tensor) -> Tensor:
        x = self.token(ids)
        attention = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2), -1)
        return (x + self.o(attention @ self.v(x))).mean(1)

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        logits = self.image(images) @ self.text(ids).t()
        return logits + torch.logsumexp(self.image(images) @ self.q(self.token(ids).mean(1)).t(), 1, keepdim=True)


def test_inputs_of_one_batch_size_in_the_example_alone() -> None:
    inputs = (example(4, 3), torch.arange(20).reshape(4, 5) % 11)
    model = settled(Towers(), *inputs)
    zero(model, ["q"])
    subnet = autosubnet.remove_zeros(model, inputs)
    assert "new_zeros" in operations(subnet)
    for images, prompts in ((4, 4), (4, 7), (7, 4), (1, 6)):
        same(model, subnet, (example(images, 3), torch.arange(prompts * 6).reshape(prompts, 6) % 11))


@pytest.mark.parametrize("dilation", [2, 3, 5])
def test_a_maximum_whose_windows_may_miss_the_image_is_not_zero(dilation: int) -> None:
    """Torch pads by at most half a kernel, which may be more than half of what a dilated one spans."""

    class Dilated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
            self.pool = nn.MaxPool2d(2, stride=1, padding=1, dilation=dilation)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x).mean((2, 3)) + self.pool(self.b(x)).sigmoid().mean((2, 3))

    model = settled(Dilated(), X)
    subnet = shrink(model, (X,), "b")
    assert left(subnet) == {"a"}
    for size in range(dilation - 1, 7):
        same(model, subnet, (example(2, 3, max(size, 1), 6),))


@pytest.mark.parametrize("gone", ["a", "b"])
def test_lerp_takes_two_of_one_dtype(gone: str) -> None:
    """Under autocast the layers give bfloat16, and a zero of the dtype that was captured would not do beside it."""

    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.lerp(self.a(x), self.b(x), 0.25)

    x = example(3, 4)
    model = settled(Between(), x)
    subnet = shrink(model, (x,), gone)
    assert operations(subnet) == ["b" if gone == "a" else "a", "mul"]
    model, subnet, x = model.float(), subnet.float(), x.float()
    with torch.autocast("cpu", torch.bfloat16):
        same(model, subnet, (x,), tolerance=torch.finfo(torch.bfloat16).eps)
