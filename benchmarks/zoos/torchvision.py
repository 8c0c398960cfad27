"""All of torchvision but the quantized models, with random weights; of detectors the backbones.

A detector's own forward takes a list of images and keeps the boxes that survive: control flow on values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

from zoos.made import Made, images

DETECTORS = ("fasterrcnn", "maskrcnn", "keypointrcnn", "fcos", "retinanet", "ssd")
SEGMENTATION = ("deeplabv3", "fcn_", "lraspp")
SIDE = 96


def names() -> list[str]:
    """Return the names of the models; that of a backbone ends so."""
    from torchvision import models

    found = [name for name in models.list_models() if not name.startswith("quantized_")]
    return [f"{name}.backbone" if name.startswith(DETECTORS) else name for name in found]


def make(name: str) -> Made:
    """Return a model and images of 96 pixels a side, or as many as it needs; videos and pairs of 64 to 128."""
    from torchvision import models

    name, _, part = name.partition(".")
    options: dict[str, Any] = {"weights_backbone": None} if part or name.startswith(SEGMENTATION) else {}
    if name.startswith("vit_"):
        options["image_size"] = 84 if name == "vit_h_14" else 64
    with _small_videos():
        model = models.get_model(name, weights=None, **options).get_submodule(part)
    if name.startswith("raft"):
        pair = {each: torch.randn(2, 3, 128, 128) for each in ("image1", "image2")}
        return model, {**pair, "num_flow_updates": 2}
    if name in models.list_models(models.video):
        frames, side = (16, 224) if name == "s3d" else (16 if name.startswith("mvit") else 8, 64)
        return model, {"x": torch.randn(2, 3, frames, side, side)}
    fixed = getattr(model, "image_size", None)
    return model, images(model, (fixed,) if isinstance(fixed, int) else (SIDE, 224, 299))


@contextmanager
def _small_videos() -> Iterator[None]:
    """Let MViT, which has no argument for it, be built for videos of 64 pixels a side."""
    from torchvision.models.video import mvit

    build = mvit._mvit

    def smaller(*args: Any, spatial_size: Any, **kwargs: Any) -> Any:
        return build(*args, spatial_size=(64, 64), **kwargs)

    with patch.object(mvit, "_mvit", smaller):
        yield
