"""From a trained model with zeros to the smaller network that returns the same."""

from autosubnet.subnet.construct import construct
from autosubnet.subnet.report import Report

__all__ = ["Report", "construct"]
