"""Concats: a zero block is cut out with every reader's channels, where every reader allows that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autosubnet
from subnet.checks import example, left, operations, report_of, same, settled, shrink, zero

X = example(3, 3, 8, 8)
SIZES = (example(2, 3, 12, 10),)


class Cat(nn.Module):
    """Blocks of 2, 3 and 4 channels side by side, then ``reader``, then a head of its own."""

    def __init__(self, reader: nn.Module, width: int = 5) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, channels, 3, padding=1) for channels in (2, 3, 4))
        self.reader = reader
        self.head = nn.LazyLinear(2) if width == 0 else nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reader(torch.cat([F.gelu(self.a(x)), F.gelu(self.b(x)), F.gelu(self.c(x))], 1))
        return self.head(y.mean((2, 3)) if y.ndim == 4 else y)


def kept(subnet: nn.Module, name: str) -> dict[int, tuple[int, ...]]:
    return {dim: tuple(indices) for dim, indices in report_of(subnet).kept[name].items()}


def shape(subnet: nn.Module, name: str) -> tuple[int, ...]:
    return tuple(subnet.get_parameter(name).shape)


MIDDLE = (0, 1, 5, 6, 7, 8)


def test_the_columns_of_a_zero_block_go() -> None:
    subnet = shrink(settled(Cat(nn.Conv2d(9, 5, 3)), X), (X,), "b", sizes=SIZES)
    assert "b" not in left(subnet)
    assert kept(subnet, "reader.weight") == {1: MIDDLE}
    assert shape(subnet, "reader.weight") == (5, 6, 3, 3)
    assert subnet.get_submodule("reader").in_channels == 6
    assert operations(subnet).count("cat") == 1


@pytest.mark.parametrize(("gone", "indices"), [("a", (2, 3, 4, 5, 6, 7, 8)), ("c", (0, 1, 2, 3, 4))])
def test_the_first_and_the_last_block(gone: str, indices: tuple[int, ...]) -> None:
    subnet = shrink(settled(Cat(nn.Conv2d(9, 5, 1)), X), (X,), gone, sizes=SIZES)
    assert kept(subnet, "reader.weight") == {1: indices}


def test_one_block_alone_needs_no_concat() -> None:
    subnet = shrink(settled(Cat(nn.Conv2d(9, 5, 1)), X), (X,), "a", "c", sizes=SIZES)
    assert "cat" not in operations(subnet)
    assert kept(subnet, "reader.weight") == {1: (2, 3, 4)}


def test_batch_norm_between_concat_and_convolution() -> None:
    """DenseNet: with its slices of the norm zero, a block's channels go from everything."""
    reader = nn.Sequential(nn.BatchNorm2d(9), nn.ReLU(), nn.Conv2d(9, 5, 3))
    model = settled(Cat(reader), X)
    for role in (model.reader[0].weight, model.reader[0].bias):
        role.data[2:5] = 0.0
    subnet = shrink(model, (X,), "b", sizes=SIZES)
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert kept(subnet, f"reader.0.{name}") == {0: MIDDLE}
    assert kept(subnet, "reader.2.weight") == {1: MIDDLE}
    assert subnet.get_submodule("reader.0").num_features == 6
    assert subnet.get_submodule("reader.2").in_channels == 6


def test_a_norm_whose_slices_are_not_zero_turns_the_block_into_constants() -> None:
    reader = nn.Sequential(nn.BatchNorm2d(9), nn.ReLU(), nn.Conv2d(9, 5, 3))
    subnet = shrink(settled(Cat(reader), X), (X,), "b", sizes=SIZES)
    assert "b" not in left(subnet)
    assert shape(subnet, "reader.2.weight") == (5, 9, 3, 3)
    assert "new_zeros" in operations(subnet)


