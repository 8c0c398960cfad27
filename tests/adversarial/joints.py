"""Where branches meet: operands that broadcast, change sign, dtype or shape, or are not what a sum is."""

import torch
from torch import nn

from .specimen import images, rows, tokens


def narrow():
    return {"narrow": nn.Linear(6, 1)}


def thirds():
    return {name: nn.Conv2d(6, 3, 1) for name in "def"}


def in_place(m, x):
    y = m.a(x)
    y += m.b(x)
    y += x
    return y


def in_lesser_precision(m, x):
    """A zero that is dropped, and one that must stay float32: what is added to it is then rounded."""
    zero = m.b(x).float()
    return m.a(x) + zero + (m.c(x).float() + zero.exp()).double()


def views(m, x):
    """Each is viewed by a size of the other."""
    y, z = m.a(x), m.b(x)
    return (y.view(z.size(0), 2, 3) + z.view(y.size(0), 2, 3)).flatten(1)


def residual_over_views(m, x):
    y = m.b(x)
    return x.view(y.size(0), 3, 2).mT.reshape(y.shape) + y


def joined(m, x):
    return torch.cat([m.a(x), m.b(x)], 1)


def shuffled(m, x):
    y = torch.cat([m.d(x), m.e(x), m.f(x)], 1).unflatten(1, (3, 3)).transpose(1, 2).flatten(1, 2)
    return x[:, :3] + y[:, 3:6]


def padded(m, x):
    return nn.functional.pad(joined(m, x), (0, 0, 0, 0, 1, -1))


def bmm(m, x):
    return torch.baddbmm(m.a(x), m.b(x), m.c(x).transpose(1, 2) @ x)


def indexed(m, x):
    return torch.stack([m.a(x), m.b(x)])[1] + x


def minimum(m, x):
    values, _ = torch.stack([m.a(x), m.b(x)]).min(0)
    return values + x


def twice(m, x):
    y = m.b(x)
    return torch.cat([y, m.a(x), y], 1)


