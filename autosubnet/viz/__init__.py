"""Pictures: the trace graph, the dependency graph with its groups, and what a construction removed."""

from autosubnet.viz.picture import Picture
from autosubnet.viz.segments import draw_segments
from autosubnet.viz.trace import draw_trace

__all__ = ["Picture", "draw_segments", "draw_trace"]