PASSES: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "activation": (lambda: nn.Sequential(nn.GELU(), nn.Conv2d(9, 5, 1)), "reader.1.weight", 6),
    "max pool": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(9, 5, 1)), "reader.1.weight", 6),
    "average pool": (lambda: nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(9, 5, 1)), "reader.1.weight", 6),
    "upsample": (lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(9, 5, 1)), "reader.1.weight", 6),
    "slopes": (lambda: nn.Sequential(nn.PReLU(9), nn.Conv2d(9, 5, 1)), "reader.1.weight", 6),
    "one slope": (lambda: nn.Sequential(nn.PReLU(), nn.Conv2d(9, 5, 1)), "reader.1.weight", 6),
    "transposed convolution": (lambda: nn.ConvTranspose2d(9, 5, 2), "reader.weight", 6),
    "flatten": (
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(36, 5)),
        "reader.2.weight",
        24,
    ),
    "pooled": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(9, 5)), "reader.2.weight", 6),
    "convolution in float64": (lambda: nn.Conv2d(9, 5, (1, 3), padding="same"), "reader.weight", 6),
}


@pytest.mark.parametrize(("make", "name", "columns"), PASSES.values(), ids=PASSES)
def test_readers_that_lose_the_columns(make: Callable[[], nn.Module], name: str, columns: int) -> None:
    subnet = shrink(settled(Cat(make()), X), (X,), "b", sizes=SIZES)
    dim = 0 if isinstance(subnet.get_submodule(name.rpartition(".")[0]), nn.ConvTranspose2d) else 1
    assert shape(subnet, name)[dim] == columns
    assert "new_zeros" not in operations(subnet)


def test_a_depthwise_convolution_loses_the_channels_that_it_only_passes_on() -> None:
    reader = nn.Sequential(nn.Conv2d(9, 9, 3, groups=9, bias=False), nn.Conv2d(9, 5, 1))
    subnet = shrink(settled(Cat(reader), X), (X,), "b", sizes=SIZES)
    depthwise = subnet.get_submodule("reader.0")
    assert (depthwise.groups, depthwise.in_channels, depthwise.out_channels) == (6, 6, 6)
    assert shape(subnet, "reader.1.weight") == (5, 6, 1, 1)


class ChannelNorm(nn.Module):
    """LayerNorm over channels, as ConvNeXt has it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.LayerNorm(9), nn.Conv2d(9, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


class Skip(nn.Module):
    """Adds something wholly live to the concat."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(9, 5, 1), nn.Parameter(torch.ones(1, 9, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x + self.other)


class Mean(nn.Module):
    """Divides by the mean over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(9, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + x.mean(1, keepdim=True)


class Shuffle(nn.Module):
    """ShuffleNet's channel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(9, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        return self.conv(x.view(b, 3, 3, h, w).transpose(1, 2).reshape(b, 9, h, w))


KEEPS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": lambda: nn.Sequential(nn.Sigmoid(), nn.Conv2d(9, 5, 1)),
    "group norm": lambda: nn.Sequential(nn.GroupNorm(3, 9), nn.Conv2d(9, 5, 1)),
    "group norm across blocks": lambda: nn.Sequential(nn.GroupNorm(1, 9), nn.Conv2d(9, 5, 1)),
    "layer norm": ChannelNorm,
    "softmax": lambda: nn.Sequential(nn.Softmax(1), nn.Conv2d(9, 5, 1)),
    "grouped convolution": lambda: nn.Sequential(nn.Conv2d(9, 9, 1, groups=3), nn.Conv2d(9, 5, 1)),
    "sum with a live tensor": Skip,
    "mean over channels": Mean,
    "plain batch norm": lambda: nn.Sequential(nn.BatchNorm2d(9, affine=False), nn.Conv2d(9, 5, 1)),
    "local response": lambda: nn.Sequential(nn.LocalResponseNorm(3), nn.Conv2d(9, 5, 1)),
    "channel shuffle": Shuffle,
    "glu": lambda: nn.Sequential(nn.Conv2d(9, 10, 1), nn.GLU(1)),
    "pixel shuffle": lambda: nn.Sequential(nn.Conv2d(9, 20, 1), nn.PixelShuffle(2)),
}


