"""Values: what operators make of a zero, infinities, casts, padding and pooling, integers and complex numbers."""

import torch
import torch.nn.functional as F
from torch import nn

from .specimen import images, rows, tokens

INFINITE = float("-inf")
# Functions of zero that are zero, and that are not; none has an infinite gradient there.
ZERO = {
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "gelu": F.gelu,
    "softsign": F.softsign,
    "expm1": torch.expm1,
    "log1p": lambda y: torch.log1p(y.square()),
    "erf": torch.erf,
    "asinh": torch.asinh,
    "clamp from zero": lambda y: y.clamp(min=0),
    "a power": lambda y: y**3,
}
# Of these no rule knows that; a zero must be put in.
ZERO_BY_CHANCE = {
    "a cumulative product": lambda y: y.cumprod(-1),
    "xlogy": lambda y: torch.xlogy(y, y.detach().square() + 1),
}
NOT_ZERO = {
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "logsigmoid": F.logsigmoid,
    "exp": torch.exp,
    "cos": torch.cos,
    "softplus": F.softplus,
    "softmax": lambda y: y.softmax(-1),
    "log_softmax": lambda y: y.log_softmax(-1),
    "logsumexp": lambda y: y.logsumexp(-1, keepdim=True),
    "acos": lambda y: torch.acos(y.tanh()),
    "clamp from one tenth": lambda y: y.clamp(min=0.1),
    "threshold": lambda y: F.threshold(y, 0.1, -1),
    "pow(0)": lambda y: y.pow(0),
    "2 ** y": lambda y: 2**y,
    "a reciprocal": lambda y: 1 / (y.square() + 1),
    "y == 0": lambda y: (y == 0).to(y.dtype),
    "y <= 0": lambda y: (y <= 0).to(y.dtype),
    "not y": lambda y: torch.logical_not(y).to(y.dtype),
    "one_hot of argmax": lambda y: F.one_hot(y.argmax(-1), 6),
}
POOLS = {
    "max pooling with padding": nn.MaxPool2d(3, 2, 1),
    "max pooling with dilation": nn.MaxPool2d(2, 2, dilation=2),
    "max pooling with ceil_mode": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "average pooling with padding": nn.AvgPool2d(3, 2, 1),
    "average pooling without its padding": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "average pooling with ceil_mode": nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "average pooling with a divisor": nn.AvgPool2d(3, 2, divisor_override=2),
    "adaptive max pooling": nn.AdaptiveMaxPool2d((3, None)),
    "adaptive average pooling": nn.AdaptiveAvgPool2d((None, 2)),
}
RESIZES = {
    "nearest": {"scale_factor": 1.7, "mode": "nearest"},
    "nearest-exact": {"scale_factor": 0.6, "mode": "nearest-exact"},
    "bilinear": {"scale_factor": (1.3, 2.1), "mode": "bilinear"},
    "bicubic": {"scale_factor": 2, "mode": "bicubic", "align_corners": True},
    "area": {"scale_factor": 0.5, "mode": "area"},
    "antialias": {"scale_factor": 0.6, "mode": "bilinear", "antialias": True, "recompute_scale_factor": True},
}
PADDINGS = ("zeros", "reflect", "replicate", "circular")


def added(function):
    return lambda m, x: m.a(x) + function(m.b(x))


def read_on(function):
    """The layer behind it goes only if its zero is known."""
    return lambda m, x: m.a(x) + m.c(function(m.b(x)))


def multiplied(function):
    return lambda m, x: function(m.a(x)) * function(m.b(x)).sigmoid()


def pooled(m, x):
    """The pooled zero is a term of a sum, and what it opens a gate with must be as large as the pooled image."""
    return m.pool(x + m.b(x)) * m.pool(m.b(x)).sigmoid() + m.pool(m.b(x))


def pooled_concat(m, x):
    """Half of the channels stay zero."""
    y = m.pool(torch.cat([m.a(x), m.b(x)], 1))
    return m.mix(y) + m.c(y[:, 6:])


