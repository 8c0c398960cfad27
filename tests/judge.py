"""A judge of zero propagation, by brute force: which entries of every tensor are really zero.

It shares nothing with the rules that prove zeros: of the package it uses the capture alone, to know which node is which
and how a choice by mode reads. It runs the graph of each mode many times and believes what it sees.

*Really zero* is an entry that was exactly 0.0 in every run, in both modes. Each run draws all inputs anew, from another
distribution, and all that is not zero in the parameters, from another scale and with other signs; running statistics
too. Zeros of parameters stay in their places, and so do all other buffers. What is computed from NaN counts for
nothing, since nothing is promised of it; infinite values count, as in masks of attention, for where they break a zero
they make it NaN. A tensor that was computed from NaN in every run gets no verdict.

The last runs of each mode also ask for gradients: those of a zero entry, with respect to the inputs and to what is not
zero in the parameters, must be exactly zero too. That decides whether the entry stays zero to first order around the
points that were tried. It tells ``x - x.detach()`` from a zero, whose removal would change training though no value
shows it. It says nothing of flat places: a ReLU that was always off has no gradient, and an accident like that is
found only by a run that turns it on. A gradient that is not finite (of the root of a zero) decides nothing.

So what is *not* really zero has a witness, and a proof that claims it is wrong. What *is* may still be an accident that
no run found: the share of them that is proved errs on the low side.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ops.case import sprinkle
from probes import tensors
from torch import Generator, Tensor, fx, nn

from autosubnet.capture.trace import MODES, Mode, Trace
from autosubnet.ops.modes import operand_of

Zeros = npt.NDArray[np.bool_]
Place = tuple[str, int]  # the name of a node, and which of its tensors
See = Callable[[fx.Node, list[Tensor]], None]
EMPTY = (torch.empty, torch.empty_like, "new_empty")
DIVISORS = ("weight_v", "original", "original1")  # of weight_norm and spectral_norm: a zero there is 0 / 0


def constant(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn((), generator=generator, dtype=torch.float64).expand(shape)


def one_hot(shape: tuple[int, ...], generator: Generator) -> Tensor:
    result = torch.zeros(shape, dtype=torch.float64)
    for row in result if result.ndim else ():
        row.view(-1)[torch.randint(row.numel(), (), generator=generator)] = 1.0
    return result


def sparse(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return normal(shape, generator) * (torch.rand(shape, generator=generator) < 0.2)


def normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


DISTRIBUTIONS: tuple[Callable[[tuple[int, ...], Generator], Tensor], ...] = (
    normal,
    lambda shape, generator: -normal(shape, generator).abs(),
    lambda shape, generator: normal(shape, generator) * 1e3,
    sparse,
    lambda shape, generator: torch.rand(shape, generator=generator, dtype=torch.float64),
    one_hot,
    constant,
)


@dataclass(frozen=True)
class Verdict:
    """What the judge found.

    Attributes:
        zero: for each node, and each of the tensors that it computes, which entries are really zero.
        accidents: how many entries were zero in every run, but have a gradient; they are not really zero.
        unjudged: nodes that get no verdict, for NaN.
    """

    zero: Mapping[str, list[Zeros]]
    accidents: int
    unjudged: list[str]

    def refutes(self, claims: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with zero masks, by the names of nodes: a sentence for each tensor."""
        wrong = []
        for name, found in self.zero.items():
            for number, (mask, zero) in enumerate(zip(masks_in(claims[name]), found, strict=True)):
                count = int((np.broadcast_to(mask, zero.shape) & ~zero).sum())
                if count:
                    wrong.append(f"{name}[{number}]: {count} of {zero.size} entries are claimed zero, and are not")
        return wrong


def judge(trace: Trace, draws: int = 7, gradients: int = 2, seed: int = 0) -> Verdict:
    """Return which entries are really zero, by ``draws`` runs in each mode and ``gradients`` more for gradients."""
    benches = {mode: Bench(trace, mode, seed) for mode in MODES}
    for bench in benches.values():
        for number in range(draws):
            bench.run(number)
        for number in range(gradients):
            bench.run_for_gradients(number)
    zero: dict[str, list[Zeros]] = {}
    unjudged = []
    for node in trace.graph.nodes:
        if node.op != "output":
            found = [benches[mode].zero.get(standing_for(node, mode).name) for mode in node.meta["modes"]]
            if None in found:
                unjudged.append(node.name)
            else:
                zero[node.name] = [np.logical_and.reduce(each) for each in zip(*found, strict=True)]
    return Verdict(zero, sum(bench.accidents for bench in benches.values()), unjudged)


