"""Supernets to search: our own, and every model of timm and torchvision."""

from autosubnet.supernets.demo import DemoSupNet
from autosubnet.supernets.registry import create, create_with_inputs, names
from autosubnet.supernets.stacked_unets import StackedUnets
from autosubnet.supernets.super_resnet import SuperResNet

__all__ = ["DemoSupNet", "StackedUnets", "SuperResNet", "create", "create_with_inputs", "names"]
