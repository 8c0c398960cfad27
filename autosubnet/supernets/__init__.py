"""Supernets to search: our own, and every model of timm and torchvision."""

from autosubnet.supernets.demo import DemoSupNet
from autosubnet.supernets.registry import create, create_with_inputs, names

__all__ = ["DemoSupNet", "create", "create_with_inputs", "names"]
