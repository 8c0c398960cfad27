"""A text as columns and windows for truncated backpropagation through time, and perplexity (DARTS, Section 3.1.2)."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autosubnet.errors import InputError

_LARGEST = math.log(sys.float_info.max)


def columns(words: Tensor, batch_size: int) -> Tensor:
    """Cut a text into columns of one length, side by side; what is left at its end is unused.

    Args:
        words: numbers of words ``(N,)``.
        batch_size: number of columns, B.

    Returns:
        Numbers of words ``(N // B, B)``.

    Raises:
        InputError: if there is no column, or the text has less than two words for each.
    """
    length = len(words) // batch_size if batch_size > 0 else 0
    if length < 2:
        raise InputError(
            f"A text of {len(words)} words cannot be cut into {batch_size} columns of two words or more; lower the "
            "batch size, but not below 1."
        )
    return words[: length * batch_size].view(batch_size, length).t().contiguous()


def windows(text: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the words and those that follow them, window after window.

    Args:
        text: columns ``(T, B)``.
        length: of a window, 35 in DARTS; the last one may be shorter.

    Yields:
        Two tensors ``(length, B)``; every word but those of the first row is once among the second.

    Raises:
        InputError: if the length is less than 1.
    """
    if length < 1:
        raise InputError(f"A window needs a length of at least 1, got {length}.")
    for start in range(0, len(text) - 1, length):
        stop = min(start + length, len(text) - 1)
        yield text[start:stop], text[start + 1 : stop + 1]


class WordByWord(nn.Module):
    """A language model made of one step of it, such as :class:`autosubnet.supernets.NextWord`.

    Args:
        step: maps words ``(B,)`` and a state ``(B, size)`` to logits ``(B, vocabulary)`` and the state after.
        size: of a state; a text begins with zeros.
    """

    def __init__(self, step: nn.Module, size: int) -> None:
        super().__init__()
        self.step, self.size = step, size

    def forward(self, words: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return logits ``(T, B, vocabulary)`` for words ``(T, B)``, and the state after."""
        state = torch.zeros(words.shape[1], self.size, device=words.device) if hidden is None else hidden
        logits = []
        for now in words:
            following, state = self.step(now, state)
            logits.append(following)
        return torch.stack(logits), state


@torch.no_grad()
def perplexity(model: nn.Module, words: Tensor, batch_size: int = 10, length: int = 35) -> float:
    """Return the exponential of the mean cross-entropy of each word given those before it, in eval mode.

    Unlike DARTS' code, which divides by one more than the number of words that are predicted.

    Args:
        model: maps words ``(T, B)`` and a state, ``None`` at first, to logits ``(T, B, vocabulary)`` and a state.
        words: numbers of words ``(N,)``.
        batch_size: number of columns that the text is cut into; each begins with no state.
        length: of the windows that are run at once; the result does not depend on it.

    Raises:
        InputError: see :func:`columns` and :func:`windows`.
    """
    text = columns(words, batch_size).to(next(model.parameters()).device)
    was_training = model.training
    model.eval()
    total, hidden = 0.0, None
    for tokens, targets in windows(text, length):
        logits, hidden = model(tokens, hidden)
        total += float(cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"))
    model.train(was_training)
    mean = total / text[1:].numel()
    return math.exp(mean) if mean < _LARGEST else math.inf
