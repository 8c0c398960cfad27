"""Exact sub-networks of any PyTorch model: trace, prove what can go, train once, compile the zeros away."""

from autosubnet import errors, optim, supernets
from autosubnet.api import AutoSubnet
from autosubnet.compiler import remove_zeros
from autosubnet.export import export_onnx, export_program, load, save, save_for_hub
from autosubnet.ops import Rule, register_rule

__all__ = [
    "AutoSubnet",
    "Rule",
    "errors",
    "export_onnx",
    "export_program",
    "load",
    "optim",
    "register_rule",
    "remove_zeros",
    "save",
    "save_for_hub",
    "supernets",
]
__version__ = "0.1.0"
