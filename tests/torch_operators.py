"""Networks around every operator that torch's own tests know, with arguments that those tests draw.

The tables are torch's (``torch.testing._internal``: not a public interface, and so read by this module alone). Each
tensor of a call becomes an input times a parameter, so that zeros of any shape can be put in front of the operator.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.testing._internal.common_methods_invocations as invocations
from judge import judge
from probes import run
from test_judge import claims_of
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

import autosubnet
from autosubnet.capture import Inputs, Trace, capture
from autosubnet.errors import AutoSubnetError
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.graph.validity import Validity
from autosubnet.graph.view import GraphView

invocations.wrapper_set_seed = lambda operator, *args, **kwargs: operator(*args, **kwargs)  # no seed inside of a model

Zeros = Literal["none", "all", "slice", "entries"]
EXACT: tuple[tuple[Zeros, ...], ...] = (  # for the first tensor, the second, and so on from the start
    ("all",), ("slice",), ("entries",), ("none", "all"), ("all", "none"), ("slice", "none"), ("none", "slice"),
    ("entries", "none", "all"),
)  # fmt: skip
CONNECTED: tuple[tuple[Zeros, ...], ...] = (
    ("all", "none"), ("none", "all"), ("slice", "none"), ("none", "slice"), ("slice",), ("slice", "all"),
)  # fmt: skip
DRAWS = ((1, False), (3, False), (0.3, False), (1, True), (10, False), (1, False))
"""Scale of the inputs, and whether they are positive."""


@dataclass(frozen=True)
class Place:
    """Where a tensor stands in a call: an input, or a constant."""

    number: int
    constant: bool


class Called(nn.Module):
    """One call of an operator; ``scale0``, ``scale1``, ... are the parameters."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, tuple[Any, ...], dict[str, Any]]) -> None:
        super().__init__()
        self.function = function
        self.examples: list[Tensor] = []
        self.arguments = tree_map_only(Tensor, self._place, arguments)

    def _place(self, tensor: Tensor) -> Place:
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            number = len(list(self.buffers()))
            self.register_buffer(f"constant{number}", tensor.detach().clone())
            return Place(number, constant=True)
        number = len(self.examples)
        self.examples.append(tensor.detach().clone())
        drawn = torch.randn(tensor.shape, dtype=tensor.dtype) / 2
        self.register_parameter(f"scale{number}", nn.Parameter(drawn + drawn.sign() / 2))
        return Place(number, constant=False)

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        """Return all tensors that the operator returns."""

        def value(place: Place) -> Tensor:
            name = f"constant{place.number}" if place.constant else f"scale{place.number}"
            return getattr(self, name) if place.constant else inputs[place.number] * getattr(self, name)

        first, args, kwargs = tree_map_only(Place, value, self.arguments)
        found = self.function(first, *args, **kwargs)
        return [each for each in tree_leaves(found) if isinstance(each, Tensor)]

    def redrawn(self, seed: int, scale: float = 1, positive: bool = False) -> list[Tensor]:
        """Return random inputs of the examples' shapes."""
        generator = torch.Generator().manual_seed(seed)
        drawn = [torch.randn(each.shape, generator=generator, dtype=torch.float64) * scale for each in self.examples]
        drawn = [each.abs() if positive else each for each in drawn]
        return [each.to(example.dtype) for each, example in zip(drawn, self.examples, strict=True)]


def calls(count: int, names: Sequence[str] = ()) -> Iterator[tuple[str, Callable[[], Called]]]:
    """Yield a name and what makes the network, for ``count`` calls of each operator and fewer as a method, in place."""
    for entry in invocations.op_db:
        name = ".".join(filter(None, (entry.name, entry.variant_test_name)))
        dtype = next((each for each in (torch.float64, torch.float32) if each in entry.dtypes), None)
        if dtype is None or (names and name not in names):
            continue
        torch.manual_seed(0)
        samples = list(entry.sample_inputs("cpu", dtype, requires_grad=False))
        chosen = random.Random(0).sample(samples, min(count, len(samples)))
        forms = {"": entry.op, " method": entry.method_variant, " in place": entry.inplace_variant}
        for form, function in forms.items():
            for number, sample in enumerate(chosen if not form else chosen[:2]):
                arguments = (sample.input, sample.args, sample.kwargs)
                if function is not None:
                    yield f"{name}{form} {number}", lambda f=function, a=arguments: Called(f, a)


