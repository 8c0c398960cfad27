"""Channel transfer: zero channels of a producer are cut through the operator, and nothing else changes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autosubnet import remove_zeros
from autosubnet.capture.preserve import preserved


def outputs(module: nn.Module, x: Tensor, *, train: bool) -> list[Tensor]:
    with preserved(module, training=train):
        torch.manual_seed(3)
        return module(x)


class Chain(nn.Module):
    def __init__(self, *parts: nn.Module, dead: tuple[int, ...] = (1, 3)) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts).double()
        with torch.no_grad():
            for name in ("weight", "bias"):
                getattr(parts[0], name)[list(dead)] = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.parts(x)


class Applied(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def conv(inputs: int, outputs: int, **options: Any) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1, **options)


def zero_affine(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        norm.weight[[1, 3]] = 0
        norm.bias[[1, 3]] = 0
    return norm


IMAGES = (3, 4, 6, 6)
CUT: dict[str, tuple[tuple[int, ...], list[nn.Module]]] = {
    "relu": (IMAGES, [nn.ReLU()]),
    "activations": (IMAGES, [nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.Tanh(), nn.LeakyReLU()]),
    "a function": (IMAGES, [Applied(torch.nn.functional.relu)]),
    "a slope a channel": (IMAGES, [nn.PReLU(4)]),
    "one slope": (IMAGES, [nn.PReLU()]),
    "pooling": (IMAGES, [nn.MaxPool2d(2), nn.AvgPool2d(2, 1)]),
    "adaptive pooling": (IMAGES, [nn.AdaptiveAvgPool2d(2)]),
    "resizing": (IMAGES, [nn.Upsample(scale_factor=2)]),
    "a norm without the channels": (IMAGES, [zero_affine(nn.BatchNorm2d(4)), nn.ReLU()]),
    "a number": (IMAGES, [Applied(lambda x: x * 2 / 3)]),
    "a sum with itself": (IMAGES, [Applied(lambda x: x + x.relu())]),
    "depthwise": (IMAGES, [nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)]),
    "transposed depthwise": (IMAGES, [nn.ConvTranspose2d(4, 4, 2, groups=4, bias=False)]),
    "dropout in eval": (IMAGES, [nn.Dropout(0.0)]),
}


@pytest.mark.parametrize("name", CUT)
def test_zero_channels_are_cut_through(name: str) -> None:
    torch.manual_seed(0)
    shape, between = CUT[name]
    model = Chain(conv(4, 4), *between, conv(4, 5))
    subnet = remove_zeros(model, torch.randn(shape, dtype=torch.float64))
    last = f"parts.{len(between) + 1}.weight"
    assert tuple(subnet.get_parameter("parts.0.weight").shape) == (2, 4, 1, 1)
    assert tuple(subnet.get_parameter(last).shape) == (5, 2, 1, 1)


@pytest.mark.parametrize("between", [[nn.Flatten()], [nn.Flatten(), nn.ReLU()]], ids=["flatten", "and relu"])
def test_flatten_cuts_blocks(between: list[nn.Module]) -> None:
    torch.manual_seed(0)
    model = Chain(conv(4, 4), *between, nn.Linear(4 * 9, 5))
    subnet = remove_zeros(model, torch.randn(3, 4, 3, 3, dtype=torch.float64))
    assert tuple(subnet.get_parameter(f"parts.{len(between) + 1}.weight").shape) == (5, 2 * 9)


def test_permuted_channels_are_cut_in_a_linear_layer() -> None:
    torch.manual_seed(0)
    model = Chain(conv(4, 4), Applied(lambda x: x.permute(0, 2, 3, 1)), nn.Linear(4, 5))
    subnet = remove_zeros(model, torch.randn(IMAGES, dtype=torch.float64))
    assert tuple(subnet.get_parameter("parts.2.weight").shape) == (5, 2)


class Statistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.other(x.mean((2, 3)))[:, :, None, None])


def grouped_norm() -> nn.Module:
    norm = nn.GroupNorm(2, 4)
    nn.init.normal_(norm.bias)
    return norm


# What stands between must see the zero channels: cutting them out ahead of it would change the output.
REFUSED: dict[str, nn.Module] = {
    "sigmoid": nn.Sigmoid(),
    "hard sigmoid": nn.Hardsigmoid(),
    "softmax": nn.Softmax(1),
    "batch norm without affine": nn.BatchNorm2d(4, affine=False),
    "batch norm with a bias": nn.BatchNorm2d(4),
    "instance norm with statistics": nn.InstanceNorm2d(4, track_running_stats=True),
    "group norm": grouped_norm(),
    "group norm without affine": nn.GroupNorm(1, 4, affine=False),
    "layer norm": nn.LayerNorm((4, 6, 6)),
    "alpha dropout": nn.AlphaDropout(0.3),
    "constant pad": nn.ConstantPad2d(1, 0.5),
    "channel pad": Applied(lambda x: torch.nn.functional.pad(x, (0, 0, 0, 0, 1, -1))),
    "number minus tensor": Applied(lambda x: 1.5 - x),
    "plus a number": Applied(lambda x: x + 0.5),
    "number over tensor": Applied(lambda x: 2 / (x.square() + 1)),
    "mean of the channels": Applied(lambda x: x - x.mean(1, keepdim=True)),
    "maximum with another": Statistics(),
    "roll": Applied(lambda x: x.roll(1, 1)),
    "sort": Applied(lambda x: x.sort(1).values),
    "variance": Applied(lambda x: x * x.std(1, keepdim=True)),
    "beside itself": Applied(lambda x: x * x.amax(1, keepdim=True)),
    "threshold": nn.Threshold(0.1, 2.0),
    "local response": nn.LocalResponseNorm(3),
    "half of the channels": Applied(lambda x: torch.cat([x[:, 2:], x[:, :2]], 1)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_reads_the_zeros_keeps_them(name: str) -> None:
    torch.manual_seed(0)
    model = Chain(conv(4, 4), REFUSED[name], conv(4, 5))
    x = torch.randn(IMAGES, dtype=torch.float64)
    outputs(model, x, train=True)
    subnet = remove_zeros(model, x)
    assert subnet.get_parameter("parts.2.weight").shape[1] == 4
    for train in (False, True):
        for a, b in zip(outputs(model, x, train=train), outputs(subnet, x, train=train), strict=True):
            torch.testing.assert_close(b, a, rtol=0, atol=1e-9)


def test_division_by_a_tensor_never_cuts() -> None:
    torch.manual_seed(0)
    model = Chain(conv(4, 4), Applied(lambda x: (x + 3) / (x + 2)), conv(4, 5))
    subnet = remove_zeros(model, torch.randn(IMAGES, dtype=torch.float64))
    assert subnet.get_parameter("parts.2.weight").shape[1] == 4


@pytest.mark.filterwarnings("ignore:output .* no longer depends:autosubnet.errors.AutoSubnetWarning")
def test_a_reshape_across_the_batch_claims_nothing_that_another_batch_size_breaks() -> None:
    torch.manual_seed(0)
    model = Chain(nn.Linear(4, 4), Applied(lambda x: x.reshape(4, -1)[1:2].sum(1)), dead=(2, 3))
    subnet = remove_zeros(model, torch.randn(1, 4, dtype=torch.float64), verify=False)
    for batch in (1, 2, 3, 5):
        x = torch.randn(batch, 4, dtype=torch.float64)
        torch.testing.assert_close(subnet(x), model(x), rtol=0, atol=1e-9)
