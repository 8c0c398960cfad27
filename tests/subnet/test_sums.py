"""Sums and differences: a zero term goes where the result is exactly the same without it, and nowhere else."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autosubnet
from subnet.checks import example, left, operations, settled, shrink


class Joined(nn.Module):
    """Two branches, joined by a function, then a head."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor], a: int = 4, b: int = 4, c: int = 4) -> None:
        super().__init__()
        self.join = join
        self.a, self.b = nn.Conv2d(3, a, 3, padding=1), nn.Conv2d(3, b, 3, padding=1)
        self.head = nn.Conv2d(c, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.join(F.gelu(self.a(x)), F.gelu(self.b(x))))


def in_place(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a


X = example(3, 3, 6, 6)
LARGER = example(2, 3, 9, 7)

SUMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": operator.add,
    "torch.add": torch.add,
    "method": lambda a, b: a.add(b),
    "+=": in_place,
    "add_": lambda a, b: a.add_(b),
    "-": operator.sub,
    "torch.sub": torch.sub,
    "method sub": lambda a, b: a.sub(b),
    "sub_": lambda a, b: a.sub_(b),
    "alpha": lambda a, b: torch.add(a, b, alpha=3.0),
    "sub alpha": lambda a, b: torch.sub(a, b, alpha=0.25),
    "add_ alpha": lambda a, b: a.add_(b, alpha=-2),
    "other by name": lambda a, b: torch.add(a, other=b),
    "rsub": lambda a, b: torch.rsub(b, a),
    "sum": lambda a, b: sum([a, b]),
}


@pytest.mark.parametrize("join", SUMS.values(), ids=SUMS)
def test_the_second_term_goes(join: Callable[[Tensor, Tensor], Tensor]) -> None:
    subnet = shrink(settled(Joined(join), X), (X,), "b", sizes=(LARGER,))
    assert left(subnet) == {"a", "head"}


@pytest.mark.parametrize("join", SUMS.values(), ids=SUMS)
def test_the_first_term_goes_and_the_sign_stays(join: Callable[[Tensor, Tensor], Tensor]) -> None:
    subnet = shrink(settled(Joined(join), X), (X,), "a", sizes=(LARGER,))
    assert left(subnet) == {"b", "head"}


def test_an_erased_sum_leaves_no_operation() -> None:
    subnet = shrink(settled(Joined(operator.add), X), (X,), "b")
    assert operations(subnet) == ["a", "gelu", "head"]


def test_an_erased_minuend_leaves_a_negation() -> None:
    subnet = shrink(settled(Joined(operator.sub), X), (X,), "a")
    assert operations(subnet) == ["b", "gelu", "neg", "head"]


def test_an_erased_first_term_leaves_the_factor() -> None:
    subnet = shrink(settled(Joined(lambda a, b: torch.sub(a, b, alpha=0.25)), X), (X,), "a")
    (product,) = [node for node in subnet.graph.nodes if node.target is operator.mul]
    assert product.args[1] == -0.25


def test_where_only_zero_terms_go_the_outputs_are_equal_bit_for_bit() -> None:
    model = settled(Joined(operator.add), X)
    subnet = shrink(model, (X,), "b")
    assert torch.equal(subnet(X), model(X))


def test_a_chain_of_three_loses_any_two() -> None:
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(5, 5) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.b(x) + self.c(x)

    x = example(3, 5)
    for gone in ("ab", "bc", "ac"):
        subnet = shrink(settled(Three(), x), (x,), *gone)
        assert left(subnet) == set("abc") - set(gone)
        assert len(operations(subnet)) == 1


@pytest.mark.parametrize("join", [operator.add, operator.sub, torch.maximum], ids=["add", "sub", "maximum"])
@pytest.mark.parametrize("first", [True, False], ids=["zero first", "zero second"])
def test_a_zero_that_widens_stays_as_an_explicit_zero(join: Callable[[Tensor, Tensor], Tensor], first: bool) -> None:
    """``[B, 1, H, W] + 0 [B, 4, H, W]`` has four channels."""
    a, b = (4, 1) if first else (1, 4)
    subnet = shrink(settled(Joined(join, a, b), X), (X,), "a" if first else "b", sizes=(LARGER,))
    assert left(subnet) == {"b" if first else "a", "head"}
    assert "new_zeros" in operations(subnet)


