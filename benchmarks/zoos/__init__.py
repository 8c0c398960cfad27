"""The models of public zoos, small where they can be, each with example inputs: what ``coverage.py`` runs over.

Names are such as ``torchvision:resnet18``; a source (``torchvision``) stands for all of its models.
"""

from __future__ import annotations

import warnings
from types import ModuleType

import torch

from zoos import packages, timm, torchvision, transformers
from zoos.made import Made, trained

SOURCES: dict[str, ModuleType] = {
    "torchvision": torchvision,
    "timm": timm,
    "transformers": transformers,
    "packages": packages,
}


def named(chosen: list[str]) -> list[str]:
    """Return the names of models: all, or those chosen, where a source stands for all of it."""
    names = []
    for each in chosen or SOURCES:
        names += [f"{each}:{model}" for model in SOURCES[each].names()] if each in SOURCES else [each]
    return names


def make(name: str) -> Made:
    """Return a model in eval mode and its example inputs, by a name such as ``transformers:bert``."""
    source, _, model = name.partition(":")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        module, inputs = SOURCES[source].make(model)
        trained(module, inputs)
    return module.eval(), inputs
