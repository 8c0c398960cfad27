"""Small networks of the kinds that people bring, each with a zero branch: everything promised, and the branch gone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import autosubnet
from subnet.checks import check, example, left, same, settled, shrink, untouched, zero


class UNet(nn.Module):
    """Two levels with skip connections by concat."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.bottom = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.norm, self.mix, self.out = nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(a))
        b = b + F.relu(self.bottom(b))
        return self.out(F.relu(self.mix(self.norm(torch.cat([a, self.up(b)], 1)))))


class Diffusion(nn.Module):
    """A residual block that a time embedding scales and shifts (adaptive norm)."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.norm = nn.Linear(5, 8), nn.GroupNorm(2, 4)
        self.stem, self.conv, self.skip = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Conv2d(4, 4, 1),
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        x = self.stem(x)
        scale, shift = self.time(t)[:, :, None, None].chunk(2, dim=1)
        y = self.norm(x) * (1 + scale) + shift
        return self.skip(x) + self.conv(F.silu(y))


class WaveNet(nn.Module):
    """Gated dilated convolutions in one dimension, with a sum of skips."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2, 4, 1)
        self.filters = nn.ModuleList(nn.Conv1d(4, 4, 2, dilation=2**i, padding=2**i) for i in range(3))
        self.gates = nn.ModuleList(nn.Conv1d(4, 4, 2, dilation=2**i, padding=2**i) for i in range(3))
        self.skips = nn.ModuleList(nn.Conv1d(4, 3, 1) for _ in range(3))
        self.back = nn.ModuleList(nn.Conv1d(4, 4, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        total: Any = 0
        for f, g, s, r in zip(self.filters, self.gates, self.skips, self.back, strict=True):
            y = (torch.tanh(f(x)) * torch.sigmoid(g(x)))[..., : x.shape[-1]]
            total = total + s(y)
            x = x + r(y)
        return total


class Experts(nn.Module):
    """A softmax router over three experts, all of them computed."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(6, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.router(x).softmax(-1)
        return x + sum(weights[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts))


class Mixture(nn.Module):
    """DARTS: a softmax over operations on one edge."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(3))
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 5, padding=2)
        self.c = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(3, 4, 1))
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.alpha.softmax(0)
        return self.head(sum(w * op(x) for w, op in zip(weights, (self.a, self.b, self.c), strict=True)))


class Scaled(nn.Module):
    """SparseNAS: one bare scalar a path."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(3))
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 5, padding=2), nn.Conv2d(3, 4, 1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.alpha[0] * self.a(x) + self.alpha[1] * self.b(x) + self.alpha[2] * self.c(x))


class SuperResolution(nn.Module):
    """Sub-pixel convolution beside bilinear upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        big = F.interpolate(self.b(x), scale_factor=2, mode="bilinear", align_corners=False)
        return F.pixel_shuffle(self.a(x), 2) + big


class Volume(nn.Module):
    """Three dimensions, instance norm, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv3d(2, 4, 3, padding=1), nn.Conv3d(2, 4, 1)
        self.norm, self.up = nn.InstanceNorm3d(4, affine=True), nn.ConvTranspose3d(4, 2, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.norm(self.a(x)) + self.b(x))


class Torchs(nn.Module):
    """torch's own encoder layer, with its fast path for inference."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True, norm_first=True)
        self.side = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.side(x)


class Decoder(nn.Module):
    """torch's decoder layer: a causal mask and a memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
        self.side = nn.Linear(6, 6)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.layer(x, memory, tgt_mask=mask) + self.side(x)


class Recurrent(nn.Module):
    """An LSTM in a residual branch beside a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.side, self.head = nn.LSTM(6, 6, batch_first=True), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y, (h, _) = self.rnn(x)
        return self.head(y + self.side(x)) + h[-1][:, None, :2]