@pytest.mark.parametrize("gone", ["a", "b", "c"])
@pytest.mark.parametrize("make", KEEPS.values(), ids=KEEPS)
def test_readers_of_every_kind_stay_exact(make: Callable[[], nn.Module], gone: str) -> None:
    """Cut or not, everything that is promised holds, and what computed the block is gone."""
    subnet = shrink(settled(Cat(make()), X), (X,), gone, sizes=SIZES)
    assert gone not in left(subnet)


@pytest.mark.parametrize("kind", ["layer norm", "group norm", "group norm across blocks", "softmax", "sigmoid"])
def test_readers_that_mix_channels_are_not_cut(kind: str) -> None:
    subnet = shrink(settled(Cat(KEEPS[kind]()), X), (X,), "b", sizes=SIZES)
    assert not any(name.startswith("reader") for name in report_of(subnet).kept)


class Two(nn.Module):
    """One concat with two readers."""

    def __init__(self, second: nn.Module) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.first, self.second = nn.Conv2d(6, 5, 1), second

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.a(x), self.b(x)], 1)
        return self.first(both).mean((2, 3)) + self.second(both).mean((2, 3))


def test_two_readers_that_both_allow_it_are_both_cut() -> None:
    subnet = shrink(settled(Two(nn.Conv2d(6, 5, 3)), X), (X,), "a", sizes=SIZES)
    assert shape(subnet, "first.weight") == (5, 4, 1, 1)
    assert shape(subnet, "second.weight") == (5, 4, 3, 3)
    assert "cat" not in operations(subnet)


def test_one_reader_that_does_not_allow_it_keeps_the_zero_for_both() -> None:
    subnet = shrink(settled(Two(nn.Sequential(nn.GroupNorm(2, 6), nn.Conv2d(6, 5, 1))), X), (X,), "a", sizes=SIZES)
    assert "a" not in left(subnet)
    assert shape(subnet, "second.1.weight") == (5, 6, 1, 1)
    assert "new_zeros" in operations(subnet)


def test_a_concat_that_is_returned_keeps_its_width() -> None:
    class Returned(Two):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            both = torch.cat([self.a(x), self.b(x)], 1)
            return self.first(both), F.avg_pool2d(both + 0.1 * x.mean(1, keepdim=True), 2)

    model = settled(Returned(nn.Identity()), X)
    subnet = shrink(model, (X,), "a", sizes=SIZES)
    assert subnet(X)[1].shape[1] == 6
    assert "a" not in left(subnet)


