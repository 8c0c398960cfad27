"""One variant of each module of timm, the one of the fewest parameters, with random weights."""

from __future__ import annotations

import torch

from zoos.made import Made, images

SIDE = 96


def names() -> list[str]:
    """Return the names of the variants: all are built, without memory, to count their parameters."""
    import timm

    found = []
    for module in timm.list_modules():
        variants = timm.list_models(module=module)
        if variants:
            with torch.device("meta"):
                found.append(min(variants, key=_numel))
    return list(dict.fromkeys(found))


def _numel(name: str) -> float:
    import timm

    try:
        return sum(parameter.numel() for parameter in timm.create_model(name).parameters())
    except Exception:  # noqa: BLE001  # some compute on their weights while they are made
        return float("inf")


def make(name: str) -> Made:
    """Return a model and images: of 96 pixels a side, or as many as it needs."""
    import timm

    model = timm.create_model(name)
    cfg = model.default_cfg
    native = cfg["input_size"][-1]
    smallest = max(SIDE, cfg.get("min_input_size", (0, 0, 0))[-1])
    return model, images(model, (native,) if cfg.get("fixed_input_size") else (smallest, native))
