"""Texts, their vocabularies, columns and windows, and perplexity."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autosubnet.errors import InputError
from autosubnet.training.sequences import columns, perplexity, windows
from autosubnet.training.text import END, PARTS, UNKNOWN, TextData, python_topics, read_text

TEXTS = {"train": " a b a \n c <unk> a b \n", "valid": " a d \n", "test": " c c \n\n b \n"}


def write(folder: Path, **texts: str) -> Path:
    for part, text in {**TEXTS, **texts}.items():
        (folder / f"{part}.txt").write_text(text, encoding="utf-8")
    return folder


def words(data: TextData, part: str) -> list[str]:
    return [data.vocabulary[number] for number in getattr(data, part)]


def test_the_format_of_penn_treebank(tmp_path: Path) -> None:
    """Lines end with <eos>; what is not in the training part is <unk>; the most frequent words come first."""
    data = read_text(write(tmp_path))
    assert data.vocabulary == ("a", END, "b", UNKNOWN, "c")
    assert words(data, "train") == ["a", "b", "a", END, "c", UNKNOWN, "a", "b", END]
    assert words(data, "valid") == ["a", UNKNOWN, END]
    assert words(data, "test") == ["c", "c", END, END, "b", END]
    assert all(getattr(data, part).dtype == torch.int64 for part in PARTS)


@pytest.mark.parametrize(("size", "kept"), [(3, ("a", END, UNKNOWN)), (4, ("a", END, "b", UNKNOWN)), (99, None)])
def test_a_vocabulary_of_the_most_frequent(tmp_path: Path, size: int, kept: tuple[str, ...] | None) -> None:
    data = read_text(write(tmp_path), size)
    assert data.vocabulary == (kept or ("a", END, "b", UNKNOWN, "c"))


def test_a_text_without_unknown_words_gets_a_number_for_them(tmp_path: Path) -> None:
    data = read_text(write(tmp_path, train="a b\n"))
    assert data.vocabulary == (END, "a", "b", UNKNOWN)
    assert read_text(tmp_path, 3).vocabulary == (END, "a", UNKNOWN)
    assert words(data, "test") == [UNKNOWN, UNKNOWN, END, END, "b", END]


def test_words_of_any_script(tmp_path: Path) -> None:
    assert "größer" in read_text(write(tmp_path, train="größer 東京\n")).vocabulary


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, r"There is no .*valid\.txt; a text is a folder with train\.txt, valid\.txt, test\.txt"),
        (b"", r"valid\.txt holds no word; put a sentence in each line"),
        (b" \n\n", r"valid\.txt holds no word"),
        (b"\xff\xfe\x00", r"valid\.txt cannot be read as UTF-8 text .*; get it again"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, raw: bytes | None, message: str) -> None:
    path = write(tmp_path) / "valid.txt"
    path.unlink() if raw is None else path.write_bytes(raw)
    with pytest.raises(InputError, match=message) as caught:
        read_text(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no .*absent/train\.txt"):
        read_text(tmp_path / "absent")


def test_a_vocabulary_needs_a_word(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 3, got 2"):
        read_text(write(tmp_path), 2)
    with pytest.raises(InputError, match="at least 3, got 0"):
        python_topics(0)


def test_help_of_python() -> None:
    data = python_topics(500)
    assert len(data.vocabulary) == 500
    assert {UNKNOWN, END, "the", "class", "."} <= set(data.vocabulary)
    sizes = [len(getattr(data, part)) for part in PARTS]
    assert sum(sizes) > 80_000
    lines = [int((getattr(data, part) == data.vocabulary.index(END)).sum()) for part in PARTS]
    assert lines[0] == pytest.approx(8 * lines[1], abs=8)
    assert lines[2] == pytest.approx(lines[1], abs=1)
    for part in PARTS:
        unknown = (getattr(data, part) == data.vocabulary.index(UNKNOWN)).float().mean()
        assert 0 < unknown < 0.25
    assert torch.equal(python_topics(500).train, data.train)


def test_a_python_without_its_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match="no pydoc_data; install the whole standard library"):
        python_topics()


# ---------------------------------------------------------------------- columns and windows


def test_columns_are_texts() -> None:
    assert columns(torch.arange(11), 3).tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


@pytest.mark.parametrize("batch_size", [-1, 0, 6])
def test_texts_too_short_for_columns(batch_size: int) -> None:
    with pytest.raises(InputError, match=f"11 words cannot be cut into {batch_size} columns"):
        columns(torch.arange(11), batch_size)


@pytest.mark.parametrize("length", [1, 3, 4, 9, 50])
def test_windows_hold_every_word_and_the_next(length: int) -> None:
    text = columns(torch.arange(20), 2)
    pairs = list(windows(text, length))
    assert all(len(tokens) == len(targets) <= length for tokens, targets in pairs)
    assert torch.equal(torch.cat([tokens for tokens, _ in pairs]), text[:-1])
    assert torch.equal(torch.cat([targets for _, targets in pairs]), text[1:])


def test_windows_have_a_length() -> None:
    with pytest.raises(InputError, match="at least 1, got 0"):
        list(windows(columns(torch.arange(20), 2), 0))


# ---------------------------------------------------------------------- perplexity


class Counting(nn.Module):
    """Says the same of every word, and counts steps in its state."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.modes: list[bool] = []
        self.steps: list[int] = []

    def forward(self, tokens: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        self.modes.append(self.training)
        hidden = (torch.zeros(tokens.shape[1]) if hidden is None else hidden) + len(tokens)
        self.steps.append(int(hidden[0]))
        return self.logits.expand(*tokens.shape, -1), hidden


@pytest.mark.parametrize("length", [1, 4, 100])
def test_perplexity_of_a_known_distribution(length: int) -> None:
    """The first word of each column is predicted by none."""
    probabilities = torch.tensor([0.5, 0.3, 0.2])
    model = Counting(probabilities.log())
    text = torch.tensor([0, 1, 2, 0, 0, 1, 1, 2, 0, 0, 1])
    predicted = torch.cat([text[1:5], text[6:10]])
    expected = math.exp(-float(probabilities[predicted].log().mean()))
    assert perplexity(model, text, batch_size=2, length=length) == pytest.approx(expected, rel=1e-6)
    assert model.steps[-1] == 4
    assert not any(model.modes)
    assert model.training


def test_perplexity_of_the_impossible_is_infinite() -> None:
    model = Counting(torch.tensor([0.0, -1e6]))
    assert perplexity(model, torch.ones(20, dtype=torch.int64), batch_size=2) == math.inf
