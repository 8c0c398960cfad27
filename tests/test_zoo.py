"""The promises on networks of torchvision and timm, with random weights, at the smallest inputs that they take."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import promises
import pytest
import removal
import torch
from oracles import check_zero_claims
from probes import redraw, run
from torch import Tensor, fx, nn

import autosubnet
from autosubnet import AutoSubnet
from autosubnet.capture import MODES, Inputs, capture
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, values_of
from autosubnet.supernets import create


@dataclass(frozen=True)
class Case:
    """A network: its name, the side of its images, how many groups its drawing shows, and its arguments."""

    name: str
    side: int
    groups: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        heads = {True: "-with-aux", False: "-without-aux"}.get(self.options.get("aux_logits"), "")
        return self.name.partition(":")[2] + heads


def torchvision(name: str, side: int, groups: int | None = None, **options: Any) -> Case:
    return Case(f"torchvision:{name}", side, groups, options)


def timm(name: str, side: int, groups: int | None = None, **options: Any) -> Case:
    return Case(f"timm:{name}", side, groups, options)


NO_AUX = {"aux_logits": False, "init_weights": False}
AUX = {"aux_logits": True, "init_weights": False}
FAST = [
    torchvision("resnet18", 32, 8 + 3),  # blocks, and convolutions in shortcuts
    torchvision("resnet50", 32, 16 + 4),
    torchvision("densenet121", 32, 6 + 12 + 24 + 16),
    torchvision("googlenet", 64, 9 * 4, **NO_AUX),
    torchvision("googlenet", 64, 9 * 4, **AUX),
    torchvision("inception_v3", 80, 3 * 4 + 2 + 4 * 4 + 2 + 2 * 6, **NO_AUX),  # the pooling branches of two are bare
    torchvision("mobilenet_v2", 32, 10),
    torchvision("mobilenet_v3_small", 32, 6),
    torchvision("mobilenet_v3_large", 32, 10),
    torchvision("efficientnet_b0", 32, 9),
    torchvision("regnet_y_400mf", 32, 16 + 4),
    torchvision("shufflenet_v2_x0_5", 32, 16 + 3),
    torchvision("squeezenet1_0", 48, 8 * 2),
    torchvision("squeezenet1_1", 48, 8 * 2),
    torchvision("mnasnet0_5", 32, 10),
    torchvision("swin_t", 32, 12 * 2),
    timm("dla34", 32, 16),
    timm("hrnet_w18_small", 32, 51),
]
SLOW = [
    torchvision("inception_v3", 299, 3 * 4 + 2 + 4 * 4 + 2 + 2 * 6, **AUX),
    torchvision("shufflenet_v2_x1_0", 32, 16 + 3),
    torchvision("mnasnet1_0", 32, 10),
    torchvision("convnext_tiny", 32, 18),
    torchvision("vit_b_16", 32, 12 * 2, image_size=32),
    timm("inception_v4", 80, 70),
    timm("mixer_s32_224", 224, 8 * 2),
    timm("res2net50_26w_4s", 32, 68),
    timm("deit_tiny_patch16_224", 224, 12 * 2),
]
CASES = [*(pytest.param(case, id=str(case)) for case in FAST)]
CASES += [pytest.param(case, id=str(case), marks=pytest.mark.slow) for case in SLOW]


def make(case: Case) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return the network in float64 and eval mode, with nothing zero at birth and calibrated statistics."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torchvision on how it initialises
        model = create(case.name, num_classes=10, **case.options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1 or (parameter == parameter.flatten()[0]).all():
                parameter.uniform_(0.5, 1.0) if parameter.ndim == 1 else parameter.normal_(0, 0.1)
    inputs = (torch.randn(2, 3, case.side, case.side, dtype=torch.float64),)
    calibrate(model, inputs)
    without_randomness(model)
    return model.eval(), inputs


def calibrate(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        for seed in range(2):
            run(model, redraw(inputs, 4, seed), train=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def without_randomness(model: nn.Module) -> None:
    """Let dropout and stochastic depth drop nothing, so that train mode must agree whatever is removed."""
    for module in model.modules():
        for name in ("p", "drop_prob", "dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


@pytest.mark.parametrize("case", CASES)
def test_promises_on(case: Case) -> None:
    model, inputs = make(case)
    oto = AutoSubnet(model, inputs)
    assert oto.groups
    assert case.groups in (None, len(oto.groups))
    assert len({group.name for group in oto.groups}) == len(oto.groups)
    chosen = oto.random_set_zero_groups(0.4, seed=1)
    assert chosen
    assert oto.is_valid(chosen)
    subnet = oto.construct_subnet()
    report = subnet.meta["autosubnet"]
    assert report.dtype == "float64"
    assert report.notes == ()
    promises.equal_outputs(model, subnet, inputs)
    promises.equal_train_outputs(model, subnet, inputs, report.kept)
    promises.equal_gradients(model, subnet, inputs, report.kept, train=False)
    promises.equal_gradients(model, subnet, inputs, report.kept, train=True)
    promises.equal_training(model, subnet, inputs, report.kept)
    promises.names_kept(model, subnet, report.kept)
    promises.stands_alone(subnet)
    promises.fixed_point(subnet, autosubnet.remove_zeros(subnet, redraw(inputs, 2, 4), verify=False))
    removal.nothing_dead(subnet, inputs)
    removal.removes(model, subnet, inputs, report.kept, chosen)
    assert removal.num_flops(subnet, inputs) < removal.num_flops(model, inputs)
    assert report.num_params == (removal.num_params(model), removal.num_params(subnet))
    check_carried(oto, subnet, inputs)
    check_claims(model, inputs)


def check_carried(oto: AutoSubnet, subnet: fx.GraphModule, inputs: tuple[Tensor, ...]) -> None:
    optimizer = torch.optim.AdamW(oto.model.parameters(), lr=0.0)
    promises.objective(run(oto.model, inputs, train=False)).backward()
    optimizer.step()
    carried = oto.carry_optimizer(optimizer, subnet)
    promises.carries_optimizer(oto.model, subnet, optimizer, carried, subnet.meta["autosubnet"].kept)


def check_claims(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    trace = capture(model, Inputs.of(inputs))
    view = GraphView(trace)
    masks = Propagation(view, values_of(view)).masks
    claims = {node.name: mask for node, mask in masks.items() if isinstance(mask, np.ndarray)}
    for mode in MODES:
        assert check_zero_claims(trace.module(mode), [claims], inputs, mode == "train") > 0


@pytest.mark.slow
def test_a_network_without_a_removable_operator_says_so() -> None:
    """VGG: one path from end to end."""
    model, inputs = make(torchvision("vgg11_bn", 32, init_weights=False))
    oto = AutoSubnet(model, inputs)
    assert oto.groups == ()
    assert "0 groups" in repr(oto)
    assert "no operator can be removed from this model" in repr(oto)
    assert oto.random_set_zero_groups(0.5) == ()
    subnet = oto.construct_subnet(verify=False)
    assert torch.equal(subnet(*inputs), model(*inputs))
    assert set(subnet.state_dict()) == set(model.state_dict())