class ByHand(nn.Module):
    """Attention as people write it: one projection, heads by view, a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out, self.side = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) * (c // 2) ** -0.5
        causal = torch.ones(n, n, dtype=torch.bool, device=x.device).tril()
        scores = scores.masked_fill(~causal, float("-inf"))
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, c)
        return x + self.out(y) + self.side(x)


class Einsum(nn.Module):
    """Bare weights in an einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.v, self.side = (
            nn.Parameter(torch.randn(6, 2, 4)),
            nn.Parameter(torch.randn(2, 4, 6)),
            nn.Linear(6, 6),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bnhd,hdc->bnc", torch.einsum("bnc,chd->bnhd", x, self.w), self.v) + self.side(x)


class Fourier(nn.Module):
    """A spectral layer beside a linear one."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.side = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(self.mix(x), dim=1), n=x.shape[1], dim=1) + self.side(x)


class Sampler(nn.Module):
    """A grid that depends on the input (spatial transformer)."""

    def __init__(self) -> None:
        super().__init__()
        self.theta, self.conv, self.side = nn.Linear(3, 6), nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.theta(x.mean((2, 3))).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return F.grid_sample(self.conv(x), grid, align_corners=False) + self.side(x)


class Checkpointed(nn.Module):
    """Activation checkpointing around a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.side = nn.Sequential(nn.Linear(6, 6), nn.GELU()), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.branch, x, use_reentrant=False) + self.side(x)


class Normed(nn.Module):
    """A parametrised weight beside a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        self.side = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.normed(x) + self.spectral(x) + self.side(x)


class Siamese(nn.Module):
    """One trunk for two inputs, compared."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 4), nn.Linear(8, 4)

    def embed(self, x: Tensor) -> Tensor:
        y = F.gelu(self.trunk(x))
        return self.a(y) + self.b(y)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cosine_similarity(self.embed(x), self.embed(y), dim=-1)[:, None] + (self.embed(x) - self.embed(y))


