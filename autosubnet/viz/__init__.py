"""Pictures: the trace graph, the dependency graph with its groups, and what a construction removed."""

from autosubnet.viz.explorer import Explorer
from autosubnet.viz.interactive import InteractivePicture
from autosubnet.viz.live import Live
from autosubnet.viz.picture import Picture
from autosubnet.viz.segments import draw_segments
from autosubnet.viz.trace import draw_trace

__all__ = ["Explorer", "InteractivePicture", "Live", "Picture", "draw_segments", "draw_trace"]
