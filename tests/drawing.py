"""Drawing a random plan block by block: what image and token networks have in common.

Every choice goes through one function, ``choose``, which picks from a sequence: hypothesis' ``draw`` (so that
failures shrink: the first option is the simplest) or ``random.Random(seed).choice``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from plans import RANDOM_LAYERS, Plan, Step

Choose = Callable[[Sequence[Any]], Any]
Shape = tuple[Any, ...]

WIDTHS = (4, 6, 8)
SEVERAL = {"add", "stack_sum", "stack_mean", "stack_max", "python_sum"}  # joints of two operands or three
# Layers that may be called twice, and those that may hold the same weight.
SHARED = {"conv", "linear", "batch_norm", "layer_norm", "prelu", "mha", "sdpa", "hand_attention"}
TIED = {"conv", "linear", "batch_norm", "layer_norm", "group_norm"}
# Autograd keeps no result of these for the backward pass: they may be changed in place.
SAFE = {"conv", "conv_transpose", "batch_norm", "linear", "cat", "add", "sub"}
# And these do not keep what they read: it may be changed in place after them.
FORGETFUL = {"add", "sub", "rsub", "add_alpha", "sub_alpha", "python_sum", "stack_sum", "stack_mean", "cat", "view_add"}
CHANGES = {"relu_", "relu_in_place", "relu_on_view", "leaky_relu_"}
WRITING = {"iadd", "iadd_on_view", "add_", "set_in_place"}  # joints that write into their first operand


class Drawing(ABC):
    """A plan under construction.

    Attributes:
        shapes: of one example of each value; the inputs come first.
        pool: the values that the next block may read, all of one resolution.
        joints: where branches may meet.
    """

    channel_dim: ClassVar[int]
    joints: tuple[str, ...] = (
        *("add", "cat", "norm_of_cat", "add", "sub", "mul", "gate", "stack_sum", "stack_mean"),
        *(
            "iadd",
            "iadd_on_view",
            "add_",
            "add_alpha",
            "maximum",
            "broadcast_add",
            "broadcast_mul",
            "stack_max",
            "rsub",
            "python_sum",
        ),
        *(
            "minimum",
            "where",
            "lerp",
            "addcmul",
            "masked",
            "einsum",
            "view_add",
            "set_first_channels",
            "ratio",
            "part_written",
        ),
        *("sub_alpha", "mixed_add", "mixed_mul", "set_in_place", "iadd_on_view"),
        *("add", "add", "sub", "stack_sum", "broadcast_mul", "norm_of_cat", "stack_mean"),  # more often
    )

    def __init__(self, choose: Choose, inputs: tuple[Shape, ...]) -> None:
        self.choose = choose
        self.inputs = inputs
        self.shapes: list[Shape] = list(inputs)
        self.steps: list[Step] = []
        self.reads: Counter[int] = Counter()
        self.readers: defaultdict[int, set[str]] = defaultdict(set)
        self.pool: list[int] = []

    @abstractmethod
    def stem(self, value: int, width: int) -> int:
        """Append one layer that mixes channels, from ``value`` to ``width`` channels."""

    @abstractmethod
    def path(self, value: int, width: int) -> int:
        """Append a chain of layers from ``value`` to ``width`` channels at the same resolution."""

    @abstractmethod
    def skip(self, value: int) -> int:
        """Append an operation without parameters that keeps the shape."""

    @abstractmethod
    def norm_of_cat(self, value: int) -> int:
        """Append a norm, and mostly an activation."""

    @abstractmethod
    def broadcast(self, value: int, width: int, joint: str) -> int:
        """Return a value that ``joint`` broadcasts to ``width`` channels at the resolution of ``value``."""

    @abstractmethod
    def vector(self, value: int) -> int:
        """Return ``value`` as one vector an example."""

    def width(self, value: int) -> int:
        """Return the number of channels of ``value``."""
        return int(self.shapes[value][self.channel_dim])

    def widened(self, value: int, width: int) -> Shape:
        """Return the shape of ``value`` with ``width`` channels."""
        shape = list(self.shapes[value])
        shape[self.channel_dim] = width
        return tuple(shape)

    def one_in(self, n: int) -> bool:
        return bool(self.choose([False] * (n - 1) + [True]))

    def pick(self) -> int:
        return int(self.choose(self.pool[::-1][:4]))

    def put(self, op: str, *inputs: int, shape: Shape | None = None, **options: Any) -> int:
        """Append a step and return the number of its value; it has the first input's shape by default."""
        same = [n for n, s in enumerate(self.steps) if (s.op, s.options, s.shares) == (op, options, None)]
        shares = self.choose(same) if op in SHARED and same and self.one_in(6) else None
        self.steps.append(Step(op, inputs, options, shares))
        self.shapes.append(shape or self.shapes[inputs[0]])
        self.reads.update(inputs)
        for value in inputs:
            self.readers[value].add(op)
        return len(self.shapes) - 1

    def writable(self, value: int) -> bool:
        """Whether ``value`` may be changed in place."""
        number = value - len(self.inputs)
        return number >= 0 and self.steps[number].op in SAFE and self.readers[value] <= FORGETFUL

    def linear(self, value: int, width: int) -> int:
        shape = (*self.shapes[value][:-1], width)
        return self.put("linear", value, shape=shape, in_features=self.shapes[value][-1], out_features=width)

    def odd(self, value: int, width: int, layers: tuple[str, ...], kinds: tuple[str, ...], **options: Any) -> int:
        """Append a layer that is not what its class says, or one in the containers of ``nn``."""
        op = self.choose((*layers, "nested", "contraction", "fan"))
        own = self.width(value)
        if op in layers:
            channels = ("in_channels", "out_channels") if op == "odd_conv" else ("in_features", "out_features")
            options = {"kind": self.choose(kinds), channels[0]: own, channels[1]: width, **options}
        else:
            options = {"in_features": own, "out_features": width, "dim": self.channel_dim + 1}
            options |= {"ways": 12} if op == "fan" else {}
        return self.put(op, value, shape=self.widened(value, width), **options)

    def activation(self, value: int, names: tuple[str, ...]) -> int:
        """Append one of ``names``, in place only where that is allowed."""
        name = self.choose(names)
        if name in CHANGES and not self.writable(value):
            name = "leaky_relu" if name == "leaky_relu_" else "relu"
        if name == "none":
            return value
        if name == "relu_in_place":
            return self.put("relu", value, inplace=True)
        if name == "prelu":
            counts = (1, self.width(value)) if self.channel_dim == 0 else (1,)
            return self.put("prelu", value, num_parameters=self.choose(counts))
        return self.put(name, value)

    def regularise(self, value: int, kind: str) -> int:
        """Append what train mode does at random, one mode alone, or what keeps the shape."""
        options: dict[str, Any] = {"p": 0.25} if kind in RANDOM_LAYERS else {}
        if kind == "shuffle":
            options = {"width": self.width(value), "dim": self.channel_dim + 1, "select": self.one_in(2)}
        elif kind == "watched":
            options = {"width": self.width(value), "dim": self.channel_dim + 1}
        elif kind == "chain":
            options = {"length": 20}
        return value if kind == "none" else self.put(kind, value, **options)

    def operand(self, width: int) -> int:
        """Return a value of ``width``: a path, or something without own parameters where that fits."""
        fits = [value for value in self.pool if self.width(value) == width]
        kind = self.choose(("path", "path", "identity", "identity", "skip")) if fits else "path"
        if kind == "path":
            return self.path(self.pick(), width)
        value = int(self.choose(fits[::-1]))
        if kind == "skip":
            return self.skip(value)
        changes = self.one_in(8) and self.writable(value)  # whoever reads it later sees the change
        return self.put("leaky_relu_", value) if changes else value

    def block(self) -> None:
        """Merge paths in one joint and put the result into the pool."""
        joint = self.choose(self.joints)
        width = self.width(self.pick()) if self.one_in(2) else self.choose(WIDTHS)
        layer = self.stem if joint in WRITING else self.path
        first = layer(self.pick(), width)
        if joint in {"cat", "norm_of_cat"}:
            result = self.cat(first, joint == "norm_of_cat")
        elif joint == "squeeze_excite":
            result = self.put(joint, first, width=width, linear=self.choose((False, True)))
        elif joint == "gate":
            gate = self.put(self.choose(("sigmoid", "f_sigmoid")), self.path(self.pick(), width))
            result = self.put("mul", first, gate)
        elif joint.startswith("broadcast_"):
            joint = joint.removeprefix("broadcast_")
            operands = [first, self.broadcast(self.pick(), width, joint)]
            operands = operands[::-1] if self.one_in(2) else operands
            result = self.put(joint, *operands, shape=self.shapes[first])
        else:
            result = self.merge(joint, first, width)
        self.pool.append(result)

    def merge(self, joint: str, first: int, width: int) -> int:
        """Join ``first`` with one or two operands of its shape."""
        many = joint == "addcmul" or (joint in SEVERAL and self.one_in(2))
        others = [self.operand(width) for _ in range(2 if many else 1)]
        if joint in WRITING and not self.writable(first):
            joint = "add"
        if joint in WRITING:
            if self.one_in(3):
                self.pool.append(first)  # a later block reads the changed tensor by its old name
            options = {"dim": self.channel_dim + 1} if joint == "set_in_place" else {}
            return self.put(joint, first, *others, **options)
        operands = [*others, first] if self.one_in(3) else [first, *others]
        if joint in {"set_first_channels", "part_written"}:
            return self.put(joint, *operands, dim=self.channel_dim + 1)
        if joint in {"add_alpha", "sub_alpha"}:
            return self.put(joint, *operands, alpha=self.choose((0.5, 2, -1)))
        if joint.startswith("stack"):
            return self.put(joint, *operands, dim=self.choose((0, 1)))
        return self.put(joint, *operands)

    def cat(self, first: int, norm: bool) -> int:
        """Concatenate ``first`` with other paths; mostly go on to a normal width."""
        values = [first, *(self.operand(self.choose(WIDTHS)) for _ in range(self.choose((1, 2))))]
        values = values[::-1] if self.one_in(2) else values
        width = sum(self.width(value) for value in values)
        joined = self.put("cat", *values, shape=self.widened(first, width), dim=self.channel_dim + 1)
        if norm:
            return self.path(self.norm_of_cat(joined), self.choose(WIDTHS))
        return self.path(joined, self.choose(WIDTHS)) if self.one_in(2) else joined

    def finish(self, seed: int) -> Plan:
        """Read everything that nobody read yet into one head or two, and return the plan."""
        vectors = [self.vector(value) for value in range(len(self.shapes)) if not self.reads[value]]
        if len(vectors) > 1 and self.one_in(2):
            outputs = [self.put("add", *(self.linear(vector, 4) for vector in vectors))]
        elif len(vectors) > 1:
            width = sum(self.shapes[vector][0] for vector in vectors)
            outputs = [self.linear(self.put("cat", *vectors, shape=(width,), dim=1), 4)]
        else:
            outputs = [self.linear(vectors[0], 4)]
        if self.one_in(4):
            first = outputs[0] if self.one_in(4) else self.vector(self.pick())
            outputs.append(self.second_head(first))
        ties = self.ties()
        auxiliary = len(outputs) > 1 and self.one_in(3)
        containers = ("plain", "plain", "plain", "dict", "dataclass", "nested")  # all but the last in order
        container = self.choose(containers[:-1] if auxiliary else containers)
        channels_last = self.channel_dim == 0 and self.one_in(6)
        precision = self.choose(("float64",) * 9 + ("float16", "bfloat16", "autocast"))
        plan = Plan(self.inputs, tuple(self.steps), tuple(outputs), ties, self.frozen())
        plan = replace(plan, born=self.born(), precision=precision)
        plan = replace(plan, auxiliary=auxiliary, container=container, channels_last=channels_last, seed=seed)
        return enlarged(plan) if self.one_in(60) else plan

    def second_head(self, vector: int) -> int:
        return self.linear(vector, 3)

    def ties(self) -> tuple[tuple[int, int], ...]:
        """Draw two layers that share one weight, sometimes."""
        own = [
            (number, step)
            for number, step in enumerate(self.steps)
            if step.op in TIED and step.shares is None and self.has_weight(step)
        ]
        pairs = [(m, n) for m, a in own for n, b in own if m < n and (a.op, a.options) == (b.op, b.options)]
        return (self.choose(pairs),) if pairs and self.one_in(5) else ()

    def born(self) -> tuple[int, ...]:
        """Draw a layer that starts with zeros, sometimes."""
        own = [n for n, s in enumerate(self.steps) if s.op in TIED and s.shares is None and self.has_weight(s)]
        return (self.choose(own),) if own and self.one_in(6) else ()

    @staticmethod
    def has_weight(step: Step) -> bool:
        return step.options.get("affine", True) and step.options.get("elementwise_affine", True)

    def frozen(self) -> tuple[int, ...]:
        """Draw layers whose weight is not trainable, though the bias may be, sometimes: one, or all up to there."""
        layers = [n for n, s in enumerate(self.steps) if s.shares is None and s.op in TIED and self.has_weight(s)]
        if not layers or not self.one_in(12):
            return ()
        last = self.choose(layers)
        return tuple(each for each in layers if each <= last) if self.one_in(4) else (last,)


def enlarged(plan: Plan) -> Plan:
    """Let chains be of five thousand vertices and concats of two hundred ways."""
    sizes: dict[str, dict[str, int]] = {"chain": {"length": 2500}, "fan": {"ways": 200}}
    steps = (replace(step, options=step.options | sizes.get(step.op, {})) for step in plan.steps)
    return replace(plan, steps=tuple(steps))
