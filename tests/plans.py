"""Plans: small networks written down as lists of steps, so that a failing one can be printed and shrunk.

Values are counted: the inputs come first, then the result of each step. A plan is plain data; ``build`` makes
the network, with random weights away from zero and calibrated BatchNorm statistics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from plan_operators import FUNCTIONS, LAYERS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

EXAMPLE_BATCH = 3
VOCABULARY = 11
RANDOM_LAYERS = {"dropout", "dropout2d", "f_dropout", "drop_path"}
BROADCAST = {"pool_to_pixel", "mean_token", "pixel_view"}
IN_PLACE = {"iadd", "iadd_on_view", "add_", "set_in_place", "relu_", "leaky_relu_", "relu_on_view"}


@dataclass
class Prediction:
    """What some networks return: the first output by name, the others together."""

    first: Tensor
    others: tuple[Tensor, ...] | None = None


CONTAINERS: dict[str, Callable[[tuple[Tensor, ...]], Any]] = {
    "plain": lambda outputs: outputs[0] if len(outputs) == 1 else outputs,
    "dict": lambda outputs: {f"output{number}": output for number, output in enumerate(outputs)},
    "nested": lambda outputs: {"all": [outputs, {"first": outputs[0]}]},
    "dataclass": lambda outputs: Prediction(outputs[0], outputs[1:] or None),
}

# How often each construct must occur in 200 random models, at least.
COVERAGE = {
    60: "add cat linear conv batch_norm relu reused_branch in_place",
    20: "add3 mul grouped depthwise dilated conv_transpose no_affine group_norm prelu layer_norm "
    "sigmoid gelu tied_module several_inputs several_outputs broadcast_pixel norm_after_cat random",
    10: "born sub broadcast_channel stack_sum stack_mean gated glu f_glu mha sdpa hand_attention "
    "tied_parameter relu_ relu_in_place relu_on_view branch_of_several_joints max_pool avg_pool "
    "rms_norm swiglu layer_scale position class_token cross_attention ids batch_norm_after_cat",
    5: "iadd add_ squeeze_excite dropout dropout2d f_dropout drop_path damped frozen maximum token_mixing token_conv "
    "mean_token upsample pixel_linear",
    2: "leaky_relu_ part_written table_position causal float16 bfloat16 autocast sync dead overflowing behind_where",
}


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        op: its name in ``LAYERS`` or ``FUNCTIONS``.
        inputs: numbers of the values that it reads.
        options: arguments of the layer or of the function.
        shares: number of the earlier step whose module it calls again.
    """

    op: str
    inputs: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    shares: int | None = None


