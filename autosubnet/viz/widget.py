"""The Jupyter widget around :class:`Explorer`; needs ``anywidget``, and is imported only where that is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from autosubnet.viz.explorer import Explorer

_HERE = Path(__file__).parent


class ExplorerWidget(anywidget.AnyWidget):
    """The dependency graph to zoom, search, collapse, colour and click at.

    The front end sets ``closed``, ``colour`` and ``group``; the kernel answers with ``drawing``, ``state`` and
    ``details``. Nothing is laid out before a front end asks.
    """

    _esm = _HERE / "widget.js"
    _css = _HERE / "widget.css"
    facts = traitlets.Dict().tag(sync=True)
    closed = traitlets.List(traitlets.Unicode(), default_value=None, allow_none=True).tag(sync=True)
    colour = traitlets.Unicode("kind").tag(sync=True)
    group = traitlets.Unicode("").tag(sync=True)
    drawing = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    details = traitlets.Dict().tag(sync=True)

    def __init__(self, explorer: Explorer) -> None:
        super().__init__(facts=explorer.facts())
        self._explorer = explorer

    @traitlets.observe("closed")
    def _lay_out(self, change: Any) -> None:
        if change.new is not None:
            self.drawing = self._explorer.layout(change.new)

    @traitlets.observe("colour")
    def _read_state(self, change: Any) -> None:
        if change.new in ("score", "removed"):
            self.state = self._explorer.state()

    @traitlets.observe("group")
    def _read_details(self, change: Any) -> None:
        self.details = self._explorer.details(change.new)
