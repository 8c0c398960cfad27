"""A picture: DOT source that shows itself in Jupyter and saves itself as SVG, PNG or DOT."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from autosubnet.errors import ExportError
from autosubnet.viz.render import render


@dataclass(frozen=True)
class Picture:
    """A drawn graph.

    Attributes:
        source: the graph in the DOT language.
    """

    source: str = field(repr=False)

    @cached_property
    def svg(self) -> str:
        """The picture as the text of an SVG file.

        Raises:
            ExportError: no renderer is installed, or it refuses the source.
        """
        return render(self.source, "svg").decode()

    def save(self, path: str | Path) -> Path:
        """Write the picture to ``path`` and return it; the suffix (.svg, .png or .dot) says in which format.

        Raises:
            ExportError: another suffix, a place where nothing can be written, or no renderer.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise ExportError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
        match path.suffix.lower():
            case ".svg":
                content = self.svg.encode()
            case ".png":
                content = render(self.source, "png")
            case ".dot":
                content = self.source.encode()
            case suffix:
                raise ExportError(f"cannot write {path}: {suffix or 'no suffix'!r} is not one of .svg, .png, .dot")
        try:
            path.write_bytes(content)
        except OSError as error:
            raise ExportError(f"cannot write {path}: {error.strerror}") from error
        return path

    def _repr_svg_(self) -> str:
        return self.svg
