"""Models that others publish on PyPI, as a user would bring them: nothing here has a rule of its own.

pip install segmentation-models-pytorch efficientnet-pytorch x-transformers monai lightly kornia ultralytics
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from zoos.made import Made

_MONAI = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
_ATTENTION = {"dim": 32, "depth": 2, "heads": 4, "attn_dim_head": 8}


def _segmentation(cls: str, encoder: str = "resnet18") -> Callable[[], Made]:
    def made() -> Made:
        import segmentation_models_pytorch as smp

        return getattr(smp, cls)(encoder, encoder_weights=None), {"x": torch.randn(2, 3, 64, 64)}

    return made


def _efficientnet() -> Made:
    from efficientnet_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-b0"), {"inputs": torch.randn(2, 3, 64, 64)}


def _decoder(**options: Any) -> Callable[[], Made]:
    def made() -> Made:
        from x_transformers import Decoder, TransformerWrapper

        layers = Decoder(**_ATTENTION, **options)
        return TransformerWrapper(num_tokens=50, max_seq_len=32, attn_layers=layers), {"x": _tokens()}

    return made


def _vision_encoder() -> Made:
    from x_transformers import Encoder, ViTransformerWrapper

    layers = Encoder(**_ATTENTION)
    return ViTransformerWrapper(image_size=32, patch_size=8, num_classes=5, attn_layers=layers), {
        "img": torch.randn(2, 3, 32, 32)
    }


def _tokens() -> torch.Tensor:
    return torch.randint(0, 50, (2, 12))


def _monai(cls: str, argument: str = "x", side: int = 32, **options: Any) -> Callable[[], Made]:
    def made() -> Made:
        from monai.networks import nets

        return getattr(nets, cls)(**options), {argument: torch.randn(2, 1, side, side)}

    return made


def _lightly() -> Made:
    from lightly.models import ResNetGenerator

    net: nn.Module = ResNetGenerator("resnet-9")
    return net, {"x": torch.randn(2, 3, 32, 32)}


def _kornia() -> Made:
    from kornia.models.vit import VisionTransformer

    net = VisionTransformer(image_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4)
    return net, {"x": torch.randn(2, 3, 32, 32)}


def _disk() -> Made:
    from kornia.feature import DISK

    return DISK().unet, {"inp": torch.randn(2, 3, 64, 64)}


def _ultralytics(task: str, name: str) -> Callable[[], Made]:
    def made() -> Made:
        from ultralytics.nn import tasks

        return getattr(tasks, task)(f"{name}.yaml", verbose=False), {"x": torch.randn(2, 3, 64, 64)}

    return made


MODELS: dict[str, Callable[[], Made]] = {
    "segmentation_models_pytorch.Unet": _segmentation("Unet"),
    "segmentation_models_pytorch.FPN": _segmentation("FPN", "mobilenet_v2"),
    "segmentation_models_pytorch.DeepLabV3Plus": _segmentation("DeepLabV3Plus"),
    "segmentation_models_pytorch.Segformer": _segmentation("Segformer", "mit_b0"),
    "segmentation_models_pytorch.UPerNet": _segmentation("UPerNet"),
    "efficientnet_pytorch.b0": _efficientnet,
    "x_transformers.Decoder": _decoder(),
    "x_transformers.Decoder, rotary": _decoder(rotary_pos_emb=True, ff_glu=True, use_rmsnorm=True),
    "x_transformers.ViT": _vision_encoder,
    "monai.UNet": _monai("UNet", channels=(4, 8, 16), strides=(2, 2), num_res_units=2, **_MONAI),
    "monai.BasicUNet": _monai("BasicUNet", features=(4, 4, 8, 8, 16, 4), **_MONAI),
    "monai.UNETR": _monai(
        "UNETR", "x_in", img_size=32, feature_size=4, hidden_size=24, mlp_dim=32, num_heads=4, **_MONAI
    ),
    "monai.SegResNet": _monai("SegResNet", init_filters=8, **_MONAI),
    "monai.SwinUNETR": _monai("SwinUNETR", "x_in", 64, feature_size=12, **_MONAI),
    "monai.DynUNet": _monai("DynUNet", kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], **_MONAI),
    "lightly.resnet-9": _lightly,
    "kornia.VisionTransformer": _kornia,
    "kornia.DISK": _disk,
    "ultralytics.yolov8n": _ultralytics("DetectionModel", "yolov8n"),
    "ultralytics.yolo11n-cls": _ultralytics("ClassificationModel", "yolo11n-cls"),
}


def names() -> list[str]:
    """Return the names of the models."""
    return list(MODELS)


def make(name: str) -> Made:
    """Return a model, and inputs."""
    return MODELS[name]()
