"""A saved network as a model repository of the Hugging Face Hub: the folder of ``save`` with a card and a config.

The Hub takes a folder as it is (``huggingface_hub.upload_folder``) and gives it back (``snapshot_download``); nothing
here talks to it. :func:`autosubnet.load` reads the folder as any other: neither the card nor the config.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import fx

from autosubnet.errors import ExportError
from autosubnet.export.saved import save
from autosubnet.subnet.report import Report

CARD, CONFIG = "README.md", "config.json"
INSTALL_HINT = "pip install 'autosubnet[hub]'"
_TAGS = ("autosubnet", "pytorch", "pruning", "neural-architecture-search")
_BODY = """
# {title}
{description}
A subnet of {params:,} parameters, constructed by AutoSubnet{earlier}. To run it:

```python
from autosubnet import load
from huggingface_hub import snapshot_download

network = load(snapshot_download("USER/NAME")).eval()  # with the name of this repository
outputs = network({inputs})
```

`load` builds the network from `graph.json` and `model.safetensors`, out of known layers and operators of torch only; it
runs no code of this repository. `model.py` is the same network as plain Python source, which needs torch and
safetensors only.{construction}
"""


def save_for_hub(
    subnet: fx.GraphModule,
    folder: str | Path,
    *,
    title: str = "Subnet",
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network as a model repository of the Hugging Face Hub, all of it or nothing, and return the folder.

    The folder holds what :func:`autosubnet.save` writes, a model card ``README.md`` and a ``config.json``. Upload it by
    ``huggingface_hub.upload_folder``; ``load(huggingface_hub.snapshot_download(...))`` is the way back.

    Args:
        subnet: as for :func:`autosubnet.save`.
        folder: a new or an empty one, for a card may have been edited by hand.
        title: the heading of the card.
        description: text of the card in Markdown.
        metadata: of the card, as ``huggingface_hub.ModelCardData`` takes it: ``license``, ``tags``, ``datasets``,
            ``base_model``, ``pipeline_tag`` and more.

    Raises:
        ExportError: the network cannot be saved, the folder holds something, the metadata are none, or
            ``huggingface_hub`` is not installed.
    """
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise ExportError(f"{folder} is no empty folder; give an empty or a new one")
    card = _card(metadata or {}, _body(subnet, title, description))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            written = save(subnet, Path(beside, "new"))
            (written / CARD).write_text(card, encoding="utf-8")
            (written / CONFIG).write_text(json.dumps(_config(subnet), indent=2) + "\n", encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            written.rename(folder)
    except OSError as error:
        raise ExportError(f"cannot write the network to {folder}: {error}") from error
    return folder


def _card(metadata: Mapping[str, Any], body: str) -> str:
    """Return the text of a card, read again to see that it says the same: YAML takes objects and alters some words."""
    try:
        from huggingface_hub import ModelCard, ModelCardData
    except ImportError as missing:
        raise ExportError(f"a model card needs huggingface_hub; install it by {INSTALL_HINT}") from missing
    try:
        tags = list(dict.fromkeys([*_TAGS, *metadata.get("tags", ())]))
        data = ModelCardData(**{"library_name": "autosubnet", **metadata, "tags": tags})
        card = f"---\n{data.to_yaml()}\n---\n{body}"
        same = str(ModelCard(card).data) == str(data)  # their YAML
    except Exception as error:  # whatever the library or YAML says of strange values
        raise ExportError(f"these are no metadata of a model card: {error!r:.200}") from error
    if not same:
        raise ExportError(f"these metadata of a model card do not come back as they are: {metadata!r:.200}")
    return card


def _body(subnet: fx.GraphModule, title: str, description: str) -> str:
    report = subnet.meta.get("autosubnet")
    earlier = construction = ""
    if isinstance(report, Report):
        earlier = f" from a network of {report.num_params[0]:,}"
        construction = " What the construction removed is in `report.json`"
        if report.max_difference is not None:
            construction += f"; its outputs differed from the network's by {report.max_difference:.1e} at most"
        construction += "."
    return _BODY.format(
        title=title,
        description=f"\n{description.strip()}\n" if description else "",
        params=_num_params(subnet),
        earlier=earlier,
        inputs=", ".join(_inputs(subnet)),
        construction=construction,
    )


def _config(subnet: fx.GraphModule) -> dict[str, Any]:
    return {
        "model_type": "autosubnet",
        "architectures": ["Subnet"],
        "num_params": _num_params(subnet),
        "inputs": _inputs(subnet),
    }


def _inputs(subnet: fx.GraphModule) -> list[str]:
    return [str(node.target) for node in subnet.graph.nodes if node.op == "placeholder"]


def _num_params(subnet: fx.GraphModule) -> int:
    return sum(parameter.numel() for parameter in subnet.parameters())
