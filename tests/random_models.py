"""Random networks: convolutional and token models, as plans drawn by hypothesis or by a seed."""

from __future__ import annotations

import random
from typing import Any

from drawing import Choose, Drawing, Shape
from hypothesis import strategies as st
from plans import Plan, PlannedModel, build
from torch import Tensor

PASSING = (  # keep the shape, no numbers to choose
    *(
        "identity",
        "monitor",
        "nobody_reads",
        "dead",
        "outside",
        "one_minus",
        "zero_minus",
        "overflowing",
        "behind_where",
        "island",
        "centred",
        "shuffle",
        "chain",
        "unrecorded",
        "watched",
    ),
)
ODD = (
    *("hook", "pre_hook", "pruned", "old_weight_norm", "weight_norm", "old_spectral_norm", "spectral_norm"),
    *("subclass", "strided", "lazy"),
)
ODD_NORMS = ("hook", "pre_hook", "pruned", "subclass", "weight_norm", "old_weight_norm")


class Images(Drawing):
    """A convolutional network; values are ``(C, H, W)``."""

    channel_dim = 0
    passing = PASSING
    joints = (*Drawing.joints, "norm_of_cat", "squeeze_excite")
    stems = (
        "conv3",
        "conv1",
        "grouped",
        "depthwise",
        "dilated",
        "transposed",
        "upsampled",
        "glu",
        "odd",
        "pixel_linear",
    )
    norms = ("batch_norm", "none", "batch_norm", "group_norm", "plain_batch_norm", "instance_norm")
    activations = (
        *("relu", "none", "leaky_relu", "relu_", "relu_in_place", "prelu", "gelu", "silu", "hardswish"),
        *("tanh", "relu_on_view", "sigmoid"),
    )

    def conv(self, value: int, width: int, kernel: int, stride: int = 1, **options: Any) -> int:
        channels, *sides = self.shapes[value]
        options |= {"padding": options.get("dilation", 1) * (kernel // 2), "bias": self.choose((True, False))}
        options |= {"in_channels": channels, "out_channels": width, "kernel_size": kernel, "stride": stride}
        if kernel > 1 and self.one_in(6):
            options["padding_mode"] = self.choose(("reflect", "replicate", "circular"))
        return self.put("conv", value, shape=(width, *(-(-side // stride) for side in sides)), **options)

    def stem(self, value: int, width: int) -> int:
        """Append one of the kinds of convolutions, to ``width`` channels at the same resolution."""
        kind = self.choose(self.stems)
        channels, height, _ = self.shapes[value]
        shape = self.widened(value, width)
        if kind == "grouped":
            return self.conv(value, width, 3, groups=2)
        if kind == "depthwise":
            return self.conv(self.conv(value, channels, 3, groups=channels), width, 1)
        if kind == "dilated":
            return self.conv(value, width, 3, dilation=2)
        if kind == "pixel_linear":
            return self.put(kind, value, shape=shape, in_features=channels, out_features=width)
        if kind == "odd":
            kinds = (*ODD, "standardised")
            return self.odd(value, width, ("odd_conv",) * 3, kinds, kernel_size=3, padding=1)
        if kind == "glu":
            return self.put(self.choose(("glu", "f_glu")), self.conv(value, 2 * width, 1), shape=shape, dim=1)
        if kind == "transposed" and height % 2 == 0:
            small = self.conv(value, 4, 3, stride=2)
            options = {"in_channels": 4, "out_channels": width, "kernel_size": 2, "stride": 2}
            return self.put("conv_transpose", small, shape=shape, **options, groups=self.choose((1, 2)))
        if kind == "upsampled":
            return self.put("upsample", self.conv(value, width, 3, stride=2), value, shape=shape)
        return self.conv(value, width, 1 if kind == "conv1" else 3)

    conditioned = False  # whether a vector shifts channels: instance norm would undo that

    def norm(self, value: int, kinds: tuple[str, ...]) -> int:
        kind = self.choose(kinds)
        if kind == "none":
            return value
        if kind == "instance_norm" and self.conditioned:
            kind = "batch_norm"
        if kind == "group_norm":
            options = {"num_groups": self.choose((1, 2)), "num_channels": self.width(value)}
            return self.put(kind, value, **options, affine=not self.one_in(4))
        options = {"num_features": self.width(value), "affine": kind == "batch_norm"}
        if kind == "instance_norm":
            options |= {"affine": not self.one_in(4), "track_running_stats": self.one_in(3)}
            return self.put("silu", self.put(kind, value, **options))  # a pooling right behind it finds a constant
        if kind == "batch_norm" and self.one_in(12):
            return self.put("odd_norm", value, kind=self.choose(ODD_NORMS), width=self.width(value), images=True)
        special = self.choose(({},) * 8 + ({"momentum": None}, {"track_running_stats": False}))
        if not options["affine"] and "track_running_stats" in special:
            special = {}  # it would map what is the same all over to zero
        if self.one_in(12):
            special = {**special, "sync": True}
        return self.put("batch_norm", value, **options, **special)

    def path(self, value: int, width: int) -> int:
        for _ in range(self.choose((1, 1, 2))):
            if self.one_in(4):
                value = self.stem(self.activation(self.norm(value, self.norms), self.activations), width)
            else:
                value = self.activation(self.norm(self.stem(value, width), self.norms), self.activations)
        kind = self.choose(("none",) * 37 + ("dropout", "dropout2d", "f_dropout", "drop_path", "damped", *self.passing))
        return self.regularise(value, kind)

    def skip(self, value: int) -> int:
        options = {"kernel_size": 3, "stride": 1, "padding": 1}
        if self.one_in(2):
            return self.put("max_pool", value, **options)
        return self.put("avg_pool", value, **options, count_include_pad=not self.one_in(3))

    def norm_of_cat(self, value: int) -> int:
        value = self.norm(value, ("batch_norm",) * 5 + ("plain_batch_norm", "group_norm"))
        return self.activation(value, ("relu", "relu", "relu_in_place", "gelu", "prelu", "none", "tanh"))

    def broadcast(self, value: int, width: int, joint: str) -> int:
        if self.one_in(2):
            return self.conv(value, 1, 1)
        return self.put("pool_to_pixel", self.path(value, width), shape=(width, 1, 1))

    def condition(self, value: int) -> None:
        """Scale or shift the newest value by a vector."""
        self.conditioned = True
        width = self.width(self.pool[-1])
        small = self.put("pixel_view", self.linear(value, width), shape=(width, 1, 1))
        self.pool.append(self.put(self.choose(("add", "mul")), self.pool[-1], small))

    def vector(self, value: int) -> int:
        channels, *sides = self.shapes[value]
        if self.one_in(4):
            sides = [side // 3 for side in sides]
            value = self.put("max_pool", value, shape=(channels, *sides), kernel_size=3)
        else:
            sides = [1, 1]
            value = self.put("pool_to_pixel", value, shape=(channels, *sides))
        return self.put("flatten", value, shape=(channels * sides[0] * sides[1],))

    def halve(self) -> None:
        """Go to half the resolution; the next blocks read the smaller values only."""
        value, smaller = self.pick(), []
        for _ in range(self.choose((1, 2))):
            channels, height, breadth = self.shapes[value]
            if self.one_in(2):
                half = (channels, height // 2, breadth // 2)
                window = self.choose(({"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "ceil_mode": True}))
                smaller.append(self.put("max_pool", value, shape=half, **window))
            else:
                small = self.conv(value, self.choose((4, 8)), 3, stride=2)
                smaller.append(self.norm(small, ("batch_norm", "none")))
        self.pool = smaller


class Tokens(Drawing):
    """A transformer-like network; values are ``(T, D)``."""

    channel_dim = 1
    passing = PASSING
    stems = ("linear", "mha", "sdpa", "hand_attention", "mlp", "swiglu", "glu", "token_mixing", "token_conv", "odd")
    joints = (*Drawing.joints, "baddbmm")
    norms = ("none", "layer_norm", "layer_norm", "rms_norm", "token_batch_norm")
    # No ReLU: a few tokens of four channels are often negative throughout, and the network ignores its input.
    activations = ("none", "gelu", "leaky_relu", "silu", "leaky_relu_", "prelu", "tanh", "sigmoid")
    context: int | None = None
    causal = True
    embedding: int | None = None  # the step, as of the head that holds its weight
    tied_head: int | None = None

    def attend(self, kind: str, value: int) -> int:
        width = self.width(value)
        options: dict[str, Any] = {"width": width, "heads": 2}
        if kind != "mha":
            options["joint"] = self.choose((False, True))
        if kind == "hand_attention":
            options["causal"] = self.choose((False, True) if self.causal else (False,))
        else:
            options["dropout"] = self.choose((0.0,) * 11 + (0.25,))
        if kind == "mha" and self.context is not None and self.width(self.context) == width and self.one_in(2):
            return self.put(kind, value, self.context, **options)
        return self.put(kind, value, **options)

    def stem(self, value: int, width: int) -> int:
        """Append one of the kinds of token layers, to ``width``."""
        kind = self.choose(self.stems)
        tokens, own = self.shapes[value]
        if kind == "odd":
            return self.odd(value, width, ("odd_linear",) * 3, ODD)
        if kind in {"mha", "sdpa", "hand_attention"}:
            value = self.attend(kind, value)
        elif kind == "mlp":
            return self.linear(self.activation(self.linear(value, 8), ("gelu", "leaky_relu", "silu")), width)
        elif kind == "swiglu":
            value = self.put(kind, value, width=own)
        elif kind == "glu":
            shape = (tokens, width)
            return self.put(self.choose(("glu", "f_glu")), self.linear(value, 2 * width), shape=shape, dim=-1)
        elif kind == "token_mixing":
            value = self.put(kind, value, tokens=tokens)
        elif kind == "token_conv":
            value = self.put(kind, value, width=own, groups=self.choose((1, 2)))
        return value if self.width(value) == width and kind != "linear" else self.linear(value, width)

    def norm(self, value: int, kinds: tuple[str, ...]) -> int:
        kind = self.choose(kinds)
        if kind == "none":
            return value
        if kind == "token_batch_norm":
            return self.put(kind, value, width=self.width(value), affine=not self.one_in(4))
        if kind == "layer_norm" and self.one_in(12):
            return self.put("odd_norm", value, kind=self.choose(ODD_NORMS), width=self.width(value), images=False)
        options = {"normalized_shape": self.width(value), "elementwise_affine": not self.one_in(6)}
        return self.put(kind, value, **options)

    def path(self, value: int, width: int) -> int:
        value = self.stem(self.norm(value, self.norms), width)
        if self.one_in(3):
            value = self.norm(value, self.norms)
        value = self.activation(value, self.activations) if self.one_in(2) else value
        if self.one_in(5):
            value = self.put("layer_scale", value, width=width)
        if self.one_in(8):
            value = self.put("rotary", value, width=width)
        kind = self.choose(("none",) * 22 + ("dropout", "f_dropout", "drop_path", "damped", *self.passing))
        return self.regularise(value, kind)

    def skip(self, value: int) -> int:
        return self.put("tanh", value)

    def second_head(self, vector: int) -> int:
        """Append a head, sometimes with the embedding's weight."""
        width = self.shapes[vector][0]
        if self.embedding is None or self.steps[self.embedding].options["embedding_dim"] != width or self.one_in(4):
            return super().second_head(vector)
        head = self.put("linear", vector, shape=(11,), in_features=width, out_features=11, bias=False)
        self.tied_head = len(self.steps) - 1
        return head

    def ties(self) -> tuple[tuple[int, int], ...]:
        own = () if self.embedding is None or self.tied_head is None else ((self.embedding, self.tied_head),)
        return (*own, *super().ties())

    def norm_of_cat(self, value: int) -> int:
        return self.norm(value, ("layer_norm", "rms_norm"))

    def broadcast(self, value: int, width: int, joint: str) -> int:
        # Added to zero, one column is the same in all channels, which LayerNorm makes constant: a dead network.
        if joint == "mul" and self.one_in(2):
            return self.linear(value, 1)
        return self.put("mean_token", self.path(value, width), shape=(1, width))

    def vector(self, value: int) -> int:
        pool = self.choose(("mean_of_tokens", "first_token", "mean_of_tokens"))
        return self.put(pool, value, shape=(self.width(value),))


def draw_images(choose: Choose) -> Images:
    """Draw a convolutional network: an image comes in, sometimes also a vector or a second image."""
    side = choose((8, 10, 9))
    extra: tuple[Shape, ...] = choose(((), (), (), ((5,),), ((3, side, side),)))
    net = Images(choose, ((3, side, side), *extra))
    image = net.put("single_precision", 0) if net.one_in(12) else 0
    net.pool = [net.norm(net.conv(image, choose((4, 6, 8)), 3), net.norms)]
    if len(extra) == 1 and len(extra[0]) == 3:
        net.pool.append(net.conv(1, 4, 3))
    blocks = choose((1, 2, 3, 4))
    for number in range(blocks):
        if number == 2 and side % 2 == 0 and choose((False, True)):
            net.halve()
        net.block()
        if number == 0 and extra and len(extra[0]) == 1:
            net.condition(1)
    return net


def draw_tokens(choose: Choose) -> Tokens:
    """Draw a token network on numbers, vectors or patches, sometimes with a second sequence to look at."""
    kind = choose(("vectors", "ids", "patches"))
    width = choose((4, 8))
    tokens = choose((4, 5))
    extra: tuple[Shape, ...] = choose(((), (), ((3, width),)))
    first = {"vectors": (tokens, 6), "ids": ("ids", tokens), "patches": (3, 8, 8)}[kind]
    net = Tokens(choose, (first, *extra))
    if kind == "ids":
        net.embedding = 0
        value = net.put("embedding", 0, shape=(tokens, width), num_embeddings=11, embedding_dim=width)
    elif kind == "patches":
        options = {"in_channels": 3, "out_channels": width, "kernel_size": 4, "stride": 4}
        value = net.put("to_tokens", net.put("conv", 0, shape=(width, 2, 2), **options), shape=(4, width))
    else:
        value = net.linear(0, width)
    position = choose((None, "position", None, "position", "table_position", "indexed_position"))
    if position:
        value = net.put(position, value, tokens=net.shapes[value][0], width=width)
    if choose((False, True)):
        value = net.put("class_token", value, shape=(net.shapes[value][0] + 1, width), width=width)
        net.causal = False  # only attention tells that token anything of the input; it would see itself alone
        value = net.put("add", value, net.attend("mha", value))
    if extra:
        net.context = net.linear(1, width)
        value = net.put("add", value, net.put("mha", value, net.context, width=width, heads=2, dropout=0.0))
    net.pool = [value]
    for _ in range(choose((1, 2, 3, 4))):
        net.block()
    return net


def draw_plan(choose: Choose) -> Plan:
    """Draw a network by ``choose``, which picks one of a sequence."""
    net = choose((draw_images, draw_images, draw_tokens))(choose)
    return net.finish(seed=choose(range(1000)))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Strategy of plans; shrinks to few, plain blocks."""
    return draw_plan(lambda options: draw(st.sampled_from(options)))


def random_model(seed: int) -> tuple[PlannedModel, tuple[Tensor, ...]]:
    """Return the network of a seed in float64 and eval mode, and example inputs for it."""
    return build(draw_plan(random.Random(seed).choice))