class Bench:
    """The graph of one mode, run over and over.

    Attributes:
        zero: by the name of a node, which entries of its tensors were zero in every run that counted.
        accidents: how many entries that were always zero had a gradient.
    """

    def __init__(self, trace: Trace, mode: Mode, seed: int) -> None:
        self.module = copy.deepcopy(trace.module(mode)).train(mode == "train")
        self.inputs = trace.args
        self.state = State(self.module)
        self.generator = torch.Generator().manual_seed(seed)
        self.zero: dict[str, list[Zeros]] = {}
        self.accidents = 0

    def run(self, number: int) -> None:
        """Run once without gradients, at the model's own parameters first."""
        self.state.redraw(self.generator if number else None)
        with torch.no_grad():
            self._watch(draw_inputs(self.inputs, number, self.generator), self._learn)

    def run_for_gradients(self, number: int) -> None:
        """Run once, and take out of the zeros what has a gradient."""
        self.state.redraw(self.generator if number else None)
        inputs = draw_inputs(self.inputs, len(DISTRIBUTIONS) + number, self.generator)
        free = [each.requires_grad_() for each in inputs if is_float(each)]
        self.state.leaves()
        values: dict[Place, Tensor] = {}

        def see(node: fx.Node, found: list[Tensor]) -> None:
            self._learn(node, found)
            values.update(((node.name, place), each.clone()) for place, each in enumerate(found))

        with torch.autograd.graph.allow_mutation_on_saved_tensors():  # buffers that forward reads and then updates
            self._watch([each.clone() if isinstance(each, Tensor) else each for each in inputs], see)
            self._differentiate({place: each for place, each in values.items() if each.requires_grad}, free)

    def _watch(self, inputs: list[Any], see: See) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**31, (), generator=self.generator)))
            Watcher(self.module, see).run(*inputs)

    def _learn(self, node: fx.Node, values: list[Tensor]) -> None:
        """Keep as zero what is zero here too."""
        found = [(value == 0).numpy() for value in values]
        if node.name not in self.zero:
            self.zero[node.name] = found
        for zero, here in zip(self.zero[node.name], found, strict=True):
            zero &= here

    def _differentiate(self, values: Mapping[Place, Tensor], inputs: list[Tensor]) -> None:
        """Find zero entries with a gradient by bisection; where there are none, one backward pass tells."""
        masks = {(name, number): self.zero[name][number] for name, number in values}
        chosen = [parts(value[torch.from_numpy(masks[place])]) for place, value in values.items()]
        vector = torch.cat([each.double() for each in chosen])
        weights = normal(tuple(vector.shape), self.generator)
        parameters = self.state.leaves()
        sources = inputs + parameters
        counts = [torch.ones_like(each, dtype=torch.bool) for each in inputs] + [each != 0 for each in parameters]

        def depends(start: int, end: int) -> bool:
            combination = (vector[start:end] * weights[start:end]).sum()
            found = torch.autograd.grad(combination, sources, retain_graph=True, allow_unused=True)
            seen = [g[count] for g, count in zip(found, counts, strict=True) if g is not None]
            return any(bool((g.isfinite() & (g != 0)).any()) for g in seen)

        guilty = np.zeros(len(vector), dtype=bool)
        guilty[list(bisect(depends, 0, len(vector)))] = True
        self.accidents += int(guilty.sum())
        start = 0
        for mask in masks.values():
            end = start + int(mask.sum())
            mask[mask] = ~guilty[start:end]
            start = end


class Watcher(fx.Interpreter):
    """Shows every tensor of a run in the moment in which it is computed, but for those computed from NaN."""

    def __init__(self, module: fx.GraphModule, see: See) -> None:
        super().__init__(module)
        self.see = see
        self.tainted: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.target in EMPTY:
            value.normal_()  # memory as it was found may hold anything
        found = tensors(value)
        if any(each in self.tainted for each in n.all_input_nodes) or any(bool(each.isnan().any()) for each in found):
            self.tainted.add(n)
        elif n.op != "output":
            self.see(n, found)
        return value


