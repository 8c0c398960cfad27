"""Modules that are not what their class says: hooks, parametrisations, subclasses, shared and odd weights."""

import warnings

import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from .specimen import images, rows, tokens


def with_hook(hook):
    """One that becomes zero, and another that stays."""

    def parts():
        hooked, other = nn.Linear(6, 6), nn.Linear(6, 6)
        for each in (hooked, other):
            each.register_forward_hook(hook)
        return {"hooked": hooked, "other": other}

    return parts


def with_pre_hook():
    hooked, other = nn.Linear(6, 6), nn.Linear(6, 6)
    for each in (hooked, other):
        each.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    return {"hooked": hooked, "other": other}


def hooked(m, x):
    return m.a(x) + m.hooked(x) + m.other(x)


def pruned(amount):
    def parts():
        layer = nn.Linear(6, 6)
        prune.ln_structured(layer, "weight", amount=amount, n=2, dim=0)
        return {"pruned": layer}

    return parts


def old(norm):
    def parts():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return {"normed": norm(nn.Linear(6, 6))}

    return parts


def parametrised(norm):
    return lambda: {"normed": norm(nn.Linear(6, 6))}


class Shifted(nn.Linear):
    """Is a Linear by its class, and one more."""

    def forward(self, x):
        return super().forward(x) + 1


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class StandardisedConv(nn.Conv2d):
    """Weight standardisation: a zero weight stays zero, over its epsilon; a zero input still counts."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return nn.functional.conv2d(x, weight, self.bias, padding=1)


def standardised():
    return {"std": StandardisedConv(6, 6, 3), "mix": StandardisedConv(12, 6, 3)}


def standardised_sum(m, x):
    return m.a(x) + m.std(x) + m.mix(torch.cat([x, m.b(x)], 1))


def lazy():
    layer = nn.LazyLinear(6)
    layer(torch.randn(2, 6))
    return {"lazy": layer}


def frozen():
    layer = nn.Linear(6, 6)
    layer.requires_grad_(False)
    return {"frozen": layer}


def tied():
    first, second, third = (nn.Linear(6, 6) for _ in range(3))
    second.weight = third.weight = first.weight
    return {"first": first, "second": second, "third": third}


def shared(m, x):
    return m.first(x) + m.second(x).tanh() + m.c(m.third(x))


def strided():
    layer = nn.Linear(6, 6)
    layer.weight = nn.Parameter(torch.randn(6, 6).t())
    return {"strided": layer}


def with_weights_dropped(m, x):
    """Draws come in the order in which the weight lies."""
    weight = nn.functional.dropout(m.strided.weight, 0.5, m.training)
    return m.a(x) + nn.functional.linear(x, weight, m.strided.bias)


def channels_last():
    conv = nn.Conv2d(6, 6, 3, padding=1).to(memory_format=torch.channels_last)
    return {"conv": conv, "drop": nn.Dropout(0.5)}


def channels_last_and_dropout():
    """A narrowed weight that lies otherwise gives a result that lies otherwise, and its entries get other draws."""
    mix = nn.Conv2d(12, 6, 3, padding=1).to(memory_format=torch.channels_last)
    return {"left": nn.Conv2d(6, 6, 1), "right": nn.Conv2d(6, 6, 1), "mix": mix, "drop": nn.Dropout(0.5)}


def mixed(m, x):
    return m.drop(m.mix(torch.cat([m.left(x), m.right(x)], 1)))


def buffers():
    return {
        "table": nn.Buffer(torch.tensor([5, 4, 3, 2, 1, 0])),
        "phase": nn.Buffer(torch.polar(torch.ones(6), torch.arange(6.0))),
    }


def rotated(m, x):
    turned = torch.view_as_complex(torch.stack([x, m.a(x)], -1).contiguous()) * m.phase.to(torch.complex128)
    return turned.real[:, m.table] + m.b(x)


class Doubled(torch.autograd.Function):
    """Twice what comes in, of three times its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 3


class Doubling(nn.Module):
    def forward(self, x):
        return Doubled.apply(x)


