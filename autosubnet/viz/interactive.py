"""A picture that is a widget where one can be shown, and its SVG everywhere else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from autosubnet.viz.explorer import Explorer
from autosubnet.viz.picture import Picture

WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class InteractivePicture(Picture):
    """A picture with an explorer behind it.

    Attributes:
        explorer: answers the widget.
    """

    explorer: Explorer = field(repr=False)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the SVG, and beside it the widget if ``anywidget`` is installed; a front end takes what it can."""
        data: dict[str, Any] = {"text/plain": repr(self), "image/svg+xml": self.svg}
        if find_spec("anywidget") is None:
            return data, {}
        from autosubnet.viz.widget import ExplorerWidget

        widget = ExplorerWidget(self.explorer)
        return {WIDGET: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}, **data}, {}
