"""A small model that breaks a naive pruner, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Body = Callable[..., Any]
Parts = Callable[[], Mapping[str, Any]]
ROWS, TOKENS, IMAGE = (5, 6), (3, 4, 6), (3, 6, 8, 8)


@dataclass(frozen=True)
class Specimen:
    """A model, the zeros that somebody made in it, and which modules must be gone with them.

    What is special about it must tell: either it is alive beside the zeros, or its own zero must be known for a layer
    that reads it to go.

    Attributes:
        name: what is special about it.
        make: builds the model.
        shapes: of the example inputs, batch first.
        zeros: globs of modules or parameters that are set to zero.
        gone: modules with parameters of which nothing may be left.
        train: whether train mode must agree: not where a random operation or a statistic's call goes.
        searches: whether random groups are tried as well: not where buffers alone make a branch constant, since
            validity looks at the graph and not at values.
    """

    name: str
    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...] = (ROWS,)
    zeros: tuple[str, ...] = ()
    gone: frozenset[str] = field(default_factory=frozenset)
    train: bool = True
    searches: bool = True

    def inputs(self) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(len(self.name))
        return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in self.shapes)


class Net(nn.Module):
    """stem -> body -> head, on rows, tokens or images; the body may use the branches a, b and c, and its parts."""

    def __init__(self, body: Body, parts: Parts, *, images: bool = False, width: int = 6) -> None:
        super().__init__()
        self.body = body
        layer = (lambda *sizes: nn.Conv2d(*sizes, 1)) if images else nn.Linear
        self.stem, self.a, self.b, self.c = (layer(6, 6) for _ in range(4))
        self.head = layer(width, 3)
        for name, part in parts().items():
            setattr(self, name, part)

    def forward(self, x: Tensor, *others: Tensor) -> Any:
        return self.head(self.body(self, self.stem(x).tanh(), *others))


def rows(name: str, body: Body, zeros: str = "", gone: str | None = None, **options: Any) -> Specimen:
    """Return a specimen on rows ``[B, 6]``; ``gone`` is ``zeros`` unless said otherwise, both words."""
    return _specimen(name, body, zeros, gone, (ROWS,), **options)


def tokens(name: str, body: Body, zeros: str = "", gone: str | None = None, **options: Any) -> Specimen:
    """Return a specimen on tokens ``[B, T, 6]``."""
    return _specimen(name, body, zeros, gone, (TOKENS,), **options)


def images(name: str, body: Body, zeros: str = "", gone: str | None = None, **options: Any) -> Specimen:
    """Return a specimen on images ``[B, 6, H, W]``."""
    return _specimen(name, body, zeros, gone, (IMAGE,), images=True, **options)


def _specimen(
    name: str,
    body: Body,
    zeros: str,
    gone: str | None,
    shapes: tuple[tuple[int, ...], ...],
    *,
    parts: Parts = dict,
    width: int = 6,
    images: bool = False,
    more: tuple[tuple[int, ...], ...] = (),
    **options: Any,
) -> Specimen:
    return Specimen(
        name=name,
        make=lambda: Net(body, parts, images=images, width=width),
        shapes=shapes + more,
        zeros=tuple(zeros.split()),
        gone=frozenset((zeros if gone is None else gone).split()),
        **options,
    )
