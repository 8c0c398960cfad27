"""Folders as model repositories of the Hugging Face Hub are; its own library is the judge of the card."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, get_local_safetensors_metadata
from torch import nn

from autosubnet import AutoSubnet, load, save, save_for_hub
from autosubnet.errors import ExportError
from autosubnet.supernets import create

from .networks import Numbered, assert_same, rows, traced


def card_of(folder: Path) -> ModelCard:
    return ModelCard.load(folder / "README.md", ignore_metadata_errors=False)


def test_a_subnet_as_a_model_repository(tmp_path: Path) -> None:
    x = torch.randn(2, 1, 8, 8)
    oto = AutoSubnet(create("demo", width=0.125), x)
    oto.random_set_zero_groups(0.34)
    subnet = oto.construct_subnet().eval()
    metadata = {"license": "apache-2.0", "tags": ["digits", "pytorch"], "datasets": ["mnist"]}
    folder = save_for_hub(subnet, tmp_path / "out", title="Digits", description="Reads digits.", metadata=metadata)
    names = {"README.md", "config.json", "graph.json", "model.py", "model.safetensors", "report.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    card = card_of(folder)
    assert (card.data.library_name, card.data.license, card.data.datasets) == ("autosubnet", "apache-2.0", ["mnist"])
    assert card.data.tags.count("pytorch") == 1
    assert {"autosubnet", "digits"} <= set(card.data.tags)
    before, after = subnet.meta["autosubnet"].num_params
    assert f"A subnet of {after:,} parameters, constructed by AutoSubnet from a network of {before:,}." in card.text
    assert card.text.strip().startswith("# Digits\n\nReads digits.\n\n")
    assert get_local_safetensors_metadata(folder).parameter_count["F32"] >= after  # BatchNorm's statistics besides
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["num_params"], config["inputs"]) == ("autosubnet", after, ["images"])
    loaded = load(folder)
    assert_same(subnet, loaded, (x,))
    assert loaded.meta["autosubnet"] == subnet.meta["autosubnet"]


def test_the_code_of_the_card_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = traced(Numbered())
    folder = save_for_hub(network, tmp_path / "out")
    monkeypatch.setattr("huggingface_hub.snapshot_download", {"USER/NAME": str(folder)}.__getitem__)
    code = card_of(folder).text.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {"input": rows()[0]}
    exec(compile(code, "README.md", "exec"), names)
    assert torch.equal(names["outputs"], network.eval()(*rows()))


@pytest.mark.parametrize(
    "text",
    ["---\nlicense: mit\n---", "{{ 7 * 7 }}", "{title} {0.__class__}", "!!python/object/apply:os.system [id]", "é ✓"],
)
def test_words_of_a_card_stay_words(text: str, tmp_path: Path) -> None:
    """Whatever stands in a card's title, text or metadata is shown, and neither filled in nor taken for metadata."""
    metadata = {"license": "other", "license_name": text, "tags": [text]}
    folder = save_for_hub(traced(Numbered()), tmp_path / "out", title=text, description=text, metadata=metadata)
    card = card_of(folder)
    assert (card.data.license, card.data.license_name, card.data.tags[-1]) == ("other", text, text)
    assert text in card.text


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    folder = save_for_hub(traced(Numbered()), tmp_path / "out")
    (folder / "README.md").write_text("edited")
    for again in (save_for_hub, save):
        with pytest.raises(ExportError, match="give an empty or a new one"):
            again(traced(Numbered()), folder)
    assert (folder / "README.md").read_text() == "edited"
    (tmp_path / "empty").mkdir()
    assert load(save_for_hub(traced(Numbered()), tmp_path / "empty"))


def test_metadata_that_are_none(tmp_path: Path) -> None:
    for metadata in ({"license": nn.ReLU()}, {"license_name": "a\u0085b"}, {"base_model": 3, "tags": 4}):
        with pytest.raises(ExportError, match="metadata of a model card"):
            save_for_hub(traced(Numbered()), tmp_path / "out", metadata=metadata)
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ExportError, match=r"pip install 'autosubnet\[hub\]'"):
        save_for_hub(traced(Numbered()), tmp_path / "out")
    assert not list(tmp_path.iterdir())