@dataclass(frozen=True)
class Plan:
    """A network as data.

    Attributes:
        inputs: shape of one example of each input; ``("ids", T)`` for ``T`` token numbers.
        steps: the operations, in order.
        outputs: numbers of the values that are returned.
        ties: pairs of steps whose modules hold the same ``weight``.
        frozen: steps whose first parameter is not trainable.
        auxiliary: whether the last output is returned in train mode alone.
        container: in which of ``CONTAINERS`` the outputs are returned.
        channels_last: whether the weights of convolutions lie in memory channels last.
        born: steps whose module starts with zeros, as the last norms of residual branches and adapters do.
        precision: in what it is compared as well: float16, bfloat16, or float32 under autocast.
        seed: of the weights.
    """

    inputs: tuple[tuple[Any, ...], ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    ties: tuple[tuple[int, int], ...] = ()
    frozen: tuple[int, ...] = ()
    auxiliary: bool = False
    container: str = "plain"
    channels_last: bool = False
    born: tuple[int, ...] = ()
    precision: str = "float64"
    seed: int = 0

    def __str__(self) -> str:
        lines = [f"v{i} = input{shape}" for i, shape in enumerate(self.inputs)]
        for number, step in enumerate(self.steps):
            reads = ", ".join(f"v{i}" for i in step.inputs)
            options = ", ".join(f"{key}={value}" for key, value in step.options.items())
            shared = "" if step.shares is None else f"  # the module of step {step.shares}"
            value = len(self.inputs) + number
            lines.append(f"v{value} = {step.op}({reads}; {options})  # step {number}{shared}")
        lines.append(f"return {', '.join(f'v{i}' for i in self.outputs)}")
        flags = f"auxiliary={self.auxiliary} container={self.container} channels_last={self.channels_last}"
        more = f"born={self.born} precision={self.precision} seed={self.seed}"
        return "\n".join([*lines, f"ties={self.ties} frozen={self.frozen} {flags} {more}"])

    def random_inputs(self, batch: int, seed: int) -> tuple[Tensor, ...]:
        """Return random inputs in float64, token numbers in int64."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            torch.randint(VOCABULARY, (batch, shape[1]), generator=generator)
            if shape[0] == "ids"
            else torch.randn(batch, *shape, generator=generator, dtype=torch.float64)
            for shape in self.inputs
        )

    def bypassed(self, value: int, source: int) -> Plan:
        """Let all that reads a value read what it was computed from."""

        def other(values: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(source if each == value else each for each in values)

        steps = tuple(replace(step, inputs=other(step.inputs)) for step in self.steps)
        return replace(self, steps=steps, outputs=other(self.outputs))

    def read_only(self) -> Plan:
        """Leave out the steps that no output needs; what called a module of theirs again gets one of its own."""
        first = len(self.inputs)
        needed: set[int] = set()
        pending = list(self.outputs)
        while pending:
            value = pending.pop()
            if value >= first and value - first not in needed:
                needed.add(value - first)
                pending += self.steps[value - first].inputs
        kept = sorted(needed)
        place = {old: new for new, old in enumerate(kept)}
        values = {value: value for value in range(first)} | {first + old: first + new for old, new in place.items()}
        steps = tuple(
            replace(
                self.steps[old],
                inputs=tuple(values[each] for each in self.steps[old].inputs),
                shares=place.get(self.steps[old].shares) if self.steps[old].shares is not None else None,
            )
            for old in kept
        )
        return replace(
            self,
            steps=steps,
            outputs=tuple(values[each] for each in self.outputs),
            ties=tuple((place[a], place[b]) for a, b in self.ties if a in place and b in place),
            frozen=tuple(place[each] for each in self.frozen if each in place),
            born=tuple(place[each] for each in self.born if each in place),
        )


class PlannedModel(nn.Module):
    """The network of a plan; its modules are named ``<op><step>``.

    Attributes:
        perturbation: seed of random factors on what each step returns, of a network with the same ways from inputs to
            outputs in which nothing cancels.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.perturbation: int | None = None
        for number, step in enumerate(plan.steps):
            if step.op in LAYERS and step.shares is None:
                self.add_module(f"{step.op}{number}", LAYERS[step.op](**step.options))
        for first, second in plan.ties:
            self.module_of(second).weight = self.module_of(first).weight
        for number in plan.frozen:
            next(self.module_of(number).parameters()).requires_grad_(False)

    def module_of(self, number: int) -> nn.Module:
        """Return the module that a step calls."""
        shares = self.plan.steps[number].shares
        home = number if shares is None else shares
        return self.get_submodule(f"{self.plan.steps[home].op}{home}")

    def values(self, *inputs: Tensor) -> list[Tensor]:
        """Return the inputs and what each step computes."""
        values = list(inputs)
        for number, step in enumerate(self.plan.steps):
            arguments = [values[i] for i in step.inputs]
            if step.op in LAYERS:
                values.append(self.module_of(number)(*arguments))
            else:
                values.append(FUNCTIONS[step.op](*arguments, **step.options))
            if self.perturbation is not None:
                values[-1] = values[-1] * factors(values[-1], 1000 * self.perturbation + number)
        return values

    def forward(self, *inputs: Tensor) -> Any:
        values = self.values(*inputs)
        returned = self.plan.outputs[:-1] if self.plan.auxiliary and not self.training else self.plan.outputs
        return CONTAINERS[self.plan.container](tuple(values[i] for i in returned))


def factors(value: Tensor, seed: int) -> Tensor:
    """Return random factors for the entries of an example, the same for all of a batch."""
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + torch.rand(value.shape[1:], generator=generator, dtype=torch.float64)


def build(plan: Plan) -> tuple[PlannedModel, tuple[Tensor, ...]]:
    """Return the network of ``plan`` in float64 and eval mode, and example inputs for it."""
    model = PlannedModel(plan).double()
    randomise(model, plan.seed)
    calibrate(model, plan)
    if plan.channels_last:
        model.to(memory_format=torch.channels_last)
    return model.eval(), plan.random_inputs(EXAMPLE_BATCH, plan.seed)


def randomise(model: nn.Module, seed: int) -> None:
    """Give every parameter random entries: matrices keep the scale, vectors stay away from zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.3
        away = 0.0 if parameter.dim() > 1 else 0.5
        parameter.data.copy_(noise * scale + away * noise.sign())  # which may lie in any order


def calibrate(model: nn.Module, plan: Plan) -> None:
    """Average the BatchNorm statistics over a few batches in train mode."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
    model.train()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        for batch in range(3):
            model(*plan.random_inputs(4, 1000 + batch))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def give_birth(model: PlannedModel) -> None:
    """Set to zero what starts as zero: a weight alone or a bias as well, sometimes with the sign of minus zero."""
    for number in model.plan.born:
        module = model.module_of(number)
        for parameter in list(module.parameters())[: 1 + model.plan.seed % 2]:
            parameter.data.zero_()
            if model.plan.seed % 3 == 0:
                parameter.data.neg_()


def without_chance(plan: Plan) -> Plan:
    """Return the plan with nothing drawn at random, and with statistics for each call of a norm."""
    for number, step in enumerate(plan.steps):
        if step.op in RANDOM_LAYERS:
            plan = plan.bypassed(len(plan.inputs) + number, step.inputs[0])
    steps = tuple(
        replace(step, options=step.options | ({"dropout": 0.0} if "dropout" in step.options else {}),
                shares=None if step.op == "batch_norm" else step.shares)
        for step in plan.steps
    )  # fmt: skip
    return replace(plan, steps=steps).read_only()


def is_random(plan: Plan) -> bool:
    """Whether the network draws random numbers in train mode."""
    return any(step.op in RANDOM_LAYERS or step.options.get("dropout") for step in plan.steps)


def is_opaque(plan: Plan) -> bool:
    """Whether a module cannot be followed: then the sizes of what it returns are known from itself alone."""
    return any(step.op == "outside" for step in plan.steps)


def reuses_statistics(plan: Plan) -> bool:
    """Whether a BatchNorm is called twice."""
    return any(step.op == "batch_norm" and step.shares is not None for step in plan.steps)


def constructs(plan: Plan) -> set[str]:
    """Name the constructs that occur in ``plan``; the tests count them over many plans."""
    found = {step.op for step in plan.steps} | {name for step in plan.steps for name in variants(plan, step)}
    readers = Counter(value for step in plan.steps for value in set(step.inputs))
    joints = Counter(value for step in plan.steps if len(step.inputs) > 1 for value in set(step.inputs))
    flags = {
        "tied_parameter": plan.ties,
        "tied_module": any(step.shares is not None for step in plan.steps),
        "frozen": plan.frozen,
        "several_inputs": len(plan.inputs) > 1,
        "several_outputs": len(plan.outputs) > 1,
        "ids": any(shape[0] == "ids" for shape in plan.inputs),
        "auxiliary": plan.auxiliary,
        "channels_last": plan.channels_last,
        "born": plan.born,
        plan.precision: True,
        plan.container: True,
        "output_of_output": set(plan.outputs) & {value for step in plan.steps for value in step.inputs},
        "tied_embedding": any(plan.steps[first].op != plan.steps[second].op for first, second in plan.ties),
        "reused_branch": any(count > 1 for count in readers.values()),
        "branch_of_several_joints": any(count > 1 for count in joints.values()),
        "in_place": found & {*IN_PLACE, "relu_in_place"},
        "random": is_random(plan),
    }
    return found | {name for name, flag in flags.items() if flag}


def variants(plan: Plan, step: Step) -> set[str]:
    """Name what is special about one step."""
    options = step.options
    sources = [plan.steps[i - len(plan.inputs)] for i in step.inputs if i >= len(plan.inputs)]
    writers = {source.op for source in sources}
    narrow = any(1 in (s.options.get("out_channels"), s.options.get("out_features")) for s in sources)
    groups = options.get("groups", 1)
    flags = {
        "add3": step.op == "add" and len(step.inputs) == 3,
        "broadcast_pixel": step.op in {"add", "mul"} and writers & BROADCAST,
        "broadcast_channel": step.op in {"add", "mul"} and narrow,
        "gated": step.op == "mul" and writers & {"sigmoid", "f_sigmoid"},
        "norm_after_cat": step.op.endswith("_norm") and "cat" in writers,
        "batch_norm_after_cat": step.op == "batch_norm" and "cat" in writers,
        "depthwise": step.op == "conv" and 1 < groups == options["in_channels"],
        "grouped": step.op == "conv" and 1 < groups < options["in_channels"],
        "dilated": options.get("dilation", 1) > 1,
        "no_affine": False in (options.get("affine"), options.get("elementwise_affine")),
        "no_momentum": options.get("momentum", 0.1) is None,
        "no_statistics": options.get("track_running_stats") is False,
        "padding_mode": options.get("padding_mode", "zeros") != "zeros",
        "ceil_mode": options.get("ceil_mode"),
        "sync": options.get("sync"),
        "causal": options.get("causal"),
        "no_affine_instance": step.op == "instance_norm" and not options["affine"],
        "without_padding": options.get("count_include_pad") is False,
        f"{step.op}:{options.get('kind')}": step.op in {"odd_conv", "odd_linear", "odd_norm"},
        "instance_statistics": step.op == "instance_norm" and options["track_running_stats"],
        "relu_in_place": step.op == "relu" and options.get("inplace"),
        "cross_attention": step.op == "mha" and len(step.inputs) == 2,
    }
    return {name for name, flag in flags.items() if flag}
