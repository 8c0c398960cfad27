"""Shapes of graphs: several ends, nested containers, long chains, wide concats."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from .specimen import IMAGE, ROWS, Specimen


@dataclass
class Result:
    logits: Tensor
    hidden: Tensor


_pytree.register_dataclass(Result)


class Layers(nn.Module):
    def __init__(self, *names, width=6):
        super().__init__()
        for name in names:
            setattr(self, name, nn.Linear(width, width))


class TwoInputs(Layers):
    """Without b and c, nobody reads the second."""

    def __init__(self):
        super().__init__("a", "b", "c")

    def forward(self, x, y):
        return self.a(x) + self.b(y) + self.c(x * y)


class TwoOutputs(Layers):
    """The second output feeds on the first."""

    def __init__(self):
        super().__init__("a", "b", "c", "d")

    def forward(self, x):
        first = self.a(x) + self.b(x)
        return first, first.tanh() + self.c(first) + self.d(x)


class Nested(TwoOutputs):
    def forward(self, x):
        first, second = super().forward(x)
        return {"all": [first, (second, None)], "count": 2, "twice": first}


class Typed(TwoOutputs):
    def forward(self, x):
        return Result(*super().forward(x))


class Auxiliary(TwoOutputs):
    """A second head in train mode alone."""

    def forward(self, x):
        first, second = super().forward(x)
        return (second, first) if self.training else second


class DeadAtBirth(Layers):
    """Parameters that nothing reads, and a branch whose result nobody uses."""

    def __init__(self):
        super().__init__("a", "b", "unused", "ignored")

    def forward(self, x):
        self.ignored(x).sum()
        return self.a(x) + self.b(x)


class Chain(Layers):
    """Nothing can go."""

    def __init__(self):
        super().__init__("a", "b")

    def forward(self, x):
        return self.b(self.a(x).relu())


class Wide(nn.Module):
    """Everything but one path can go."""

    def __init__(self, paths):
        super().__init__()
        self.paths = nn.ModuleList(nn.Linear(6, 6) for _ in range(paths))

    def forward(self, x):
        return sum(path(x) for path in self.paths).tanh()


class ManyInOneConcat(nn.Module):
    def __init__(self, paths):
        super().__init__()
        self.paths = nn.ModuleList(nn.Conv2d(6, 2, 1) for _ in range(paths))
        self.head = nn.Conv2d(2 * paths, 3, 1)

    def forward(self, x):
        return self.head(torch.cat([path(x) for path in self.paths], 1).relu())


class LongChain(nn.Module):
    """Five thousand vertices, one residual in every hundred."""

    def __init__(self, length):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(length // 100))

    def forward(self, x):
        for layer in self.layers:
            y = layer(x)
            for _ in range(98):
                y = y * 1.01
            x = x + y.tanh()
        return x


class Deep(nn.Module):
    """Containers in containers; a block that is in two of them."""

    def __init__(self):
        super().__init__()
        shared = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        self.tower = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.Tanh()), shared), nn.Linear(6, 6))
        self.side = nn.ModuleDict({"one": nn.ModuleList([shared, nn.Linear(6, 6)])})

    def forward(self, x):
        for layer in self.side["one"]:
            x = x + layer(x)
        return self.tower(x) + x


class ReusedResult(Layers):
    """One branch read by four joints."""

    def __init__(self):
        super().__init__("a", "b", "c", "d")

    def forward(self, x):
        shared = self.a(x)
        first = shared + self.b(x)
        second = first * shared
        return torch.maximum(second + self.c(x), shared) - shared + self.d(second)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(8, 8, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.head = nn.Conv2d(14, 3, 1)

    def forward(self, x):
        first = nn.functional.max_pool2d(self.down[0](x).relu(), 2)
        second = nn.functional.max_pool2d(self.down[1](first).relu(), 2)
        y = torch.cat([first, self.up[0](second)], 1)
        return self.head(torch.cat([x, self.up[1](y)], 1))


def names(text):
    return frozenset(text.split())


SPECIMENS = [
    Specimen("two inputs", TwoInputs, (ROWS, ROWS), ("b", "c"), names("b c")),
    Specimen("two outputs", TwoOutputs, (ROWS,), ("b", "c"), names("b c")),
    Specimen("nested outputs", Nested, (ROWS,), ("d",), names("d")),
    Specimen("a dataclass as output", Typed, (ROWS,), ("a",), names("a")),
    Specimen("an auxiliary head", Auxiliary, (ROWS,), ("c",), names("c")),
    Specimen("dead at birth", DeadAtBirth, (ROWS,), (), names("unused ignored")),
    Specimen("nothing can go", Chain, (ROWS,)),
    Specimen("all but one path", lambda: Wide(8), (ROWS,), tuple(f"paths.{i}" for i in range(7)),
             frozenset(f"paths.{i}" for i in range(7))),
    Specimen("two hundred in one concat", lambda: ManyInOneConcat(200), (IMAGE,),
             tuple(f"paths.{i}" for i in range(0, 200, 3)), frozenset(f"paths.{i}" for i in range(0, 200, 3))),
    Specimen("five thousand vertices", lambda: LongChain(5000), (ROWS,), ("layers.7", "layers.31"),
             names("layers.7 layers.31")),
    Specimen("containers in containers", Deep, (ROWS,), ("side.one.1",), names("side.one.1")),
    Specimen("one branch read by four joints", ReusedResult, (ROWS,), ("a",), names("a")),
    Specimen("a U-Net", UNet, (IMAGE,), ("up.0",), names("up.0 down.1")),
]  # fmt: skip