def pool(module, **more):
    return lambda: {"pool": module, **{name: make() for name, make in more.items()}}


def conv(padding_mode, inputs=6, **options):
    return lambda: {"conv": nn.Conv2d(inputs, 6, 3, padding_mode=padding_mode, **{"padding": 1, **options})}


def convolved_sum(m, x):
    return m.a(x) + m.conv(m.b(x))


def convolved_product(m, x):
    return m.a(x) * m.conv(m.b(x))


def convolved_concat(m, x):
    return m.conv(torch.cat([m.a(x), m.b(x)], 1))


def folded(m, x):
    return m.a(x) + m.c(F.fold(F.unfold(m.b(x), 3, padding=1), x.shape[2:], 3, padding=1))


def padded_module(m, x):
    return F.pad(x, (1, 1, 1, 1)) + m.pool(m.b(x))


def gate_of_pools(m, x):
    return m.pool(x.exp()) * m.pool(m.b(x).exp())


def padded(mode, **options):
    def pad(y):
        return F.pad(y, (1, 1, 2, 0), mode, **options)

    return lambda m, x: pad(m.a(x)) * pad(m.b(x)).sigmoid() + pad(m.b(x))


def indices_too(m, x):
    values, indices = m.pool(m.b(x))
    return m.pool(x)[0] + values + 0.1 * indices


def unpooled(m, x):
    values, indices = F.max_pool2d(m.a(x), 2, return_indices=True)
    values = values + F.max_pool2d(m.b(x), 2)
    return x + F.max_unpool2d(values, indices, 2, output_size=x.shape[2:])


def sampled(m, x):
    turn = torch.tensor([[0.8, -0.6, 0.1], [0.6, 0.8, 0.0]], dtype=x.dtype).expand(x.size(0), 2, 3)
    grid = F.affine_grid(turn, x.shape, align_corners=False)
    zeros = F.grid_sample(m.b(x), grid, padding_mode="border", align_corners=False)
    return F.grid_sample(m.a(x), grid, padding_mode="reflection", align_corners=False) + zeros


def shuffled(m, x):
    up, gate = (F.pixel_shuffle(torch.cat([branch(x)] * 4, 1), 2) for branch in (m.a, m.b))
    return F.pixel_unshuffle(up * gate.sigmoid(), 2)[:, ::4]


def resized_as(m, x):
    return x * F.interpolate(F.max_pool2d(m.b(x), 2), size=x.shape[2:], mode="bilinear").sigmoid()


def causal(scores):
    later = torch.ones_like(scores[0], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, INFINITE).softmax(-1)


def additive(scores):
    return (scores + torch.full_like(scores[0], INFINITE).triu(1)).softmax(-1)


def attention(weights):
    return lambda m, x: x + weights(m.a(x) @ m.b(x).mT) @ m.c(x)


def masked_log(m, x):
    """log(0) where nobody looks; its gradient is not taken, since where(..., log(0)) has none."""
    y = m.b(x).detach()
    return x + m.a(x) * torch.where(y > 0, y.log(), torch.zeros_like(y))


def clamped_overflow(m, x):
    """exp overflows for some inputs, and is cut off before anybody sees it."""
    return m.a(x) + m.c(m.b(x) * (1000 * x.detach().abs()).exp().clamp(max=2))


def spectrum(m, x):
    return torch.fft.irfft(torch.fft.rfft(m.a(x)) + torch.fft.rfft(m.b(x)), n=6)


def filtered(m, x):
    spectrum = torch.fft.rfft(m.a(x)) * torch.fft.rfft(m.b(x)).conj()
    return x + torch.view_as_real(spectrum.resolve_conj()).sum(-1).mean(-1, keepdim=True)


def parts_of(m, x):
    number = torch.complex(m.a(x), m.b(x))
    return number.real + number.imag + x


def by_integers(m, x):
    order = m.b(x).argsort(dim=-1, stable=True)
    return x.gather(1, order) + m.a(x)


