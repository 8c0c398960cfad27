"""Small networks for the tests of export, and what is asserted of two that must be the same."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

Pair = namedtuple("Pair", ["first", "second"])


class Convolutional(nn.Module):
    """A residual network with dropout, a concat, a buffer and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.left = nn.Conv2d(8, 8, (1, 3), padding=(0, 1), bias=False)
        self.right = nn.Conv2d(8, 8, 3, padding="same", groups=2, padding_mode="circular")
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(16, 5)
        self.register_buffer("scale", torch.tensor([2.0]))
        self.register_buffer("offset", torch.tensor([1, 2], dtype=torch.int64), persistent=False)
        self.left.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        both = torch.cat([self.left(x) + x, -(self.right(x) * self.scale)], dim=1)
        pooled = F.adaptive_avg_pool2d(both, 1)[:, :, 0, 0]
        return self.head(self.drop(pooled)) - self.offset.sum()


class Tokens(nn.Module):
    """Tied weights, a bare parameter, sizes, slices, constants, and a named tuple with a dict as output."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6, padding_idx=0)
        self.position = nn.Parameter(torch.randn(1, 9, 6))
        self.norm = nn.LayerNorm(6, eps=1e-6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.out = nn.Linear(6, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens: Tensor, weight: float | None = None) -> tuple[Any, ...]:
        x = self.embed(tokens) + self.position[:, : tokens.size(1)]
        x = x + self.attention(self.norm(x), x, x, need_weights=False)[0]
        mask = x.new_zeros((x.shape[0], 1, 1), dtype=torch.float32, device=torch.device("cpu"))
        x = x.masked_fill(mask > 1, float("-inf"))
        logits = self.out(x[..., :])
        return logits, {"last": x[:, -1], "more": [x.mean((1, 2)), (x[:, 0, None], 2)]}


class Numbered(nn.Sequential):
    """Layers whose names are no Python names, at the root."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(4, 6), nn.Sequential(nn.GELU(approximate="tanh"), nn.Linear(6, 3)), nn.Hardtanh(-2, 3)
        )


def traced(model: nn.Module, *, training: bool = False) -> fx.GraphModule:
    """Return the trace of ``model`` with weights that are no defaults."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    network = fx.symbolic_trace(model)
    if isinstance(model, Tokens):  # whose tracer knows no named tuples
        output = network.graph.output_node()
        output.args = (Pair(*output.args[0]),)
        network.recompile()
    return network.train(training)


def images() -> tuple[Tensor]:
    """Return a batch of three images."""
    return (torch.randn(3, 3, 8, 10, generator=torch.Generator().manual_seed(1)),)


def tokens() -> tuple[Tensor]:
    """Return a batch of two token sequences."""
    return (torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 0]]),)


def rows() -> tuple[Tensor]:
    """Return a batch of vectors."""
    return (torch.randn(5, 4, generator=torch.Generator().manual_seed(1)),)


CASES = {"convolutional": (Convolutional, images), "tokens": (Tokens, tokens), "numbered": (Numbered, rows)}


def results(network: nn.Module, args: tuple[Any, ...], *, training: bool) -> Any:
    """Return the output from a fixed random state; the network's mode and buffers are put back."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    before = network.training
    network.train(training)
    torch.manual_seed(3)
    output = network(*args)
    network.load_state_dict(state)
    network.train(before)
    return output


def assert_same(left: nn.Module, right: nn.Module, args: tuple[Any, ...]) -> None:
    """Assert that two networks have the same tensors in the same order and return the same, bit for bit."""
    assert left.training == right.training
    for kind in ("named_parameters", "named_buffers"):
        a, b = dict(getattr(left, kind)()), dict(getattr(right, kind)())
        assert list(a) == list(b)
        assert [t.dtype for t in a.values()] == [t.dtype for t in b.values()]
        assert [t.requires_grad for t in a.values()] == [t.requires_grad for t in b.values()]
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert list(left.state_dict()) == list(right.state_dict())
    for training in (False, True):
        a, b = results(left, args, training=training), results(right, args, training=training)
        assert _skeleton(a) == _skeleton(b)
        pairs = list(zip(tree_leaves(a), tree_leaves(b), strict=True))
        assert pairs
        assert all(torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in pairs)


def _skeleton(value: Any) -> Any:
    """Return the nesting of an output: types by name, keys and fields."""
    if isinstance(value, dict):
        return {key: _skeleton(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value).__name__, getattr(value, "_fields", None), [_skeleton(each) for each in value]
    return type(value).__name__