class Gathered(nn.Module):
    """Indices that the data decides: the two best tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.value, self.side = nn.Linear(6, 1), nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        best = self.score(x).squeeze(-1).topk(2, dim=1).indices
        picked = torch.gather(self.value(x), 1, best[..., None].expand(-1, -1, 4))
        return picked.sum(1, keepdim=True) + self.side(x)


class Windows(nn.Module):
    """Shifted windows: pad, roll, cut into windows, mix, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.side = nn.Linear(4, 4), nn.Linear(3, 4)
        self.inn = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        b, h, w, _ = x.shape
        y = torch.roll(self.inn(x), shifts=(-1, -1), dims=(1, 2))
        y = y.view(b, h // 2, 2, w // 2, 2, 4).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 4)
        y = self.mix(y).view(b, h // 2, w // 2, 2, 2, 4).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, 4)
        return torch.roll(y, shifts=(1, 1), dims=(1, 2)) + self.side(x)


class Split(nn.Module):
    """YOLO's C2f: a split whose halves go on, one of them through a chain, and a concat of all."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.out = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = list(self.stem(x).chunk(2, 1))
        y.append(F.silu(self.one(y[-1])))
        y.append(F.silu(self.two(y[-1])))
        return self.out(torch.cat(y, 1))


class Reparametrised(nn.Module):
    """RepVGG: three parallel branches with norms, and a weight computed from two others."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.Conv2d(3, 3, 1, bias=False)
        self.na, self.nb, self.ni = (nn.BatchNorm2d(3) for _ in range(3))
        self.u, self.v = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.randn(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.na(self.a(x)) + self.nb(self.b(x)) + self.ni(x))
        return F.conv2d(y, (self.u @ self.v)[:, :, None, None]) + y.mean(1, keepdim=True)


IMAGE, TOKENS, SIGNAL = example(2, 3, 8, 8), example(2, 5, 6), example(2, 2, 16)
ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...], tuple[str, ...], set[str]]] = {
    "U-Net without its bottom": (UNet, (IMAGE,), ("bottom",), {"bottom"}),
    "U-Net's up-convolution": (UNet, (IMAGE,), ("up",), {"down2", "bottom", "up"}),
    "diffusion without the branch": (Diffusion, (IMAGE, example(2, 5)), ("conv",), {"time", "norm", "conv"}),
    "diffusion without the time": (Diffusion, (IMAGE, example(2, 5)), ("skip",), {"skip"}),
    "WaveNet without a filter": (WaveNet, (SIGNAL,), ("filters.1", "skips.1", "back.1"), {"filters.1", "gates.1"}),
    "WaveNet without a skip": (WaveNet, (SIGNAL,), ("skips.0",), {"skips.0"}),
    "an expert": (Experts, (TOKENS,), ("experts.1",), {"experts.1.0", "experts.1.2"}),
    "two experts": (Experts, (TOKENS,), ("experts.0", "experts.2"), {"experts.0.0", "experts.2.2"}),
    "an operation of an edge": (Mixture, (IMAGE,), ("b",), {"b"}),
    "a pooling operation of an edge": (Mixture, (IMAGE,), ("c",), {"c.1"}),
    "super-resolution by bilinear": (SuperResolution, (IMAGE,), ("a",), {"a"}),
    "super-resolution by sub-pixels": (SuperResolution, (IMAGE,), ("b",), {"b"}),
    "a volume": (Volume, (example(2, 2, 4, 4, 4),), ("norm",), {"a", "norm"}),
    "torch's encoder layer": (Torchs, (TOKENS,), ("layer.self_attn",), {"layer.self_attn", "layer.norm1"}),
    "torch's encoder layer's MLP": (Torchs, (TOKENS,), ("layer.linear2",), {"layer.linear1", "layer.norm2"}),
    "torch's decoder layer": (
        Decoder,
        (TOKENS, example(2, 4, 6, seed=3)),
        ("layer.multihead_attn.out_proj",),
        {"layer.multihead_attn.out_proj"},
    ),
    "beside an LSTM": (Recurrent, (TOKENS,), ("side",), {"side"}),
    "attention by hand": (ByHand, (example(2, 5, 8),), ("out",), {"qkv", "out"}),
    "attention by hand, values": (ByHand, (example(2, 5, 8),), ("side",), {"side"}),
    "an einsum": (Einsum, (TOKENS,), ("side",), {"side"}),
    "a spectral layer": (Fourier, (TOKENS,), ("side",), {"side"}),
    "a spatial transformer": (Sampler, (IMAGE,), ("side",), {"side"}),
    "a checkpointed branch": (Checkpointed, (TOKENS,), ("branch",), {"branch.0"}),
    "beside a checkpointed branch": (Checkpointed, (TOKENS,), ("side",), {"side"}),
    "beside gathered tokens": (Gathered, (TOKENS,), ("side",), {"side"}),
    "gathered tokens": (Gathered, (TOKENS,), ("value",), {"value", "score"}),
    "windows": (Windows, (IMAGE,), ("mix",), {"mix", "inn"}),
    "beside windows": (Windows, (IMAGE,), ("side",), {"side"}),
    "a split": (Split, (IMAGE,), ("two",), {"two"}),
    "a split's chain": (Split, (IMAGE,), ("one",), {"one"}),
    "a branch of a re-parametrised block": (Reparametrised, (IMAGE,), ("nb",), {"b", "nb"}),
    "the identity of a re-parametrised block": (Reparametrised, (IMAGE,), ("ni",), {"ni"}),
}


