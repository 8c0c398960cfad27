"""What a construction returns can be saved, loaded, read as source and exported."""

from __future__ import annotations

import itertools
import random
import runpy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from plans import Plan, build
from random_models import draw_plan
from torch import nn
from torchvision import models

from autosubnet import AutoSubnet, remove_zeros
from autosubnet.export import export_onnx, load, save
from autosubnet.subnet.report import Report
from autosubnet.supernets import create

from .networks import assert_same

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "demo": (lambda: create("demo"), (1, 28, 28)),
    "googlenet": (lambda: models.googlenet(init_weights=False), (3, 64, 64)),
    "shufflenet": (models.shufflenet_v2_x0_5, (3, 64, 64)),
    "mobilenet": (models.mobilenet_v3_small, (3, 64, 64)),
    "swin": (models.swin_t, (3, 64, 64)),
}


@pytest.mark.parametrize("name", MODELS)
def test_architectures(name: str, tmp_path: Path) -> None:
    make, size = MODELS[name]
    model, example = make(), torch.randn(2, *size)
    oto = AutoSubnet(model, example)
    assert oto.random_set_zero_groups(0.5)
    subnet = oto.construct_subnet(verify=False)
    folder = save(subnet, tmp_path / "out")
    loaded = load(folder)
    assert_same(subnet, loaded, (example,))
    assert_same(subnet, runpy.run_path(str(folder / "model.py"))["load"](), (example,))
    report = loaded.meta["autosubnet"]
    assert isinstance(report, Report)
    assert report == subnet.meta["autosubnet"]


def savable() -> Iterator[Plan]:
    """Yield random networks that can be saved bit for bit.

    Complex buffers, modules and outputs of the user's own classes are refused. Weights are laid out channels first
    again, which changes the order of sums.
    """
    for seed in itertools.count():
        plan = draw_plan(random.Random(seed).choice)
        if not {"rotary", "outside"} & {step.op for step in plan.steps}:
            yield replace(plan, container="plain", channels_last=False)


@pytest.mark.parametrize("seed", range(20))
def test_random_models(seed: int, tmp_path: Path) -> None:
    model, args = build(next(itertools.islice(savable(), seed, None)))
    oto = AutoSubnet(model, args)
    oto.random_set_zero_groups(0.5, seed)
    subnet = oto.construct_subnet(verify=False)
    folder = save(subnet, tmp_path / "out")
    assert_same(subnet, load(folder), args)
    assert_same(subnet, runpy.run_path(str(folder / "model.py"))["load"](), args)


def test_a_loaded_network_has_nothing_left_to_remove(tmp_path: Path) -> None:
    oto = AutoSubnet(create("demo"), torch.randn(2, 1, 28, 28))
    oto.random_set_zero_groups(0.5)
    loaded = load(save(oto.construct_subnet(), tmp_path / "out"))
    again = remove_zeros(loaded, oto.example_inputs)
    assert again.meta["autosubnet"].removed_vertices == ()
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in loaded.parameters())


def test_a_subnet_of_two_graphs_as_onnx(tmp_path: Path) -> None:
    oto = AutoSubnet(models.googlenet(init_weights=False), torch.randn(2, 3, 32, 32))
    oto.random_set_zero_groups(0.5)
    subnet = oto.construct_subnet(verify=False).train()
    assert export_onnx(subnet, tmp_path / "a.onnx", oto.example_inputs) <= 1e-4
    assert subnet.training
    assert isinstance(subnet(*oto.example_inputs), tuple)
