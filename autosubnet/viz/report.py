"""One HTML page that shows what a search did: a single file that needs no network.

The page knows nothing of how its numbers were made; whoever ran the search fills a :class:`Page`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Row:
    """One line of the comparison, ready to print: what it is, before, after, the change in a few words."""

    label: str
    supernet: str
    subnet: str
    change: str


@dataclass(frozen=True)
class GroupLine:
    """One removable structure: its name, number of parameters, whether it is gone, and why it could go."""

    name: str
    num_params: int
    removed: bool
    reason: str


@dataclass(frozen=True)
class CostLine:
    """One operator: its name, what it is, the shape of its output, what it costs, and what became of it."""

    name: str
    operator: str
    shape: str
    num_params: float
    multiply_adds: float
    fate: str


@dataclass(frozen=True)
class Figure:
    """A picture with its caption; ``svg`` is an SVG document."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Page:
    """What the page shows; what is empty has no section.

    Attributes:
        title: a short line, such as ``"demo on digits"``.
        summary: one or two sentences that say what came out.
        rows: supernet against subnet, or a network alone.
        curves: plots of the training.
        files: name and purpose of every file beside the page.
        command: what was typed.
        environment: what the figures depend on, by name.
        figures: pictures of the networks in the order of the page.
        proof: one or two sentences on the check of the outputs.
        groups: every group, in the order of the graph.
        refused: name and reason of every segment that looked removable and was kept for good.
        costs: every operator that costs something, in the order of the graph.
        notes: remarks of the construction, each a sentence.
    """

    title: str
    summary: str
    rows: tuple[Row, ...]
    curves: tuple[Figure, ...]
    files: tuple[tuple[str, str], ...]
    command: str
    environment: dict[str, str]
    figures: tuple[Figure, ...] = ()
    proof: str = ""
    groups: tuple[GroupLine, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    costs: tuple[CostLine, ...] = ()
    notes: tuple[str, ...] = ()


def render(page: Page) -> str:
    """Return the page as HTML."""
    jinja = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = jinja.from_string(files("autosubnet.viz").joinpath("report.html").read_text("utf-8"))
    return template.render(page=page, inline=_inline)


def write_report(page: Page, path: Path) -> None:
    """Write the page to ``path``."""
    path.write_text(render(page), "utf-8")


def _inline(svg: str) -> Markup:
    """Drop what may stand before ``<svg``: an XML declaration and a DOCTYPE do not belong inside HTML."""
    return Markup(svg[svg.index("<svg") :])  # our own drawing, not user text