SPECIMENS = [
    rows("a sum", lambda m, x: m.a(x) + m.b(x), "b"),
    rows("a zero that is widened", lambda m, x: m.a(x) + m.c(x) * m.narrow(x), "narrow", "narrow c", parts=narrow),
    rows("a zero that widens", lambda m, x: m.narrow(x) + m.b(x), "b", parts=narrow),
    rows(
        "a zero that is expanded",
        lambda m, x: x + m.c(m.narrow(x).expand(-1, 6)),
        "narrow c.bias",
        "narrow c",
        parts=narrow,
    ),
    rows("zero minus a branch", lambda m, x: m.a(x) - m.b(x), "a"),
    rows("a number minus zero", lambda m, x: x * (1 - m.b(x)), "b"),
    rows("a number plus zero", lambda m, x: m.a(x) * (m.b(x) + 2.0), "b"),
    rows("a negated zero", lambda m, x: m.a(x) + m.c(-m.b(x)), "b c.bias", "b c"),
    rows("rsub", lambda m, x: torch.rsub(m.a(x), m.b(x), alpha=0.5), "b"),
    rows("alpha on what stays", lambda m, x: torch.add(m.a(x), m.b(x), alpha=-0.5), "a"),
    rows("alpha on what goes", lambda m, x: torch.sub(m.a(x), m.b(x), alpha=3), "b"),
    rows("a zero that promotes", lambda m, x: (m.a(x).float() + m.b(x)) * 2, "b"),
    rows("a zero of lesser precision", in_lesser_precision, "b"),
    rows(
        "the difference of a zero with itself",
        lambda m, x: x + m.a(x) + m.c(m.b(x) - m.b(x)),
        "b c.bias",
        "b c",
    ),
    rows("where", lambda m, x: torch.where(x > 0, m.a(x), m.b(x)), "b"),
    rows("where both are zero", lambda m, x: x + m.c(torch.where(x > 0, m.a(x), m.b(x))), "a b c.bias", "a b c"),
    rows("maximum", lambda m, x: torch.maximum(m.a(x), m.b(x)), "b"),
    rows("minimum with indices", minimum, "b"),
    rows("clamped from below", lambda m, x: torch.clamp(m.a(x), min=m.b(x)), "b"),
    rows("lerp", lambda m, x: torch.lerp(m.a(x), m.b(x), 0.3), "b"),
    rows("stack and sum", lambda m, x: torch.stack([m.a(x), m.b(x), m.c(x)]).sum(0), "b"),
    rows("stack and mean", lambda m, x: torch.stack([m.a(x), m.b(x), m.c(x)], 1).mean(1), "b"),
    rows("stack and max", lambda m, x: torch.stack([m.a(x), m.b(x), m.c(x)]).amax(0), "b"),
    rows("stack and index", indexed, "b", "a b"),
    rows("addcmul", lambda m, x: torch.addcmul(m.a(x), m.b(x), m.c(x), value=0.5), "b", "b c"),
    rows("addcmul onto zero", lambda m, x: torch.addcmul(m.a(x), m.b(x), m.c(x), value=0.5), "a"),
    rows("addcdiv", lambda m, x: torch.addcdiv(x, m.b(x), m.c(x).exp()), "b"),
    rows("in-place sum", in_place, "b"),
    rows("in-place sum onto zero", in_place, "a"),
    rows("Python's sum", lambda m, x: sum([m.a(x), m.b(x), m.c(x)]), "a c"),
    rows("einsum as a product", lambda m, x: x + torch.einsum("bi,bi->bi", m.a(x), m.b(x)), "b"),
    rows("einsum over channels", lambda m, x: x * torch.einsum("bi,bi->b", m.a(x), m.b(x))[:, None] + x, "b"),
    tokens("attention by einsum", lambda m, x: x + torch.einsum("btu,buc->btc", m.a(x) @ m.b(x).mT, m.c(x)), "c"),
    tokens("baddbmm", bmm, "b"),
    tokens("baddbmm onto zero", bmm, "a"),
    tokens("matmul", lambda m, x: x + (m.a(x) @ m.b(x).mT).softmax(-1) @ m.c(x), "c", "a b c"),
    tokens("matmul of a zero query", lambda m, x: x + (m.a(x) @ m.b(x).mT).softmax(-1) @ m.c(x), "a", "a b"),
    rows("a gate that is half open", lambda m, x: m.a(x) * m.b(x).sigmoid(), "b"),
    rows("a gated zero", lambda m, x: x + m.a(x) * m.b(x).sigmoid(), "a", "a b"),
    rows("a zero softmax", lambda m, x: m.a(x) * m.b(x).softmax(-1), "b"),
    rows("a product of three", lambda m, x: x + m.a(x) * m.b(x) * m.c(x), "b", "a b c"),
    rows("a quotient", lambda m, x: x + m.a(x) / m.b(x).exp(), "a"),
    rows("a quotient by one", lambda m, x: m.a(x) / m.b(x).exp(), "b"),
    rows("a power to zero", lambda m, x: x * (m.a(x).abs() + 1) ** m.b(x), "b"),
    rows("a comparison with zero", lambda m, x: (m.a(x) > m.b(x)) * x + x, "b"),
    rows("views", views, "b"),
    rows("a residual over views", residual_over_views, "b"),
    rows("a zero between two in a concat", lambda m, x: torch.cat([m.a(x), m.b(x), m.c(x)], 1), "b", width=18),
    rows("a zero twice in a concat", twice, "b", width=18),
    rows("cumsum over channels", lambda m, x: joined(m, x).cumsum(1), "b", width=12),
    rows("a flip", lambda m, x: joined(m, x).flip(1), "b", width=12),
    rows("a roll", lambda m, x: joined(m, x).roll(2, 1), "b", width=12),
    images("channel shuffle", shuffled, "e", width=3, parts=thirds),
    images("pixel shuffle", lambda m, x: torch.pixel_shuffle(joined(m, x), 2), "b", width=3),
    images("padded channels", padded, "b", width=12),
]
