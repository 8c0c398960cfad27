"""Claim: on the models that people use, a third of the groups goes and the outputs stay equal.

For each model: capture and partition at its own example inputs, BatchNorm calibrated by two batches,
parameters that are born zero randomised, a random valid third of the groups zeroed, the subnet constructed and
verified (eval and, where nothing random was removed, train mode; other values, another batch size, another resolution
where the model takes one).

    python benchmarks/zoo.py
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autosubnet import AutoSubnet
from autosubnet.supernets import create
from autosubnet.training.measure import environment

RESULTS = Path(__file__).parent / "results" / "zoo.json"
NAMES = (
    "torchvision:resnet18",
    "torchvision:resnet50",
    "torchvision:densenet121",
    "torchvision:googlenet",
    "torchvision:inception_v3",
    "torchvision:mobilenet_v2",
    "torchvision:mobilenet_v3_large",
    "torchvision:efficientnet_b0",
    "torchvision:regnet_y_400mf",
    "torchvision:shufflenet_v2_x1_0",
    "torchvision:squeezenet1_1",
    "torchvision:mnasnet1_0",
    "torchvision:convnext_tiny",
    "torchvision:vit_b_16",
    "torchvision:swin_t",
    "torchvision:vgg11_bn",
    "timm:inception_v4",
    "timm:dla34",
    "timm:hrnet_w18_small",
    "timm:mixer_s32_224",
    "timm:res2net50_26w_4s",
    "timm:deit_tiny_patch16_224",
)


@torch.no_grad()
def realistic(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Give parameters that are born zero small random values, and BatchNorm the mean statistics of two batches."""
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
    model.train()
    for _ in range(2):
        model(*(torch.randn(4, *each.shape[1:]) for each in inputs))
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def measure(name: str) -> dict[str, Any]:
    torch.manual_seed(0)
    model = create(name)
    oto = AutoSubnet(model)
    realistic(model, oto.example_inputs)
    chosen = oto.random_set_zero_groups(1 / 3)
    report = oto.construct_subnet().meta["autosubnet"]
    return {
        "vertices": len(oto.graph.vertices),
        "groups": len(oto.groups),
        "refused": sum(bool(oto.graph.segment[each.segment].variables) for each in oto.refused),
        "removed": len(chosen),
        "num_params": list(report.num_params),
        "max_difference": report.max_difference,
        "relative_difference": report.relative_difference,
        "dtype": report.dtype,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    models = {}
    for name in NAMES:
        models[name] = measure(name)
        print(name, models[name], flush=True)
    result = {"command": shlex.join(["python", *sys.argv]), "environment": environment(), "models": models}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
