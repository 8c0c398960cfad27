"""The cases between producers with zeros and stems that read them: what is constructed of these must equal them."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import promises
import torch
from probes import largest, survivors
from torch import Tensor, fx, nn

from autosubnet.capture import Inputs, Trace, capture
from autosubnet.capture.preserve import preserved
from autosubnet.subnet.construct import construct

from .case import TOKENS, Case, sprinkle

CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
# Which channels of the first and of the second producer are zero.
WAYS = (([1, -1], [0, 1]), (slice(None), []), ([], slice(None)))


class Between(nn.Module):
    """Producers -> the operator -> stems."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.inner = case.model()
        self.body = case.body
        self.first, self.second = (layer(case.shape, case.shape, outputs=None) for _ in range(2))
        self.double()
        self.stems = nn.ModuleList()
        with preserved(self, training=False):
            results = leaves(self.called(case.draw(0)))
        for each in results:
            self.stems.append(layer(tuple(each.shape), case.shape, outputs=3))
        self.double()

    def called(self, x: Tensor) -> Any:
        return self.body(self.inner, self.first(x), self.second(x))

    def forward(self, x: Tensor) -> list[Tensor]:
        results = leaves(self.called(x))
        return [stem(each.to(torch.float64)) for stem, each in zip(self.stems, results, strict=True)]

    @torch.no_grad()
    def zero(self, way: int) -> None:
        """Draw the parameters ahead of the stems, and set some to zero: those of the producers by channels."""
        sprinkle(self.inner, way)
        generator = torch.Generator().manual_seed(way)
        for layer, channels in zip((self.first, self.second), WAYS[way], strict=True):
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
                parameter[channels] = 0
        if way == 0:  # else no channel would be zero on both sides of a normalization
            for vector in (each for each in self.inner.parameters() if each.ndim == 1 and len(each) > 1):
                vector[WAYS[way][0]] = 0


def leaves(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [leaf for each in value for leaf in leaves(each)]


def layer(read: tuple[int, ...], inputs: tuple[int, ...], outputs: int | None) -> nn.Module:
    """Return a layer that mixes the channels of what is read, if it has any; as many come out where no number is given.

    These are in the second dimension of what is of the rank of images in a network of such.
    """
    if not read or 0 in read:
        return nn.Identity()
    if len(read) in CONVOLUTIONS and len(inputs) in CONVOLUTIONS and inputs != TOKENS and read[0] == inputs[0]:
        return CONVOLUTIONS[len(read)](read[1], outputs or read[1], 1)
    return nn.Linear(read[-1], outputs or read[-1])


@cache
def between(case: Case) -> tuple[Between, Trace]:
    """Capture once; what a capture finds does not depend on the parameters' values."""
    torch.manual_seed(0)
    model = Between(case)
    return model, capture(model, Inputs.of(case.draw(0)))


def constructed(case: Case, way: int) -> tuple[Between, fx.GraphModule]:
    """Return the network of a case with zeros, and what is constructed of it, unverified."""
    model, trace = between(case)
    model.zero(way)
    return model, construct(trace, check=False)


def check_rewrite(case: Case, way: int) -> None:
    """Assert that outputs and gradients are equal, and that modules say of themselves what they are."""
    model, subnet = constructed(case, way)
    report = subnet.meta["autosubnet"]
    for train in (False,) if report.training_notes else (False, True):
        expected, theirs = run(model, case.draw(way), train=train)
        actual, ours = run(subnet, case.draw(way), train=train)
        for a, b in zip(expected, actual, strict=True):
            limit = 1e-9 * (1 + largest(a.nan_to_num(0, 0, 0)))  # of a tangent near its pole as well
            torch.testing.assert_close(b, a, rtol=0, atol=limit, equal_nan=True)
        check_gradients(model, theirs, ours, report.kept)
    for name in {name.rpartition(".")[0] for name in report.kept}:
        module = subnet.get_submodule(name)
        if type(module) is not nn.Module:  # which holds the tensors that functions read
            shapes, anew = ({k: v.shape for k, v in each.state_dict().items()} for each in (module, made_anew(module)))
            assert shapes == anew, f"{name} calls itself {module}, and has {shapes}"


def run(module: nn.Module, x: Tensor, *, train: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the outputs, and the gradient of each parameter: zero where it has none."""
    named = dict(module.named_parameters())
    with preserved(module, training=train), torch.enable_grad():
        torch.manual_seed(3)
        outputs = module(x)
        goal = promises.objective(outputs)
        if goal.requires_grad and named:
            found = torch.autograd.grad(goal, list(named.values()), allow_unused=True, materialize_grads=True)
        else:
            found = tuple(torch.zeros_like(parameter) for parameter in named.values())
    return [each.detach() for each in outputs], dict(zip(named, found, strict=True))


def check_gradients(model: nn.Module, theirs: dict[str, Tensor], ours: dict[str, Tensor], kept: Any) -> None:
    """Assert that what survives has the gradients that it had, and that what would go on learning survives.

    Zeros count as frozen: what they would be multiplied with may be gone. Where the original's gradient is not finite,
    as that of a root at zero, nothing is promised.
    """
    values = dict(model.named_parameters())
    lost = promises.dropped(model, ours, kept)
    for name, whole in theirs.items():
        limit = 1e-9 * (1 + largest(whole.nan_to_num(0, 0, 0)))
        if name in ours:
            before, value = (survivors(each, name, kept) for each in (whole, values[name]))
            difference = torch.where(before.isfinite() & (value != 0), before - ours[name], 0)
            assert largest(difference) <= limit, f"the gradient of {name} differs by {largest(difference):.3g}"
        live = whole[lost[name] & (values[name] != 0)]
        assert largest(live.nan_to_num(0, 0, 0)) <= limit, f"live entries of {name} were dropped"


def made_anew(module: nn.Module) -> nn.Module:
    """Return a module of the same class with the hyper-parameters that ``module`` says it has."""
    options = {
        name: getattr(module, name) for name in inspect.signature(type(module)).parameters if hasattr(module, name)
    }
    if "bias" in options:
        options["bias"] = module.bias is not None
    return type(module)(**options)
