"""Search the supernets of the papers on digits, and draw what docs/supernets.md shows: python docs/supernets.py

One epoch is enough for pictures of the structure; what is removed here says nothing about the networks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed

from autosubnet import AutoSubnet, supernets
from autosubnet.training import experiment
from autosubnet.training.data import load
from autosubnet.training.settings import Settings

PICTURES = Path(__file__).parent / "pictures"
SIZES: dict[str, dict[str, Any]] = {
    "demo": {"width": 0.125},
    "stacked_unets": {"width": 0.125},
    "darts": {"channels": 2, "cells": 1, "space": "cherry_picked"},
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    PICTURES.mkdir(exist_ok=True)
    data = load("digits")
    for name, sizes in SIZES.items():
        set_seed(0)
        model = supernets.create(name, in_channels=1, num_classes=data.num_classes, **sizes)
        found = experiment.search(model, data, Settings(name, epochs=4, batch_size=256))
        subnet = AutoSubnet(found.subnet, found.oto.example_inputs)
        found.oto.visualize("trace").save(PICTURES / f"{name}_trace.svg")
        found.oto.visualize("groups").save(PICTURES / f"{name}_segments.svg")
        subnet.visualize("trace").save(PICTURES / f"{name}_subnet.svg")
        print(name, found.report.num_params, found.report.max_difference)


if __name__ == "__main__":
    main()
