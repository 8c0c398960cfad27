"""Folding: a network of 400 operations is a ribbon a hundred times as long as wide; as columns it fits a page.

The ribbon is cut where few links cross, and the pieces stand side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import sqrt

from autosubnet.viz.boxes import Box, Link

_GAP = 2.5  # lines of text between one box and the next
_MARGIN = 8  # between columns and for the links beside the boxes, in lines of text
_ASPECT = 1.5  # width over height aimed at
_ONE_COLUMN = 80  # lines of text that one column may have before it is folded
_DEAREST_CUT = 4.5  # links that may cross a cut, and a half if it goes through a frame


def fold(boxes: Sequence[Box]) -> list[list[Box]]:
    """Return ``boxes``, in topological order, as columns of about equal height that few links leave."""
    depths = _depths(boxes)
    total = max(depths, default=0.0)
    if total <= _ONE_COLUMN:
        return [list(boxes)]
    width = sum((box.lines + _GAP) * box.width for box in boxes) / total  # of the boxes beside one another
    columns = max(2, round(sqrt(_ASPECT * total / (width + _MARGIN))))
    costs = _costs(boxes)
    cuts = [0]
    while (cut := _next_cut(depths, costs, cuts[-1], total / columns)) is not None:
        cuts.append(cut)
    return [list(boxes[start:end]) for start, end in zip(cuts, [*cuts[1:], len(boxes)], strict=True)]


def _depths(boxes: Sequence[Box]) -> list[float]:
    """Return the height of the picture, in lines, down to and including each prefix of ``boxes``."""
    bottom: dict[str, float] = {}
    depths: list[float] = []
    for box in boxes:
        top = max((bottom[link.source] for link in box.links), default=0.0)
        bottom[box.name] = top + box.lines + _GAP
        depths.append(max(bottom[box.name], depths[-1] if depths else 0.0))
    return depths


def _costs(boxes: Sequence[Box]) -> list[float]:
    """Return for each position how many links' sources before it are read behind it, and a half inside a frame."""
    position = {box.name: index for index, box in enumerate(boxes)}
    last: dict[Link, int] = {link: index for index, box in enumerate(boxes) for link in box.links}
    change = [0] * (len(boxes) + 1)
    for link, index in last.items():
        change[position[link.source] + 1] += 1
        change[index + 1] -= 1
    frames = ["", *(box.frame for box in boxes)]
    inside = [before == box.frame != "" for before, box in zip(frames, boxes, strict=False)]
    return [crossing + 0.5 * within for crossing, within in zip(accumulate(change), inside, strict=False)]


def _next_cut(depths: Sequence[float], costs: Sequence[float], start: int, height: float) -> int | None:
    """Return where the column that begins at ``start`` ends, ``None`` at the bottom of the graph.

    Of the positions at 0.6 to 1.25 times ``height`` the best is taken, where being off by half the height is as bad
    as one link more; where none is cheap enough, the first behind them that is. The last column has at least 0.4
    times ``height``.
    """
    top = depths[start - 1] if start else 0.0
    if depths[-1] - top <= 1.25 * height:
        return None
    tall = {
        cut: depths[cut - 1] - top
        for cut in range(start + 1, len(depths))
        if costs[cut] <= _DEAREST_CUT and depths[-1] - depths[cut - 1] >= 0.4 * height
    }
    window = [cut for cut in tall if 0.6 * height <= tall[cut] <= 1.25 * height]
    if window:
        return min(window, key=lambda cut: costs[cut] + 2 * abs(tall[cut] - height) / height)
    return next((cut for cut in tall if tall[cut] > height), None)
