"""Capture: ``nn.Module`` -> ``Trace``."""

from autosubnet.capture.capture import capture
from autosubnet.capture.inputs import Inputs, guess, others
from autosubnet.capture.trace import MODES, Mode, TensorInfo, Trace, graph_of, output_of

__all__ = [
    "MODES",
    "Inputs",
    "Mode",
    "TensorInfo",
    "Trace",
    "capture",
    "graph_of",
    "guess",
    "others",
    "output_of",
]
