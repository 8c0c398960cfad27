"""Ways out of the package: ONNX, and a folder with weights, graph and plain source."""

from autosubnet.export.onnx import export_onnx
from autosubnet.export.saved import load, save

__all__ = ["export_onnx", "load", "save"]
