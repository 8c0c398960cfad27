"""Layers of torch.nn by their class and arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from autosubnet.errors import ExportError
from autosubnet.export.leaves import build, describe

LAYERS: list[Callable[[], nn.Module]] = [
    lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, bias=False),
    lambda: nn.Conv2d(4, 6, (3, 1), dilation=2, groups=2, padding="valid", padding_mode="reflect"),
    lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1),
    lambda: nn.BatchNorm2d(3, eps=1e-3, momentum=None, affine=False),
    lambda: nn.BatchNorm1d(3, track_running_stats=False),
    lambda: nn.InstanceNorm2d(3, affine=True),
    lambda: nn.GroupNorm(2, 4, affine=False),
    lambda: nn.LayerNorm((3, 4), bias=False),
    lambda: nn.LayerNorm(3, elementwise_affine=False),
    lambda: nn.RMSNorm(4, eps=1e-5),
    lambda: nn.Linear(3, 4, bias=False),
    lambda: nn.Bilinear(2, 3, 4),
    lambda: nn.Embedding(5, 3, padding_idx=1, max_norm=2.0),
    lambda: nn.MultiheadAttention(8, 2, bias=False, add_bias_kv=True, kdim=5, vdim=6, batch_first=True),
    lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2, batch_first=True),
    lambda: nn.RNN(3, 4, nonlinearity="relu", bias=False),
    lambda: nn.GRU(3, 4, dropout=0.1, num_layers=2),
    lambda: nn.GRUCell(3, 4, bias=False),
    lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    lambda: nn.AvgPool2d((2, 3), count_include_pad=False),
    lambda: nn.AdaptiveAvgPool2d((None, 3)),
    lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    lambda: nn.PReLU(4, init=0.1),
    lambda: nn.Softplus(2.0),
    lambda: nn.Softmax(dim=-1),
    lambda: nn.Unflatten(1, (2, 3)),
    lambda: nn.ConstantPad2d((1, 2, 3, 4), -1.0),
    lambda: nn.PixelShuffle(2),
]


@pytest.mark.parametrize("make", LAYERS, ids=lambda make: type(make()).__name__)
def test_layers_come_back(make: Callable[[], nn.Module]) -> None:
    layer = make()
    rebuilt = build(describe(layer, "layer"), "layer")
    assert type(rebuilt) is type(layer)
    assert repr(rebuilt) == repr(layer)
    shapes = [{k: tuple(v.shape) for k, v in each.state_dict().items()} for each in (layer, rebuilt)]
    assert shapes[0] == shapes[1]
    assert all(tensor.is_meta for tensor in rebuilt.state_dict().values())


def test_defaults_are_left_out() -> None:
    assert describe(nn.Conv2d(3, 4, 3), "c")["config"] == {"in_channels": 3, "out_channels": 4, "kernel_size": 3}


def test_a_layer_that_is_not_what_its_attributes_say() -> None:
    layer = nn.Conv2d(4, 6, 3)
    layer.weight = nn.Parameter(torch.zeros(5, 4, 3, 3))
    with pytest.raises(ExportError, match=r"module 'a\.b' is not what its attributes say: .*its tensors are"):
        describe(layer, "a.b")


def test_a_layer_of_another_padding() -> None:
    layer = nn.ReflectionPad2d(1)
    layer.padding = (1, 1, 2, 2)
    assert build(describe(layer, "pad"), "pad").padding == (1, 1, 2, 2)


def _with(layer: nn.Module, name: str, value: Any) -> nn.Module:
    if name == "hook":
        layer.register_forward_hook(lambda *args: None)
    else:
        setattr(layer, name, value)
    return layer


@pytest.mark.parametrize(("name", "seen"), [("hook", "_forward_hooks"), ("forward", "its forward was replaced")])
def test_a_layer_changed_by_hand(name: str, seen: str) -> None:
    with pytest.raises(ExportError, match=f"module 'l' was changed by hand \\({seen}"):
        describe(_with(nn.ReLU(), name, lambda x: x), "l")


@pytest.mark.parametrize("layer", [nn.Sequential(nn.ReLU()), nn.TransformerEncoderLayer(4, 2), nn.Module()])
def test_containers_are_no_layers(layer: nn.Module) -> None:
    with pytest.raises(ExportError, match=r"plain layers of torch\.nn only"):
        describe(layer, "l")


def test_a_subclass_is_not_its_base() -> None:
    class Mine(nn.ReLU):
        pass

    with pytest.raises(ExportError, match=r"is a .*Mine"):
        describe(Mine(), "l")


def test_activations_of_timm_are_those_of_torch() -> None:
    from timm.layers import activations

    x = torch.randn(1000) * 5
    for layer in (activations.GELU(), activations.GELUTanh(), activations.Sigmoid(), activations.Tanh()):
        described = describe(layer, "l")
        assert described["class"].startswith("torch.nn.")
        assert torch.equal(build(described, "l")(x), layer(x))
