"""What came out of a search: as data, as the lines of a table, and as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autosubnet.viz.report import Row


@dataclass(frozen=True)
class Figures:
    """One network: parameters, multiply-adds an image, accuracy (0 to 1), ONNX Runtime's milliseconds."""

    num_params: int
    multiply_adds: int
    accuracy: float
    latency_ms: float


@dataclass(frozen=True)
class Result:
    """Everything that a search measured, and what it takes to measure it again.

    Attributes:
        supernet: the trained supernet, with its zeros in place.
        subnet: the constructed network.
        num_groups: groups that could have been removed.
        removed: names of those that were.
        max_difference: largest difference of an output of the two, over the checked inputs.
        relative_difference: what of it is more than rounding, over the variation of the output over inputs.
        dtype: what the check computed in.
        losses: mean training loss of every epoch.
        history: at the end of every epoch the phase of H2SPG, the number of zero groups, and the groups' scores.
        seconds: duration of the training.
        settings: the arguments of the search.
        command: what was typed.
        environment: see :func:`autosubnet.training.measure.environment`.
    """

    supernet: Figures
    subnet: Figures
    num_groups: int
    removed: tuple[str, ...]
    max_difference: float | None
    relative_difference: float | None
    dtype: str | None
    losses: tuple[float, ...]
    history: tuple[Mapping[str, Any], ...]
    seconds: float
    settings: dict[str, str | int | float | None]
    command: str
    environment: dict[str, str]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")

    def rows(self) -> tuple[Row, ...]:
        """Return the comparison, one line a quantity."""
        before, after = self.supernet, self.subnet
        points = 100 * (after.accuracy - before.accuracy)
        return (
            Row("parameters", f"{before.num_params:,}", f"{after.num_params:,}",
                _percent(before.num_params, after.num_params)),
            Row("multiply-adds an image", _millions(before.multiply_adds), _millions(after.multiply_adds),
                _percent(before.multiply_adds, after.multiply_adds)),
            Row("accuracy", f"{before.accuracy:.2%}", f"{after.accuracy:.2%}",
                f"{_signed(points, 2)} points" if points else "the same"),
            Row("ONNX Runtime latency", f"{before.latency_ms:.3f} ms", f"{after.latency_ms:.3f} ms",
                f"{before.latency_ms / after.latency_ms:.2f} times as fast"),
            Row("groups removed", "", f"{len(self.removed)} of {self.num_groups}", ", ".join(self.removed)),
            Row("largest output difference", "", tell_difference(self.max_difference), f"in {self.dtype}"),
        )  # fmt: skip


def tell_score(measure: str, value: float) -> str:
    """Return a score in words: an accuracy in percent, a perplexity as it is."""
    return f"{value:.2%}" if measure == "accuracy" else f"{value:,.1f}"


def tell_difference(value: float | None) -> str:
    """Return a difference of outputs in words: ``"1.2e-13"``, ``"0, bit for bit"`` or ``"not checked"``."""
    if value is None:
        return "not checked"
    return f"{value:.1e}" if value else "0, bit for bit"


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _percent(before: float, after: float) -> str:
    return f"{_signed(100 * (after / before - 1), 0)}%"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count < 100e6 else f"{count / 1e6:.0f} M"