class Nested(nn.Module):
    """Concats of concats, read at every level."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, channels, 3, padding=1) for channels in (2, 3, 4))
        self.inner, self.outer = nn.Conv2d(5, 2, 1), nn.Conv2d(11, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.cat([self.a(x), self.b(x)], 1)
        outer = torch.cat([inner, self.c(x), self.inner(inner)], 1)
        return self.outer(outer)


@pytest.mark.parametrize(
    ("gone", "inner", "outer"),
    [
        (["a"], (2, 3, 4), (2, 3, 4, 5, 6, 7, 8, 9, 10)),
        (["b"], (0, 1), (0, 1, 5, 6, 7, 8, 9, 10)),
        (["c"], None, (0, 1, 2, 3, 4, 9, 10)),
        (["a", "c"], (2, 3, 4), (2, 3, 4, 9, 10)),
        (["a", "inner"], None, (2, 3, 4, 5, 6, 7, 8)),
    ],
)
def test_nested_concats(gone: list[str], inner: tuple[int, ...] | None, outer: tuple[int, ...]) -> None:
    subnet = shrink(settled(Nested(), X), (X,), *gone, sizes=SIZES)
    assert kept(subnet, "outer.weight") == {1: outer}
    if inner is None:
        assert "inner.weight" not in report_of(subnet).kept
    else:
        assert kept(subnet, "inner.weight") == {1: inner}


def test_a_wholly_zero_inner_concat() -> None:
    subnet = shrink(settled(Nested(), X), (X,), "a", "b", sizes=SIZES)
    assert {"a", "b"} & left(subnet) == set()
    assert "inner.bias" in dict(subnet.named_parameters()), "the bias of what reads it is still alive"


@pytest.mark.parametrize("gone", ["a", "b"])
def test_a_tensor_beside_itself(gone: str) -> None:
    class Double(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
            self.head = nn.Conv2d(8, 5, 1)

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x)
            return self.head(torch.cat([a, self.b(x), a], 1))

    subnet = shrink(settled(Double(), X), (X,), gone, sizes=SIZES)
    assert gone not in left(subnet)


def test_a_tensor_in_two_concats_goes_from_both() -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(3, 2, 3, padding=1) for _ in range(3))
            self.left, self.right = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x)
            return self.left(torch.cat([a, self.b(x)], 1)) + self.right(torch.cat([self.c(x), a], 1))

    subnet = shrink(settled(Reused(), X), (X,), "a", sizes=SIZES)
    assert kept(subnet, "left.weight") == {1: (2, 3)}
    assert kept(subnet, "right.weight") == {1: (0, 1)}


def test_a_zero_that_others_read_as_well_goes_from_the_concat_all_the_same() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
            self.down = nn.Conv2d(2, 3, 3, padding=1)  # its bias is left, on zeros
            self.up = nn.Conv2d(6, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x)
            return self.down(a) * self.up(torch.cat([a, self.b(x)], 1))

    subnet = shrink(settled(Skip(), X), (X,), "a", sizes=SIZES)
    assert kept(subnet, "up.weight") == {1: (2, 3, 4, 5)}
    assert "new_zeros" in operations(subnet)
    assert "cat" not in operations(subnet)


def test_a_zero_in_two_concats_goes_from_the_one_that_allows_it() -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
            self.left, self.right = nn.Conv2d(6, 3, 1), nn.Sequential(nn.GroupNorm(2, 6), nn.Conv2d(6, 3, 1))

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.a(x), self.b(x)
            return self.left(torch.cat([a, b], 1)) + self.right(torch.cat([b, a], 1))

    subnet = shrink(settled(Reused(), X), (X,), "a", sizes=SIZES)
    assert kept(subnet, "left.weight") == {1: (2, 3, 4, 5)}
    assert shape(subnet, "right.1.weight") == (3, 6, 1, 1)


SPELLINGS: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "dim=1": lambda blocks: torch.cat(blocks, dim=1),
    "dim=-3": lambda blocks: torch.cat(blocks, dim=-3),
    "axis=1": lambda blocks: torch.cat(blocks, axis=1),
    "tensors=": lambda blocks: torch.cat(tensors=blocks, dim=1),
    "tuple": lambda blocks: torch.cat(tuple(blocks), 1),
    "concat": lambda blocks: torch.concat(blocks, 1),
    "concatenate": lambda blocks: torch.concatenate(blocks, dim=1),
    "hstack": torch.hstack,
    "column_stack": torch.column_stack,
}


@pytest.mark.parametrize("join", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling(join: Callable[[list[Tensor]], Tensor]) -> None:
    class Spelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(5, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(join([self.a(x), self.b(x)]))

    subnet = shrink(settled(Spelled(), X), (X,), "a", sizes=SIZES)
    assert "a" not in left(subnet)
    assert kept(subnet, "head.weight") == {1: (2, 3, 4)}


@pytest.mark.parametrize("dim", [0, 2, 3])
def test_concats_along_other_dimensions_stay_exact(dim: int) -> None:
    """Rows of zeros below an image are seen by a convolution that pads, and by a mean."""

    class Along(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)
            self.head = nn.Conv2d(2, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.head(torch.cat([self.a(x), self.b(x)], dim))
            return y.mean(3)

    model = settled(Along(), X)
    zero(model, ["b"])
    subnet = autosubnet.remove_zeros(model, X)
    assert "b" not in left(subnet)
    for x in (X, *SIZES):
        same(model, subnet, (x,))


def test_single_channels_of_a_convolution_are_cut_too() -> None:
    """Zeros that anyone made: two output channels of a convolution, with its bias."""

    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.second = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(torch.relu(self.norm(self.first(x))))

    model = settled(Chain(), X)
    for parameter in (model.first.weight, model.first.bias, model.norm.weight, model.norm.bias):
        parameter.data[[1, 4]] = 0.0
    subnet = shrink(model, (X,), sizes=SIZES)
    for name, dim in (("first.weight", 0), ("first.bias", 0), ("norm.weight", 0), ("second.weight", 1)):
        assert kept(subnet, name) == {dim: (0, 2, 3, 5)}
    assert subnet.get_submodule("first").out_channels == 4


def test_class_tokens_stay() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.randn(1, 1, 6))
            self.embed, self.mix, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.cat([self.token.expand(x.shape[0], -1, -1), self.embed(x)], 1)
            return self.head(y + self.mix(y).mean(1, keepdim=True))[:, 1:]

    x = example(3, 5, 4)
    model = settled(Tokens(), x)
    shrink(model, (x,), "token", sizes=(example(2, 9, 4),))
    subnet = shrink(settled(Tokens(), x), (x,), "mix", sizes=(example(2, 9, 4),))
    assert "mix" not in left(subnet)


class Permuted(nn.Module):
    """Channels-last blocks beside usual ones: together they lie in memory as usual."""

    def __init__(self, tail: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 4)
        self.c, self.d = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.head, self.tail = nn.Conv2d(16, 2, 1), tail

    def forward(self, x: Tensor) -> Tensor:
        last = x.permute(0, 2, 3, 1)
        blocks = [self.a(last).permute(0, 3, 1, 2), self.c(x), self.b(last).permute(0, 3, 1, 2), self.d(x)]
        return self.tail(self.head(torch.cat(blocks, 1)))


@pytest.mark.parametrize("tail", [lambda y: y.view(y.shape[0], -1), nn.Dropout()], ids=["view", "dropout"])
@pytest.mark.parametrize("gone", ["a", "ab", "c", "cd", "acd", "bcd", "abc"])
def test_what_is_left_lies_in_memory_as_before(gone: str, tail: Callable[[Tensor], Tensor]) -> None:
    subnet = shrink(settled(Permuted(tail), X), (X,), *gone, sizes=SIZES)
    assert left(subnet) == {*"abcd", "head"} - {*gone}
    assert shape(subnet, "head.weight") == (2, 16 - 4 * len(gone), 1, 1)


@pytest.mark.parametrize("kernel", [1, 3])
def test_cut_weights_keep_their_memory_format(kernel: int) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)
            self.both, self.head = nn.Conv2d(4, 4, kernel), nn.Conv2d(4, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(torch.cat([self.a(x), self.b(x)], 1).contiguous())
            return self.head(F.dropout(self.both(y), 0.5, self.training))

    x = X.to(memory_format=torch.channels_last)
    model = settled(Last(), X).to(memory_format=torch.channels_last)
    subnet = shrink(model, (x,), "a")
    assert kept(subnet, "both.weight") == {1: (2, 3)}
    assert subnet.get_parameter("both.weight").stride() == (2 * kernel**2, 1, 2 * kernel, 2)


@pytest.mark.parametrize("cuttable", [True, False])
def test_slices_behind_a_concat_are_claimed_where_all_that_dies_can_be_cut(cuttable: bool) -> None:
    """The zero block may be what a joint makes of the segment's."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(3, 4, 1) for _ in range(3))
            self.mix = nn.Identity() if cuttable else nn.GroupNorm(1, 8)
            self.norm, self.head = nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            gated = self.a(x) * torch.sigmoid(self.b(x))
            return self.head(torch.relu(self.norm(self.mix(torch.cat([gated, self.c(x)], 1)))))

    oto = autosubnet.AutoSubnet(settled(Gated(), X), X)
    group = next(group for group in oto.groups if group.name == "a")
    sliced = {part.name for part in group.slices if part.indices is not None}
    assert sliced == ({"norm.weight", "norm.bias"} if cuttable else set())
