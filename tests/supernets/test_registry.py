"""Supernets by name."""

import importlib.util

import pytest
import torch

from autosubnet.errors import InputError
from autosubnet.supernets import DemoSupNet, create, names, registry


def test_own_supernet_gets_its_arguments() -> None:
    model = create("demo", width=0.125, num_classes=3)
    assert isinstance(model, DemoSupNet)
    assert model(torch.randn(1, 1, 8, 8)).shape == (1, 3)


@pytest.mark.parametrize("name", ["timm:resnet10t", "torchvision:squeezenet1_1"])
def test_models_of_the_zoos_get_their_arguments(name: str) -> None:
    model = create(name, num_classes=3).eval()
    assert model.training is False
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 3)


def test_no_backbone_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("create() tried to download weights")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    create("torchvision:lraspp_mobilenet_v3_large", num_classes=2)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("dmo", "did you mean demo?"),
        ("resnet18", "did you mean timm:resnet18 or torchvision:resnet18?"),
        ("timm:resnt50", "did you mean timm:resnet50 or"),
        ("torchvision:resnt18", "did you mean torchvision:resnet18 or"),
        ("zzzzzz", "did you mean demo or stacked_unets or super_resnet or darts or darts_rnn or timm:NAME"),
    ],
)
def test_unknown_names_get_a_suggestion(name: str, suggestion: str) -> None:
    with pytest.raises(InputError) as caught:
        create(name)
    assert suggestion in str(caught.value)


def test_missing_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "timm" else find_spec(name))
    with pytest.raises(InputError, match=r"timm:resnet18 needs timm.*pip install 'autosubnet\[zoo\]'"):
        create("timm:resnet18")
    assert "demo" in names()
    assert not [name for name in names() if name.startswith("timm:")]


@pytest.mark.parametrize("argument", ["pretrained", "weights"])
def test_trained_weights_are_never_downloaded(argument: str) -> None:
    with pytest.raises(InputError, match=rf"{argument}='DEFAULT' would download weights"):
        create("timm:resnet18", **{argument: "DEFAULT"})


def test_an_argument_that_the_model_does_not_take() -> None:
    with pytest.raises(InputError, match=r"demo cannot be built with \(widht=0.5\).*leave that argument out"):
        create("demo", widht=0.5)