@pytest.mark.parametrize("first", [True, False], ids=["zero first", "zero second"])
def test_a_zero_that_is_widened_goes(first: bool) -> None:
    a, b = (1, 4) if first else (4, 1)
    subnet = shrink(settled(Joined(operator.add, a, b), X), (X,), "a" if first else "b", sizes=(LARGER,))
    assert operations(subnet) == ["b" if first else "a", "gelu", "head"]


def test_a_zero_that_widens_rows_and_columns_follows_the_resolution() -> None:
    class Pixel(nn.Module):
        """``[B, 4, 1, 1] + 0 [B, 4, H, W]``, read by a convolution that pads."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
            self.head = nn.Conv2d(4, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.a(x.mean((2, 3), keepdim=True)) + self.b(x))

    subnet = shrink(settled(Pixel(), X), (X,), "b", sizes=(LARGER,))
    assert left(subnet) == {"a", "head"}
    assert subnet(LARGER).shape == (2, 2, 9, 7)


def test_a_zero_that_promotes_keeps_the_dtype() -> None:
    class Island(nn.Module):
        """A float32 branch whose sum with a float64 zero is float64."""

        def __init__(self) -> None:
            super().__init__()
            self.narrow, self.wide = nn.Linear(5, 4), nn.Linear(5, 4).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.narrow(x.float()) + self.wide(x)

    torch.manual_seed(0)
    model, x = Island().eval(), example(3, 5)
    model.wide.weight.data.zero_()
    model.wide.bias.data.zero_()
    subnet = autosubnet.remove_zeros(model, x)
    assert subnet(x).dtype == torch.float64
    assert torch.equal(subnet(x), model(x))
    assert left(subnet) == {"narrow"}


def test_a_zero_that_fixes_the_memory_layout_stays() -> None:
    class Layout(nn.Module):
        """The sum takes its strides from its first term, the zero; without it ``view`` would raise."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(5, 5), nn.Linear(20, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x) + self.b(x.transpose(1, 2)).transpose(1, 2)
            return self.head(y.view(y.shape[0], 20))

    x = example(3, 5, 4)
    subnet = shrink(settled(Layout(), x), (x,), "a")
    assert left(subnet) == {"b", "head"}


@pytest.mark.parametrize("reduce", ["sum", "mean", "amax"])
def test_stacked_branches_lose_one(reduce: str) -> None:
    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(3))
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(getattr(torch.stack([self.a(x), self.b(x), self.c(x)]), reduce)(0))

    subnet = shrink(settled(Stacked(), X), (X,), "b", sizes=(LARGER,))
    assert left(subnet) == {"a", "c", "head"}


def test_where_both_terms_are_zero_what_reads_the_sum_reads_a_zero() -> None:
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
            self.reader, self.live = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.live(x) * torch.sigmoid(self.reader(self.a(x) + self.b(x)))

    subnet = shrink(settled(Dead(), X), (X,), "a", "b", sizes=(LARGER,))
    assert {"a", "b"} & left(subnet) == set()
    assert "reader" in left(subnet), "its bias is trained on"


def test_addcmul_loses_its_product() -> None:
    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(5, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.addcmul(self.a(x), self.b(x), self.c(x), value=0.5)

    x = example(3, 5)
    subnet = shrink(settled(Fused(), x), (x,), "b")
    assert left(subnet) == {"a"}


def test_memory_that_is_written_later_is_copied_for_a_sum_that_lost_its_other_terms() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(5, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            half = y[:, :2]
            half.mul_(2.0)
            total = torch.addcmul(y, self.b(x), self.c(x)) + self.b(x)
            half.add_(1.0)
            return total * y

    x = example(3, 5)
    subnet = shrink(settled(Written(), x), (x,), "b")
    assert left(subnet) == {"a"}
    assert operations(subnet).count("clone") == 1


@pytest.mark.parametrize("join", [lambda a, b: a - b, lambda a, b: torch.add(a, b, alpha=2)], ids=["minus", "alpha"])
def test_zero_channels_go_through_what_is_left_of_a_sum(join: Callable[[Tensor, Tensor], Tensor]) -> None:
    class Signed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(join(self.a(x), self.b(x)))

    model = settled(Signed(), X)
    model.b.weight.data[:2] = 0.0
    model.b.bias.data[:2] = 0.0
    subnet = shrink(model, (X,), "a", sizes=(LARGER,))
    assert subnet.get_parameter("head.weight").shape == (3, 2, 1, 1)