@pytest.mark.parametrize(("make", "inputs", "gone", "dead"), ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_architecture(
    make: Callable[[], nn.Module], inputs: tuple[Tensor, ...], gone: tuple[str, ...], dead: set[str]
) -> None:
    torch.manual_seed(0)
    subnet = shrink(settled(make(), *inputs), inputs, *gone)
    assert not left(subnet) & dead, f"still there: {left(subnet) & dead}"


def test_a_zero_scalar_takes_its_path_with_it() -> None:
    """The scalar itself may stay, but then it stays at zero."""
    model = settled(Scaled(), IMAGE)
    model.alpha.data[1] = 0.0
    subnet = autosubnet.remove_zeros(model, IMAGE)
    same(model, subnet, (IMAGE,))
    assert left(subnet) == {"a", "c", "head", ""}
    subnet(IMAGE).square().sum().backward()
    alpha = subnet.get_parameter("alpha")
    assert alpha.shape == (2,) or (alpha.grad is not None and alpha.grad[1] == 0)
    model(IMAGE).square().sum().backward()
    assert torch.allclose(subnet.get_parameter("a.weight").grad, model.a.weight.grad)


def test_a_zero_entry_of_a_softmax_is_none() -> None:
    model = settled(Mixture(), IMAGE)
    model.alpha.data.zero_()
    assert left(shrink(model, (IMAGE,))) == {"", "a", "b", "c.1", "head"}


def test_parametrised_weights_stay_as_they_are() -> None:
    """Parametrizations are looked through: the same names, or the whole kept; the outputs equal in any case."""
    model = settled(Normed(), TOKENS)
    zero(model, ["side"])
    before = copy.deepcopy(model)
    subnet = autosubnet.remove_zeros(model, TOKENS)
    untouched(model, before)
    assert "side" not in left(subnet)
    same(model, subnet, (TOKENS,))
    assert {name for name, _ in subnet.named_parameters()} <= {name for name, _ in model.named_parameters()}


def test_a_second_construction_after_more_training() -> None:
    """Shrink, train the subnet, zero more of it, shrink that: subnets are models like any other."""
    model = settled(Experts(), TOKENS)
    first = shrink(model, (TOKENS,), "experts.0")
    optimizer = torch.optim.SGD(first.parameters(), lr=1e-2)
    first.train()(TOKENS).square().mean().backward()
    optimizer.step()
    first.zero_grad()
    second = shrink(first.eval(), (TOKENS,), "experts.2")
    assert left(second) == {"router", "experts.1.0", "experts.1.2"}
    oto = autosubnet.AutoSubnet(first, TOKENS)
    assert oto.groups


def test_channels_last_models() -> None:
    model = settled(UNet(), IMAGE).to(memory_format=torch.channels_last)
    x = IMAGE.to(memory_format=torch.channels_last)
    zero(model, ["bottom"])
    subnet = autosubnet.remove_zeros(model, x)
    check(model, subnet, (x,))
    assert subnet(x).stride() == model(x).stride()
    assert subnet.get_parameter("mix.weight").is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_recurrent_layer_that_is_read_through_its_last_state(layer: type[nn.Module], batch_first: bool) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (layer(4, 5, batch_first=batch_first) for _ in range(2))
            self.head = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            states = [each(x if batch_first else x.transpose(0, 1))[1] for each in (self.a, self.b)]
            last = [(state[0] if isinstance(state, tuple) else state)[-1] for state in states]
            return self.head(torch.cat(last, 1).view(-1, 2, 5).sum(1))

    x = example(3, 6, 4)
    subnet = shrink(settled(Last(), x), (x,), "b")
    assert left(subnet) == {"a", "head"}


class Table(nn.Module):
    """A bias that a small network computes from a table of coordinates, as attention over windows has it."""

    def __init__(self, *, functional: bool) -> None:
        super().__init__()
        self.functional = functional
        self.register_buffer(
            "table", torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        )
        self.mix, self.narrow = nn.Linear(3, 5), nn.Linear(5, 6)
        self.a, self.b, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.linear(self.table, self.mix.weight, self.mix.bias) if self.functional else self.mix(self.table)
        return self.head(self.a(x) + self.b(x) + self.narrow(hidden.tanh()).mean(0))


@pytest.mark.parametrize("functional", [False, True])
def test_a_weight_that_multiplies_a_table_keeps_its_columns(functional: bool) -> None:
    x = example(3, 6)
    subnet = shrink(settled(Table(functional=functional), x), (x,), "b")
    assert subnet.get_parameter("mix.weight").shape == (5, 3)
