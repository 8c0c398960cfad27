"""Ways out of the package: ONNX, programs of torch.export, and a folder with weights, graph and plain source."""

from autosubnet.export.hub import save_for_hub
from autosubnet.export.onnx import export_onnx
from autosubnet.export.program import export_program
from autosubnet.export.saved import load, save

__all__ = ["export_onnx", "export_program", "load", "save", "save_for_hub"]
