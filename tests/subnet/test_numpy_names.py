"""torch takes numpy's names of some arguments, ``axis`` and ``keepdims``, wherever it has ``dim`` and ``keepdim``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from .checks import example, left, settled, shrink

X = example(4, 6)
BODIES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "stack": lambda m, x: torch.stack([m.a(x), m.b(x)], axis=1)[:, 1],
    "stack, summed": lambda m, x: torch.stack([m.a(x), m.b(x)], axis=1).sum(axis=1, keepdims=True).flatten(1),
    "cat": lambda m, x: torch.cat([m.a(x), m.b(x)], axis=1)[:, 6:],
    "chunk": lambda m, x: torch.chunk(torch.cat([m.a(x), m.b(x)], 1), 2, axis=1)[1],
    "chunk, from behind": lambda m, x: torch.cat([m.a(x), m.b(x)], -1).chunk(2, axis=-1)[1],
    "tensor_split": lambda m, x: torch.cat([m.a(x), m.b(x)], -1).tensor_split(2, axis=1)[1],
    "unbind": lambda m, x: torch.stack([m.a(x), m.b(x)], -1).unbind(axis=-1)[1],
    "mean": lambda m, x: m.a(x) + m.b(x).mean(axis=1, keepdims=True),
    "squeeze": lambda m, x: m.a(x) + m.b(x).unsqueeze(axis=1).squeeze(axis=1),
}


class Two(nn.Module):
    def __init__(self, body: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.body = body
        self.a, self.b, self.head = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(self, x))
        return y


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_numpys_names(body: Any) -> None:
    subnet = shrink(settled(Two(body), X), (X,), "a")
    assert left(subnet) == {"b", "head"}


def test_bilinear_by_name() -> None:
    class Bilinear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Bilinear(6, 6, 6)

        def forward(self, x: Tensor) -> Tensor:
            more = nn.functional.bilinear(input1=x, input2=x, weight=self.b.weight)
            y: Tensor = self.a(x) + self.b(input1=x, input2=x) + more
            return y

    assert left(shrink(settled(Bilinear(), X), (X,), "b")) == {"a"}
