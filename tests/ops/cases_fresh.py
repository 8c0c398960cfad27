"""Cases of operators that make a tensor anew, draw at random, or choose by mode."""

import torch

from autosubnet.ops.modes import by_mode

from .case import Case, unary


def _filled(name):
    """A tensor of the input's sizes, filled in place at random."""
    return Case(name, lambda m, a, b: a + getattr(torch.zeros(b.size(0), 4, 6, 6, dtype=b.dtype), name)(
        *{"geometric_": (0.5,)}.get(name, ())), keeps=False)  # fmt: skip


def _beside_ones(a):
    """Weights of which some may be zero, but not all."""
    means = a.mean((2, 3))
    return torch.cat([means.square(), torch.ones_like(means)], 1)


CASES = [
    unary(torch.zeros_like, keeps=False),
    *(unary(each, keeps=False) for each in (torch.ones_like, torch.rand_like, torch.randn_like)),
    Case(torch.empty_like, lambda m, a, b: torch.empty_like(a).fill_(2.0), keeps=False),
    unary(torch.full_like, 2.0, keeps=False),
    unary(torch.randint_like, 5, keeps=False),
    Case(torch.zeros, lambda m, a, b: torch.zeros(a.size(0), 4), keeps=False),
    *(
        Case(each, lambda m, a, b, each=each: each(a.size(0), 4), keeps=False)
        for each in (torch.ones, torch.rand, torch.randn)
    ),
    Case(torch.empty, lambda m, a, b: torch.empty(a.size(0), 4).fill_(2.0), keeps=False),
    Case(torch.randint, lambda m, a, b: torch.randint(5, (a.size(0), 4)), keeps=False),
    Case(torch.randperm, lambda m, a, b: a[:, torch.randperm(4)], keeps=False),
    Case(torch.tensor, lambda m, a, b: a + torch.tensor(2.0), keeps=False),
    Case(torch.full, lambda m, a, b: torch.full((a.size(0), 4), 2.0), keeps=False),
    unary("new_full", (3, 4), 2.0, keeps=False),
    unary("new_zeros", (3, 4), keeps=False),
    unary("new_ones", (3, 4), keeps=False),
    Case("new_empty", lambda m, a, b: a.new_empty(3, 4).fill_(2.0), keeps=False),
    Case(torch.bernoulli, lambda m, a, b: torch.bernoulli(a.sigmoid()), keeps=False),
    Case("bernoulli", lambda m, a, b: a.sigmoid().bernoulli(), keeps=False),
    Case(torch.bernoulli, lambda m, a, b: torch.bernoulli(a.tanh().abs()), keeps=False, note="of zeros"),
    Case("bernoulli", lambda m, a, b: a.tanh().abs().bernoulli(), keeps=False, note="of zeros"),
    Case(torch.poisson, lambda m, a, b: torch.poisson(a.square()), keeps=False),
    Case(torch.normal, lambda m, a, b: torch.normal(a, b.abs()), keeps=False),
    Case(torch.multinomial, lambda m, a, b: torch.multinomial(a.flatten(1).square() + 1, 3), keeps=False),
    Case("multinomial", lambda m, a, b: (a.flatten(1).square() + 1).multinomial(3), keeps=False),
    Case(torch.multinomial, lambda m, a, b: torch.multinomial(_beside_ones(a), 3), keeps=False, note="of zeros"),
    Case("multinomial", lambda m, a, b: _beside_ones(a).multinomial(3), keeps=False, note="of zeros"),
    *(
        _filled(name)
        for name in (
            "bernoulli_",
            "normal_",
            "uniform_",
            "random_",
            "exponential_",
            "geometric_",
            "cauchy_",
            "log_normal_",
        )
    ),
    Case(by_mode, lambda m, a, b: (a * 2 if m.training else a).relu(), note="longer in train mode"),
    Case(by_mode, lambda m, a, b: (a if m.training else a.tanh()).relu(), note="longer in eval mode"),
    Case(by_mode, lambda m, a, b: (a * 2 if m.training else b.tanh()).relu(), note="apart"),
    Case(by_mode, lambda m, a, b: (a + 1 if m.training else a).relu(), keeps=False, note="zero in eval mode alone"),
]
