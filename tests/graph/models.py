"""Small networks with the structures that people build: one function each, all in float64 with example inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from autosubnet.supernets import create

Example = tuple[nn.Module, tuple[Tensor, ...]]


def conv_bn(read: int, write: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(read, write, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(write))


class Residual(nn.Module):
    """ResNet's basic block; ``project`` puts a convolution into the shortcut."""

    def __init__(self, read: int, write: int, project: bool) -> None:
        super().__init__()
        self.first = conv_bn(read, write, stride=2 if project else 1)
        self.second = conv_bn(write, write)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = conv_bn(read, write, 1, stride=2) if project else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.relu(self.first(x)))
        y += x if self.shortcut is None else self.shortcut(x)
        return self.relu(y)


class DenseLayer(nn.Module):
    """DenseNet's layer: norm, activation and convolution behind a concat of everything so far."""

    def __init__(self, read: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(read)
        self.conv = nn.Conv2d(read, growth, 3, padding=1, bias=False)

    def forward(self, blocks: list[Tensor]) -> Tensor:
        return self.conv(torch.relu(self.norm(torch.cat(blocks, 1))))


class DenseBlock(nn.Module):
    """Three dense layers and the transition behind them."""

    def __init__(self, read: int = 4, growth: int = 2, layers: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(read + growth * i, growth) for i in range(layers))
        width = read + growth * layers
        self.norm = nn.BatchNorm2d(width)
        self.transition = nn.Conv2d(width, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        blocks = [x]
        for layer in self.layers:
            blocks.append(layer(blocks))
        return self.transition(torch.relu(self.norm(torch.cat(blocks, 1))))


class Inception(nn.Module):
    """GoogLeNet's block: four branches side by side."""

    def __init__(self, read: int) -> None:
        super().__init__()
        self.one = nn.Sequential(conv_bn(read, 2, 1), nn.ReLU())
        self.three = nn.Sequential(conv_bn(read, 2, 1), nn.ReLU(), conv_bn(2, 4), nn.ReLU())
        self.five = nn.Sequential(conv_bn(read, 2, 1), nn.ReLU(), conv_bn(2, 3, 5), nn.ReLU())
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn(read, 3, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class SqueezeExcite(nn.Module):
    """MobileNet's block: a residual branch with a channel gate between its convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv_bn(width, width)
        self.squeeze = nn.Conv2d(width, 2, 1)
        self.excite = nn.Conv2d(2, width, 1)
        self.project = conv_bn(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv(x))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return x + self.project(y * gate)


class Encoder(nn.Module):
    """A pre-norm transformer layer: attention and MLP, each in a residual branch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ClassToken(nn.Module):
    """A vision transformer's skeleton: patches, a learned token beside them, and a head that reads it alone."""

    def __init__(self, width: int = 8, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(6, width)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.encoders = nn.Sequential(*(Encoder(width) for _ in range(depth)))
        self.head = nn.Linear(width, 3)

    def forward(self, patches: Tensor) -> Tensor:
        x = self.embed(patches)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        return self.head(self.encoders(x)[:, 0])


class ImageNet(nn.Sequential):
    """A stem, what is given, and a head."""

    def __init__(self, *body: nn.Module, width: int, stem: int = 4) -> None:
        parts = {"stem": nn.Sequential(conv_bn(3, stem), nn.ReLU()), "body": nn.Sequential(*body)}
        parts |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(width, 3)}
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def images(model: nn.Module, channels: int = 3, side: int = 8) -> Example:
    torch.manual_seed(1)
    inputs = (torch.randn(2, channels, side, side, dtype=torch.float64),)
    return settled(model, inputs), inputs


def settled(model: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
    """Return the model in float64 and eval mode, with parameters away from zero and calibrated statistics."""
    generator = torch.Generator().manual_seed(2)
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator, dtype=torch.float64))
        for _ in range(3):
            model.train()(*(torch.randn_like(x) if x.is_floating_point() else x for x in inputs))
    return model.eval()


def demo() -> Example:
    return images(create("demo", width=0.125), channels=1)


def resnet() -> Example:
    return images(ImageNet(Residual(4, 6, project=True), Residual(6, 6, project=False), width=6))


def densenet() -> Example:
    return images(ImageNet(DenseBlock(), width=4))


def inception() -> Example:
    return images(ImageNet(Inception(4), Inception(12), width=12))


def squeeze_excite() -> Example:
    return images(ImageNet(SqueezeExcite(4), width=4))


def transformer() -> Example:
    torch.manual_seed(1)
    inputs = (torch.randn(2, 5, 6, dtype=torch.float64),)
    return settled(ClassToken(), inputs), inputs


EXAMPLES: dict[str, Callable[[], Example]] = {
    each.__name__: each for each in (demo, resnet, densenet, inception, squeeze_excite, transformer)
}