def put_zeros(model: Called, pattern: Sequence[Zeros], seed: int) -> list[ParameterSlice]:
    """Set entries of the parameters to zero; return those that are whole slices."""
    draw = random.Random(seed)
    slices = []
    for number, parameter in enumerate(model.parameters()):
        kind = pattern[number % len(pattern)]
        with torch.no_grad():
            if kind == "entries":
                parameter[torch.rand(parameter.shape) < 0.5] = 0
            elif kind == "all":
                slices.append(ParameterSlice(f"scale{number}"))
                parameter.zero_()
            elif kind == "slice" and parameter.numel() and parameter.ndim:
                dim = draw.randrange(parameter.ndim)
                size = parameter.shape[dim]
                indices = tuple(sorted(draw.sample(range(size), draw.randint(1, size))))
                slices.append(ParameterSlice(f"scale{number}", dim, indices))
                parameter.index_fill_(dim, torch.tensor(indices), 0)
    return slices


def runs(model: nn.Module, inputs: Sequence[Tensor], *, train: bool = False) -> list[Tensor] | None:
    """Return dense outputs; ``None`` where the operator refuses the values."""
    try:
        with torch.no_grad():
            found = run(copy.deepcopy(model), [each.clone() for each in inputs], train=train)
    except Exception:  # noqa: BLE001  # the operator's own, of a matrix without an inverse, say
        return None
    return [each.to_dense().nan_to_num() if each.is_floating_point() else each.to_dense() for each in found]


def exact(model: Called, pattern: Sequence[Zeros], seed: int) -> str:
    """Return what became of a network whose zeros are removed: ``exact``, ``smaller``, or what went wrong."""
    put_zeros(model, pattern, seed)
    if not model.examples or runs(model, model.examples) is None:
        return "not run"
    try:
        trace = capture(model, Inputs.of(tuple(model.examples)))
        if wrong := refuted(trace):
            return f"WRONG CLAIM: {wrong[0]}"
        subnet = autosubnet.remove_zeros(model, tuple(model.examples))
    except AutoSubnetError as error:
        return f"refused: {error}"
    for train in (False, True):
        for scale, positive in DRAWS[:2]:
            inputs = model.redrawn(seed, scale, positive)
            expected = runs(model, inputs, train=train)
            if expected is not None and not same(expected, runs(subnet, inputs, train=train)):
                return f"WRONG OUTPUT in {'train' if train else 'eval'} mode"
    left, before = (sum(p.numel() for p in each.parameters()) for each in (subnet, model))
    return "smaller" if left < before else "exact"


def refuted(trace: Trace) -> list[str]:
    """Return what the judge refutes of the claims."""
    try:
        return judge(trace, draws=5, gradients=1).refutes(claims_of(trace))
    except (RuntimeError, ValueError, IndexError):
        return []  # the operator refuses what the judge feeds it


def connected(model: Called, pattern: Sequence[Zeros], seed: int) -> str:
    """Return what the check of connectivity says of a set of slices: ``valid``, ``invalid``, or ``DISCONNECTED``."""
    if not model.examples or runs(model, model.examples) is None:
        return "not run"
    try:
        validity = Validity(GraphView(capture(model, Inputs.of(tuple(model.examples)))))
    except AutoSubnetError as error:
        return f"refused: {error}"
    before = dependences(model, seed)
    slices = tuple(put_zeros(model, pattern, seed))
    if not slices:
        return "not run"
    validity.add(Group("slices", "zig", slices, 1, ("slices",)))
    lost = before - dependences(model, seed)
    if validity.is_valid():
        return f"DISCONNECTED: {sorted(lost)} (output, input) by {slices}" if lost else "valid"
    return "invalid" if lost else "invalid, connected"


def dependences(model: Called, seed: int) -> set[tuple[int, int]]:
    """Return which outputs change, in eval mode, with which inputs."""
    found = set()
    for number, (scale, positive) in enumerate(DRAWS):
        inputs, others = (model.redrawn(100 * seed + 2 * number + each, scale, positive) for each in (0, 1))
        before = runs(model, inputs)
        for place, other in enumerate(others):
            after = runs(model, [*inputs[:place], other, *inputs[place + 1 :]])
            if before is not None and after is not None:
                pairs = enumerate(zip(before, after, strict=False))
                found |= {(output, place) for output, (a, b) in pairs if a.shape != b.shape or bool((a != b).any())}
    return found


def same(expected: list[Tensor], got: list[Tensor] | None) -> bool:
    """Whether outputs agree, in shape and dtype too."""
    if got is None or [(e.shape, e.dtype) for e in expected] != [(g.shape, g.dtype) for g in got]:
        return False
    return all(torch.allclose(e, g, rtol=1e-6, atol=1e-9) for e, g in zip(expected, got, strict=True))
