"""Example inputs: guessed from what the model says of itself, varied, or asked for."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autosubnet import AutoSubnet
from autosubnet.capture import Inputs, guess, others
from autosubnet.capture.resize import RESIZES, grown, lengthened, shortened, shrunk
from autosubnet.errors import InputError

from .capturing import Applied, rows

GUESSED: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU()), (2, 3, 64)),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (2, 3, 64, 64)),
    (nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU()), (2, 1, 8, 64, 64)),
    (nn.Sequential(nn.Linear(7, 4), nn.ReLU()), (2, 7)),
    (nn.Sequential(nn.Conv2d(3, 2, 3, 2), nn.Flatten(), nn.Linear(2 * 15 * 15, 3)), (2, 3, 32, 32)),
]


@pytest.mark.parametrize(("model", "shape"), GUESSED, ids=[str(shape) for _, shape in GUESSED])
def test_guessed_from_the_first_layer(model: nn.Module, shape: tuple[int, ...]) -> None:
    inputs, origin = guess(model)
    assert tuple(inputs.args[0].shape) == shape
    assert "first layer" in origin
    assert type(model[0]).__name__ in origin


def test_guessed_tokens() -> None:
    inputs, origin = guess(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)))
    ids = inputs.args[0]
    assert ids.dtype == torch.int64
    assert 0 <= ids.min() <= ids.max() < 9
    assert "Embedding(9)" in origin


def test_guessed_sequences_of_features() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            if x.ndim != 3:
                raise ValueError(f"{x.ndim} dimensions")
            y = self.layer(x)
            return self.attention(y, y, y)[0]

    assert tuple(guess(Model())[0].args[0].shape) == (2, 8, 4)


def test_guessed_from_a_default_cfg() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    model.default_cfg = {"input_size": (3, 40, 48)}
    inputs, origin = guess(model)
    assert tuple(inputs.args[0].shape) == (2, 3, 40, 48)
    assert "default_cfg: (3, 40, 48)" in origin


def test_guessed_from_dummy_inputs() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(5, 4), nn.Linear(4, 2)

        @property
        def dummy_inputs(self) -> dict[str, Tensor]:
            return {"ids": torch.tensor([[1, 2, 3], [0, 4, 2]])}

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.table(ids).mean(1))

    inputs, origin = guess(Model())
    assert list(inputs.kwargs) == ["ids"]
    assert "dummy_inputs" in origin


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_guessed_in_the_models_dtype(dtype: torch.dtype) -> None:
    assert guess(nn.Sequential(nn.Linear(4, 2)).to(dtype))[0].args[0].dtype == dtype


def test_the_guess_is_reported() -> None:
    oto = AutoSubnet(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    assert any("first layer, Linear(4)" in note for note in oto.notes)


def test_the_guess_repeats() -> None:
    model = nn.Linear(4, 2)
    assert torch.equal(guess(model)[0].args[0], guess(model)[0].args[0])


class Needs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.layer(x) + y


@pytest.mark.parametrize(
    ("model", "seen"),
    [
        (Needs(), "missing 1 required positional argument"),
        (Applied(lambda m, x: x.no_such_thing), "no_such_thing"),
        (nn.Sequential(nn.ReLU()), "no layer that says what it reads"),
    ],
    ids=["two inputs", "fails", "no layers"],
)
def test_what_cannot_be_guessed_is_asked_for(model: nn.Module, seen: str) -> None:
    with pytest.raises(InputError, match=r"pass example_inputs=") as caught:
        guess(model)
    assert seen in str(caught.value)


def vary(tensor: Any, batch: int | None = None, seed: int = 0) -> Tensor:
    return others(Inputs.of(tensor), batch, seed).args[0]


def test_other_inputs_have_other_values_and_another_batch_size() -> None:
    x = rows()
    assert tuple(vary(x, 5).shape) == (5, 4)
    assert not torch.equal(vary(x), x)
    assert not torch.equal(vary(x), vary(x, seed=1))
    assert torch.equal(vary(x, 5), vary(x, 5))


def test_other_integers_are_among_those_given() -> None:
    ids = torch.tensor([[3, 1], [4, 1]])
    assert set(vary(ids, 8).flatten().tolist()) <= {1, 3, 4}


def test_a_mask_of_ones_gets_a_zero() -> None:
    mask = vary(torch.ones(2, 3, dtype=torch.long), 4)
    assert mask.shape == (4, 3)
    assert not mask[:, -1].any()
    assert mask[:, :-1].all()


def test_tensors_without_dimensions_or_entries() -> None:
    assert vary(torch.tensor(2.5), 3) == 2.5
    assert tuple(vary(torch.empty(2, 0), 3).shape) == (3, 0)


def test_structures_stay() -> None:
    inputs = others(Inputs((rows(), [rows(), None]), {"a": {"b": rows()}, "n": 3}), 5)
    assert tuple(inputs.args[1][0].shape) == (5, 4)
    assert inputs.args[1][1] is None
    assert tuple(inputs.kwargs["a"]["b"].shape) == (5, 4)
    assert inputs.kwargs["n"] == 3


def test_other_resolutions_and_lengths() -> None:
    def shape(resize: Any, *sizes: int, dtype: torch.dtype = torch.float32) -> list[int]:
        return resize(torch.zeros(sizes, dtype=dtype))

    assert shape(shrunk, 2, 3, 224, 224) == [2, 3, 128, 96]
    assert shape(shrunk, 2, 3, 16, 224, 224) == [2, 3, 24, 96, 128]
    assert shape(shrunk, 2, 3, 96, 64) == shape(grown, 2, 3, 96, 64), "small ones cost little"
    assert shape(shrunk, 2, 512, dtype=torch.long) == [2, 256]
    assert shape(grown, 2, 3, 224, 224) == [2, 3, 256, 192]
    assert shape(grown, 2, 3, 32, 32) == [2, 3, 40, 40]
    assert shape(grown, 2, 5, 8) == [2, 7, 8]
    assert shape(lengthened, 2, 5, 16) == [2, 5, 24]
    assert shape(grown, 2, 16, dtype=torch.long) == [2, 24]
    assert shape(shortened, 2, 16, dtype=torch.long) == [2, 12]
    for resize in RESIZES:
        assert shape(resize, 4, 6) == [4, 6], "rows of features have one size"
        assert shape(resize) == []


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", [torch.long, torch.bool])
def test_a_mask_that_masks_something_still_does(dtype: torch.dtype, seed: int) -> None:
    mask = torch.ones(2, 7, dtype=dtype)
    mask[-1, -1] = 0
    (other,) = others(Inputs.of(mask), 3, seed).args
    assert set(other.flatten().tolist()) == {0, 1}