class TiedEmbedding(nn.Module):
    """The head is the transposed table, as in a language model."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(9, 6))
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        x = x @ self.table.T.softmax(0).T[:6]
        return (x + self.a(x).relu() + self.b(x).relu()) @ self.table.T


class Holder(nn.Module):
    """Parameters in a list and a dict, layers in a dict of lists."""

    def __init__(self):
        super().__init__()
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(6)) for _ in range(2)])
        self.shifts = nn.ParameterDict({"up": nn.Parameter(torch.ones(6))})
        self.layers = nn.ModuleDict({"x": nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])})

    def forward(self, x):
        first, second = self.layers["x"]
        return first(x) * self.scales[0] + second(x) * self.scales[1] + self.shifts["up"]


def recurrent(m, x):
    """What it returns, and its last state."""
    y, (state, _) = m.lstm(x)
    return y + m.b(x) + state[-1][:, None]


def part(name, make):
    return lambda: {name: make()}


SPECIMENS = [
    rows("a hook that doubles", hooked, "hooked", parts=with_hook(lambda m, i, o: o * 2)),
    rows("a hook that adds", hooked, "hooked", parts=with_hook(lambda m, i, o: o + 1)),
    rows("a pre-hook", hooked, "hooked", parts=with_pre_hook),
    rows("masks of torch.nn.utils.prune", lambda m, x: m.a(x) + m.pruned(x), "a", parts=pruned(0.5)),
    rows(
        "everything pruned but the bias",
        lambda m, x: m.a(x) + m.pruned(x),
        "pruned.bias",
        "",
        parts=pruned(6),
        searches=False,
    ),
    rows("weight_norm", lambda m, x: m.a(x) + m.normed(x), "a", parts=old(nn.utils.weight_norm)),
    rows("spectral_norm", lambda m, x: m.a(x) + m.normed(x), "a", parts=old(nn.utils.spectral_norm)),
    rows(
        "weight_norm as a parametrisation",
        lambda m, x: m.a(x) + m.normed(x),
        "normed.parametrizations.weight.original0 normed.bias",
        "normed",
        parts=parametrised(parametrizations.weight_norm),
    ),
    rows(
        "spectral_norm as a parametrisation",
        lambda m, x: m.a(x) + m.normed(x),
        "a",
        parts=parametrised(parametrizations.spectral_norm),
    ),
    rows("a subclass that adds one", lambda m, x: m.a(x) + m.b(x), "b", parts=part("b", lambda: Shifted(6, 6))),
    rows("a subclass that scales", lambda m, x: m.a(x) + m.b(x), "b", parts=part("b", lambda: Scaled(6, 6))),
    images(
        "weight standardisation",
        standardised_sum,
        "std b",
        "b",
        parts=standardised,
    ),
    rows("a lazy module that was initialised", lambda m, x: m.a(x) + m.lazy(x), "lazy", parts=lazy),
    rows("a frozen branch", lambda m, x: m.a(x) + m.frozen(x), "a", parts=frozen),
    rows("a frozen branch of zeros", lambda m, x: m.a(x) + m.frozen(x), "frozen", parts=frozen),
    rows("a shared weight one use of which dies", shared, "c", "c third", parts=tied),
    rows("a shared weight of zeros", lambda m, x: x + m.first(x) + m.second(x), "first second", parts=tied),
    rows("a module called twice", lambda m, x: x + m.b(m.a(m.b(x))) + m.c(m.c(x)), "b", "a b"),
    rows("a weight in another order", with_weights_dropped, "a", parts=strided),
    images("channels last ahead of dropout", mixed, "right", parts=channels_last_and_dropout),
    images("channels last", lambda m, x: m.a(x) + m.drop(m.conv(x)), "a", parts=channels_last),
    rows("complex and integer buffers", rotated, "b", parts=buffers),
    rows(
        "a function of its own gradient",
        lambda m, x: m.doubled(m.a(x) + m.b(x)),
        "b",
        parts=part("doubled", Doubling),
    ),
    rows("a tied embedding", lambda m, x: m.net(x), "net.b", "net.b", parts=part("net", TiedEmbedding), width=9),
    rows(
        "parameters in lists and dicts",
        lambda m, x: m.net(x),
        "net.scales.0",
        "net.layers.x.0",
        parts=part("net", Holder),
    ),
    rows("a bilinear layer", lambda m, x: m.a(x) + m.two(x, x), "two", parts=part("two", lambda: nn.Bilinear(6, 6, 6))),
    tokens(
        "a recurrent layer",
        recurrent,
        "b",
        parts=part("lstm", lambda: nn.LSTM(6, 6, batch_first=True)),
    ),
    tokens(
        "an encoder layer",
        lambda m, x: m.layer(x) + m.b(x),
        "layer.linear2 b",
        "layer.linear1 layer.linear2 b",
        parts=part("layer", lambda: nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)),
    ),
    tokens(
        "attention modules",
        lambda m, x: x + m.mha(x, x, m.b(x), need_weights=False)[0],
        "mha.in_proj_bias mha.out_proj.bias b",
        "",
        parts=part("mha", lambda: nn.MultiheadAttention(6, 2, batch_first=True)),
    ),
]
