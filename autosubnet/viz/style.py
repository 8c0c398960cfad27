"""How things look: a colour-blind-safe palette (Okabe and Ito, lightened) that differs in grey and in shape too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from autosubnet.ops.kind import Kind

FONT = "Helvetica"
INK = "#1f2933"
FAINT = "#52606d"
LINE = "#7b8794"
WHITE = "#ffffff"
CANVAS = "#f5f7fa"


@dataclass(frozen=True)
class Look:
    """The look of one sort of node.

    Attributes:
        fill: background colour.
        edge: border colour.
        width: border width in points.
        shape: Graphviz node shape.
    """

    fill: str
    edge: str
    width: float
    shape: str

    def attributes(self) -> dict[str, str]:
        """Return the look as Graphviz node attributes."""
        border = {"color": self.edge, "penwidth": f"{self.width:g}"}
        return {"shape": self.shape, "style": "filled", "fillcolor": self.fill, **border}


KINDS: Mapping[Kind, Look] = {
    Kind.STEM: Look("#8cc5ea", "#0b4a75", 2.2, "box"),
    Kind.JOINT: Look("#f6c453", "#7a5200", 1.4, "ellipse"),
    Kind.ACCESSORY: Look("#eef3f7", "#8a97a5", 0.8, "box"),
    Kind.UNKNOWN: Look("#dd9cc3", "#6d2350", 1.4, "octagon"),
    Kind.INPUT: Look("#5fbf9f", "#0b5a41", 1.4, "invhouse"),
    Kind.OUTPUT: Look("#5fbf9f", "#0b5a41", 1.4, "house"),
}
REMOVED = Look("#ffffff", "#9aa5b1", 1.4, "box")
TITLE = Look("#ffffff", "#cbd5df", 0.8, "box")


def text(words: str, *, size: int = 11, color: str = INK, bold: bool = False) -> str:
    """Return ``words`` as an HTML-like Graphviz label, escaped."""
    shown = escape(words, quote=True)
    if bold:
        shown = f"<b>{shown}</b>"
    return f'<font point-size="{size}" color="{color}">{shown}</font>'


def table(rows: Sequence[str], *, spacing: int = 0, padding: int = 3) -> str:
    """Return ``rows``, each made by ``row``, as one label."""
    return f'<<table border="0" cellborder="1" cellspacing="{spacing}" cellpadding="{padding}">{"".join(rows)}</table>>'


def row(words: str, look: Look | None = None, *, dashed: bool = False, align: str = "left") -> str:
    """Return a line of a table with the colours of ``look``; without, a line of plain text."""
    if look is None:
        return f'<tr><td align="{align}" border="0">{words}</td></tr>'
    border = 2 if look.width > 2 else 1
    style = ' style="dashed"' if dashed else ""
    colors = f'bgcolor="{look.fill}" color="{look.edge}"'
    return f'<tr><td align="{align}" border="{border}" {colors}{style}>{words}</td></tr>'


def shorten(words: str, length: int) -> str:
    """Return ``words`` cut in the middle to at most ``length`` characters."""
    if len(words) <= length:
        return words
    head = (length - 1) // 2
    return words[:head] + "…" + words[len(words) - (length - 1 - head) :]


def shape_text(shape: Sequence[int] | None) -> str:
    """Return a tensor's shape as ``2×64×56×56``, empty if it is not one tensor."""
    if shape is None:
        return ""
    return "\N{MULTIPLICATION SIGN}".join(str(size) for size in shape) or "scalar"


@dataclass(frozen=True)
class Legend:
    """What the colours and lines of a picture mean.

    Attributes:
        title: what the picture shows.
        rows: lines made by ``row``.
        notes: remarks, a few words each.
    """

    title: str
    rows: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def with_note(self, note: str) -> Legend:
        """Return the legend with one more remark."""
        return replace(self, notes=(*self.notes, note))

    def label(self) -> str:
        """Return the legend as a Graphviz label."""
        notes = [row(text(note, size=10, color=FAINT)) for note in self.notes]
        return table([row(text(self.title, size=12, bold=True)), *self.rows, *notes], spacing=3)
