"""Texts for word-level language models: files in the format of Penn Treebank, and the English of Python's own help.

Penn Treebank is licensed and never downloaded. The help of Python is the text of ``pydoc_data.topics``, which comes
with CPython: about 100,000 words and signs of the language reference. It differs a little from version to version of
Python, and so do perplexities on it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from autosubnet.errors import InputError

UNKNOWN, END = "<unk>", "<eos>"
PARTS = ("train", "valid", "test")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w")


@dataclass(frozen=True)
class TextData:
    """A text in memory, as numbers of words.

    Attributes:
        name: where it comes from.
        vocabulary: the words by their numbers, the most frequent of the training part first; ``<unk>`` stands for all
            others, ``<eos>`` ends each line.
        train: numbers of words ``(N,)`` int64 to train on.
        valid: the same, to search and to choose on.
        test: the same, to measure on.
    """

    name: str
    vocabulary: tuple[str, ...]
    train: Tensor
    valid: Tensor
    test: Tensor


def read_text(folder: Path, vocabulary_size: int | None = None) -> TextData:
    """Read ``train.txt``, ``valid.txt`` and ``test.txt``: a sentence a line, words apart by blanks.

    Args:
        folder: where they are.
        vocabulary_size: number of words at most, with ``<unk>`` and ``<eos>``; all words of the training part if
            ``None``.

    Raises:
        InputError: if a file is missing, empty or no text, or the vocabulary has less than three words.
    """
    return _text_data(str(folder), {part: _read_lines(folder / f"{part}.txt") for part in PARTS}, vocabulary_size)


def python_topics(vocabulary_size: int = 2000) -> TextData:
    """Return the text of Python's own help: lower case, signs are words, lines without a letter or digit left out.

    The first eight tenths of the lines are to train on, a tenth each to search and to measure on; topics are in
    alphabetical order.

    Args:
        vocabulary_size: number of words at most, with ``<unk>`` and ``<eos>``.

    Raises:
        InputError: if this Python comes without it, or the vocabulary has less than three words.
    """
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError as error:
        raise InputError("This Python has no pydoc_data; install the whole standard library.") from error
    text = "\n".join(topics[topic] for topic in sorted(topics))
    lines = [_TOKEN.findall(line) for line in text.lower().splitlines() if _WORD.search(line)]
    first, second = 8 * len(lines) // 10, 9 * len(lines) // 10
    parts = {"train": lines[:first], "valid": lines[first:second], "test": lines[second:]}
    return _text_data("python-topics", parts, vocabulary_size)


def _read_lines(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise InputError(f"There is no {path}; a text is a folder with {', '.join(f'{part}.txt' for part in PARTS)}.")
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text ({error}); get it again.") from error
    if not any(lines):
        raise InputError(f"{path} holds no word; put a sentence in each line, its words apart by blanks.")
    return lines


def _text_data(name: str, parts: Mapping[str, list[list[str]]], vocabulary_size: int | None) -> TextData:
    if vocabulary_size is not None and vocabulary_size < 3:
        raise InputError(f"A vocabulary needs a word beside {UNKNOWN} and {END}, so at least 3, got {vocabulary_size}.")
    words = {part: list(chain.from_iterable([*line, END] for line in lines)) for part, lines in parts.items()}
    vocabulary = _vocabulary(words["train"], vocabulary_size)
    numbers = {word: number for number, word in enumerate(vocabulary)}
    unknown = numbers[UNKNOWN]
    ids = {part: torch.tensor([numbers.get(word, unknown) for word in words[part]]) for part in PARTS}
    return TextData(name, vocabulary, **ids)


def _vocabulary(words: Iterable[str], size: int | None) -> tuple[str, ...]:
    """Return the most frequent words, those as frequent as each other by the alphabet."""
    counts = Counter(words)
    special = [word for word in (END, UNKNOWN) if word not in counts]
    ordered = sorted(counts, key=lambda word: (word not in (END, UNKNOWN), -counts[word], word))
    kept = ordered[: size and size - len(special)]
    return (*sorted(kept, key=lambda word: (-counts[word], word)), *special)
