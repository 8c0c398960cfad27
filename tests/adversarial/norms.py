"""Norms that hold no parameters, no statistics, or sit behind a concat."""

import torch
from torch import nn

from .specimen import images, rows, tokens


def norm(make):
    return lambda: {"norm": make()}


def after(m, x):
    return m.a(x) + m.norm(m.b(x))


def read_on(m, x):
    """The layer behind the norm goes only if its zero is known."""
    return m.a(x) + m.c(m.norm(m.b(x)))


def without_momentum():
    return {name: nn.BatchNorm2d(6, momentum=None) for name in ("norm", "other")}


def joined(m, x):
    return m.norm(torch.cat([m.a(x), m.b(x)], 1))


def halved(m, x):
    """Half of the channels stay zero."""
    y = joined(m, x)
    return y[:, :6] + m.c(y[:, 6:])


def joined_to_the_input(m, x):
    return m.norm(torch.cat([x, m.a(x), m.b(x)], 1))


def beside_itself(m, x):
    y = m.a(x)
    return m.norm(torch.cat([y, y, m.b(x)], 1))


def joined_tokens(m, x):
    return m.norm(torch.cat([m.a(x), m.b(x)], -1))


SPECIMENS = [
    images("BatchNorm without affine", after, "b", parts=norm(lambda: nn.BatchNorm2d(6, affine=False))),
    images("BatchNorm whose affine is zero", after, "norm", "b norm", parts=norm(lambda: nn.BatchNorm2d(6))),
    images("BatchNorm of a zero", after, "b", parts=norm(lambda: nn.BatchNorm2d(6))),
    images("BatchNorm whose weight alone is zero", after, "norm.weight", "", parts=norm(lambda: nn.BatchNorm2d(6))),
    images(
        "BatchNorm without momentum",
        lambda m, x: m.other(m.a(x)) + m.norm(m.b(x)),
        "norm",
        "b norm",
        parts=without_momentum,
    ),
    images(
        "BatchNorm without statistics",
        after,
        "b",
        parts=norm(lambda: nn.BatchNorm2d(6, track_running_stats=False)),
    ),
    images("SyncBatchNorm of a zero", after, "b", parts=norm(lambda: nn.SyncBatchNorm(6))),
    images("SyncBatchNorm whose affine is zero", after, "norm", "b norm", parts=norm(lambda: nn.SyncBatchNorm(6))),
    images("InstanceNorm", read_on, "b c.bias", "b c", parts=norm(lambda: nn.InstanceNorm2d(6))),
    images("InstanceNorm with affine", after, "norm", "b norm", parts=norm(lambda: nn.InstanceNorm2d(6, affine=True))),
    images(
        "InstanceNorm with statistics",
        after,
        "b",
        parts=norm(lambda: nn.InstanceNorm2d(6, affine=True, track_running_stats=True)),
    ),
    images(
        "GroupNorm without affine", read_on, "b c.bias", "b c", parts=norm(lambda: nn.GroupNorm(2, 6, affine=False))
    ),
    images("GroupNorm of a zero", after, "b", parts=norm(lambda: nn.GroupNorm(3, 6))),
    images("GroupNorm whose affine is zero", after, "norm", "b norm", parts=norm(lambda: nn.GroupNorm(3, 6))),
    images("local response norm", after, "b", parts=norm(lambda: nn.LocalResponseNorm(2))),
    rows(
        "LayerNorm without affine",
        read_on,
        "b c.bias",
        "b c",
        parts=norm(lambda: nn.LayerNorm(6, elementwise_affine=False)),
    ),
    rows("LayerNorm of a zero", after, "b", parts=norm(lambda: nn.LayerNorm(6))),
    rows("LayerNorm without bias", after, "b", "b norm", parts=norm(lambda: nn.LayerNorm(6, bias=False))),
    rows("RMSNorm of a zero", after, "b", "b norm", parts=norm(lambda: nn.RMSNorm(6, eps=1e-3))),
    rows("BatchNorm over rows", after, "norm", "b norm", parts=norm(lambda: nn.BatchNorm1d(6))),
    tokens(
        "BatchNorm over tokens",
        lambda m, x: m.a(x) + m.norm(m.b(x).mT).mT,
        "norm",
        "b norm",
        parts=norm(lambda: nn.BatchNorm1d(6)),
    ),
    tokens("LayerNorm over tokens and channels", after, "norm", "b norm", parts=norm(lambda: nn.LayerNorm((4, 6)))),
    images("BatchNorm behind a concat", joined, "b", width=12, parts=norm(lambda: nn.BatchNorm2d(12))),
    images("GroupNorm behind a concat", joined, "b", width=12, parts=norm(lambda: nn.GroupNorm(2, 12))),
    images("GroupNorm of whole groups behind a concat", joined, "b", width=12, parts=norm(lambda: nn.GroupNorm(4, 12))),
    images(
        "BatchNorm behind a concat with the input",
        joined_to_the_input,
        "b",
        width=18,
        parts=norm(lambda: nn.BatchNorm2d(18)),
    ),
    images(
        "BatchNorm behind a concat of a tensor beside itself",
        beside_itself,
        "b",
        width=18,
        parts=norm(lambda: nn.BatchNorm2d(18)),
    ),
    images(
        "BatchNorm without affine behind a concat",
        joined,
        "b",
        width=12,
        parts=norm(lambda: nn.BatchNorm2d(12, affine=False)),
    ),
    images("InstanceNorm behind a concat", halved, "b c.bias", "b c", parts=norm(lambda: nn.InstanceNorm2d(12))),
    tokens("LayerNorm behind a concat", joined_tokens, "b", width=12, parts=norm(lambda: nn.LayerNorm(12))),
    tokens("RMSNorm behind a concat", joined_tokens, "b", width=12, parts=norm(lambda: nn.RMSNorm(12))),
]