def by_bits(m, x):
    signs = (m.b(x) > 0) & (x > 0) | (m.a(x) < 0)
    return x + signs.long().cumsum(1) * m.a(x)


def chosen(m, x):
    return torch.where(m.b(x) >= 0, m.a(x), x)


def narrow(function):
    """A residual whose branch computes in float32 within a float64 model."""
    return lambda m, x: x + m.a(x) + m.c(function(m.b(x).float()).double())


SPECIMENS = [
    *(rows(f"{name} of zero is zero", read_on(f), "b c.bias", "b c") for name, f in ZERO.items()),
    *(rows(f"{name} of zero is zero", added(f), "b") for name, f in ZERO_BY_CHANCE.items()),
    *(rows(f"{name} of zero is not zero", added(f), "b") for name, f in NOT_ZERO.items()),
    *(images(f"{name} of a zero", pooled, "b", parts=pool(p)) for name, p in POOLS.items()),
    *(
        images(f"{name} of a concat", pooled_concat, "b c.bias", "b c", parts=pool(p, mix=lambda: nn.Conv2d(12, 6, 1)))
        for name, p in POOLS.items()
    ),
    *(
        images(f"interpolation: {name}", multiplied(lambda y, o=options: F.interpolate(y, **o)), "b")
        for name, options in RESIZES.items()
    ),
    images("interpolation to a size", resized_as, "b"),
    *(images(f"a zero convolution padded with {p}", convolved_sum, "conv", "b conv", parts=conv(p)) for p in PADDINGS),
    *(images(f"a convolution of zero padded with {p}", convolved_product, "b", parts=conv(p)) for p in PADDINGS),
    *(
        images(
            f"a narrowed convolution padded with {p}",
            convolved_concat,
            "b",
            parts=conv(p, 12, padding=2, stride=2),
        )
        for p in PADDINGS
    ),
    *(images(f"F.pad: {mode}", padded(mode), "b") for mode in ("constant", "reflect", "replicate", "circular")),
    images("F.pad with one half", padded("constant", value=0.5), "b"),
    images("ConstantPad2d with one half", padded_module, "b", parts=pool(nn.ConstantPad2d(1, 0.5))),
    images("Lp pooling of a gate", gate_of_pools, "b", parts=pool(nn.LPPool2d(2, 3, 2))),
    images("indices of a maximum", indices_too, "b", parts=pool(nn.MaxPool2d(2, return_indices=True))),
    images(
        "indices of an adaptive maximum",
        indices_too,
        "b",
        parts=pool(nn.AdaptiveMaxPool2d(2, return_indices=True)),
    ),
    images("unpooling", unpooled, "b"),
    images("unpooling of zero", unpooled, "a"),
    images("grid_sample", sampled, "b"),
    images("pixel shuffle of a gate", shuffled, "b"),
    images("unfold and fold", folded, "b c.bias", "b c"),
    tokens("masked_fill with -inf", attention(causal), "c", "a b c"),
    tokens("masked_fill with -inf of zero scores", attention(causal), "b", "a b"),
    tokens("a mask of -inf that is added", attention(additive), "c", "a b c"),
    tokens("a mask of -inf that is added to zero scores", attention(additive), "a", "a b"),
    rows("log(0) behind where", masked_log, "b"),
    rows("an overflow that is clamped", clamped_overflow, "b c.bias", "b c"),
    rows("a Fourier transform of zero", spectrum, "b"),
    rows("a filter that is zero", filtered, "b"),
    rows("real and imaginary parts", parts_of, "b"),
    rows("an order of zeros", by_integers, "b"),
    rows("bits", by_bits, "b"),
    rows("a choice by a comparison of zeros", chosen, "b"),
    rows("a float32 island that is zero", narrow(torch.tanh), "b c.bias", "b c"),
    rows("a float32 island that is one half", narrow(torch.sigmoid), "b"),
    rows("a bfloat16 island", lambda m, x: x + m.a(x) + m.b(x).bfloat16().exp().to(torch.float64), "b"),
]
