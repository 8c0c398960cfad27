"""Draws the runs of ``figure3`` as SparseNAS does in its Figure 3: four panels, for optimizers and for penalties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

PANELS = (  # title, measure, factor, lowest and highest value
    ("accuracy, retrained (%)", "accuracy_retrained", 100, None, None),
    ("features kept", "features", 1, 0, 64),
    ("inner neurons kept", "neurons", 1, 0, 60),
    ("zero weights (%)", "sparsity", 100, 0, 100),
)
# The row's title and, for each line, its family and its colour (Okabe and Ito's, told apart by all).
ROWS = (
    (
        "SGL",
        {
            "SGD": ("SGD, SGL", "#56b4e9"),
            "Adam": ("Adam, SGL", "#0072b2"),
            "HAPG": ("HAPG, SGL", "#e69f00"),
            "AdamHAPG": ("AdamHAPG, SGL", "#d55e00"),
        },
    ),
    (
        "HAPG",
        {
            "lasso": ("HAPG, lasso", "#009e73"),
            "group lasso": ("HAPG, group lasso", "#cc79a7"),
            "SGL": ("HAPG, SGL", "#e69f00"),
        },
    ),
)
WIDTH, HEIGHT, LEFT, TOP, GAP = 210, 150, 60, 40, 50
STEP = HEIGHT + 80  # from one row to the next


def draw(families: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return an SVG picture: lines through the means over the seeds, bars from the least to the largest."""
    width, height = LEFT + len(PANELS) * (WIDTH + GAP), TOP + len(ROWS) * STEP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11" fill="#333" role="img">',
        "<title>Figure 3 of SparseNAS, repeated: accuracy and sparsity by lambda</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for count, (name, lines) in enumerate(ROWS):
        top = TOP + count * STEP
        parts += _legend(name, {label: colour for label, (_, colour) in lines.items()}, top - 22)
        chosen = {label: (families[key], colour) for label, (key, colour) in lines.items()}
        for column, panel in enumerate(PANELS):
            parts += _panel(chosen, panel, LEFT + column * (WIDTH + GAP), top)
    return "\n".join([*parts, "</svg>", ""])


def _legend(name: str, colours: Mapping[str, str], y: float) -> list[str]:
    parts, x = [f'<text x="{LEFT}" y="{y}" font-weight="bold">{name}</text>'], LEFT + 60
    for label, colour in colours.items():
        parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + 20}" y2="{y - 4}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 25}" y="{y}">{label}</text>')
        x += 45 + 7 * len(label)
    return parts


def _panel(
    lines: Mapping[str, tuple[Sequence[Mapping[str, Any]], str]], panel: tuple[Any, ...], left: float, top: float
) -> list[str]:
    title, measure, factor, low, high = panel
    values = [factor * run[measure] for runs, _ in lines.values() for run in runs]
    if low is None:
        low, high = math.floor(min(values) - 0.1), math.ceil(max(values) + 0.1)
    exponents = sorted({run["exponent"] for runs, _ in lines.values() for run in runs})
    first, last = exponents[0], exponents[-1]

    def place(exponent: float, value: float) -> tuple[float, float]:
        across = (exponent - first) / (last - first or 1)
        return left + 8 + across * (WIDTH - 16), top + HEIGHT * (1 - (value - low) / (high - low))

    parts = [
        f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbb"/>',
        f'<text x="{left + WIDTH / 2}" y="{top - 6}" text-anchor="middle">{title}</text>',
        f'<text x="{left + WIDTH / 2}" y="{top + HEIGHT + 32}" text-anchor="middle">λ, powers of ten</text>',
    ]
    for exponent in exponents:
        x, _ = place(exponent, low)
        parts.append(f'<text x="{x:.1f}" y="{top + HEIGHT + 15}" text-anchor="middle">{exponent:g}</text>')
    for tick in range(5):
        value = low + (high - low) * tick / 4
        _, y = place(first, value)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + WIDTH}" y2="{y:.1f}" stroke="#eee"/>')
        parts.append(f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for runs, colour in lines.values():
        parts += _line(runs, measure, factor, colour, place)
    return parts


def _line(runs: Sequence[Mapping[str, Any]], measure: str, factor: float, colour: str, place: Any) -> list[str]:
    parts, points = [], []
    for exponent in sorted({run["exponent"] for run in runs}):
        values = [factor * run[measure] for run in runs if run["exponent"] == exponent]
        x, y = place(exponent, sum(values) / len(values))
        (_, low), (_, high) = place(exponent, min(values)), place(exponent, max(values))
        points.append(f"{x:.1f},{y:.1f}")
        parts.append(f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
    return [f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>', *parts]