class State:
    """The parameters and buffers of a module, to be drawn anew with their zeros in place."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.parameters = {p: p.detach().clone() for p in module.parameters() if p.is_floating_point()}
        self.buffers = {name: (buffer, buffer.clone()) for name, buffer in module.named_buffers()}

    @torch.no_grad()
    def redraw(self, generator: Generator | None) -> None:
        """Draw everything anew, or put everything back where there is no generator."""
        for parameter, value in self.parameters.items():
            parameter.copy_(value if generator is None else another(value, generator))
        for name, (buffer, value) in self.buffers.items():
            buffer.copy_(value)
            if generator is not None and name.endswith(("running_mean", "running_var")):
                drawn = normal(tuple(value.shape), generator)
                buffer.copy_(drawn if name.endswith("mean") else drawn.exp())

    def leaves(self) -> list[Tensor]:
        """Return every parameter, frozen ones too, ready for gradients."""
        return [parameter.requires_grad_() for parameter in self.parameters]


def another(value: Tensor, generator: Generator) -> Tensor:
    """Return other values than these with the same zeros: scaled, or drawn with both signs, or with one."""
    kind, power = torch.rand(2, generator=generator).tolist()
    if kind < 0.25:
        drawn = value
    else:
        size = value[value != 0].square().mean().sqrt() if value.any() else value.new_zeros(())
        drawn = normal(tuple(value.shape), generator) * size
        drawn = drawn if kind < 0.6 else drawn.abs() if kind < 0.8 else -drawn.abs()
    return torch.where(value == 0, value, drawn * 10 ** (1.5 * power - 1))


def draw_inputs(examples: tuple[Any, ...], number: int, generator: Generator) -> list[Any]:
    """Return inputs like the examples: of one distribution after the other, then of another in each row.

    What is not floating-point is drawn from the examples' own values.
    """

    def one(example: Any) -> Any:
        if not isinstance(example, Tensor):
            return example
        shape = tuple(example.shape)
        if not is_float(example):
            return example.flatten()[torch.randint(example.numel(), shape, generator=generator)]
        if number < len(DISTRIBUTIONS) or not shape:
            return DISTRIBUTIONS[number % len(DISTRIBUTIONS)](shape, generator).to(example.dtype, copy=True)
        chosen = torch.randint(len(DISTRIBUTIONS), shape[:1], generator=generator).tolist()
        return torch.cat([DISTRIBUTIONS[each]((1, *shape[1:]), generator) for each in chosen]).to(example.dtype)

    return [one(example) for example in examples]


def bisect(depends: Callable[[int, int], bool], start: int, end: int) -> Iterator[int]:
    """Yield the numbers from ``start`` up to ``end`` on which it depends, told only of ranges."""
    if start == end or not depends(start, end):
        return
    if end - start == 1:
        yield start
        return
    middle = (start + end) // 2
    yield from bisect(depends, start, middle)
    yield from bisect(depends, middle, end)


@torch.no_grad()
def scatter(model: nn.Module, seed: int) -> None:
    """Draw all parameters anew and set random slices of them to zero, but for what is divided by its own norm."""
    spared = {p: p.clone() for name, p in model.named_parameters() if name.endswith(DIVISORS)}
    sprinkle(model, seed)
    for parameter, value in spared.items():
        parameter.copy_(value)


def parts(value: Tensor) -> Tensor:
    """Return real numbers that depend on whatever a complex number depends on."""
    return value.real + 0.7 * value.imag if value.is_complex() else value


def is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def masks_in(masks: Any) -> list[np.ndarray]:
    """Return the masks in a structure of them, in order."""
    if isinstance(masks, tuple):
        return [mask for each in masks for mask in masks_in(each)]
    return [] if masks is None else [masks]


def standing_for(node: fx.Node, mode: Mode) -> fx.Node:
    """Return the node that computes the value of ``node`` in a mode: another one only for a choice by mode."""
    operand = operand_of(node, mode)
    return node if operand is None else standing_for(operand, mode)
