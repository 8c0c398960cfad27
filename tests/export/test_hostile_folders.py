"""Folders that were damaged or made to harm: an error of ours, in little memory, and nothing is run or written.

Who alters the weights can alter their fingerprint too; those cases are marked by :func:`refitted`.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from autosubnet.errors import ExportError
from autosubnet.export import load, save
from autosubnet.export.reading import LARGEST_TEXT, fingerprint

from .networks import Tokens, assert_same, tokens, traced

ROOM = 2**30  # bytes of memory above those that the process has
GRAPH, WEIGHTS, REPORT = "graph.json", "model.safetensors", "report.json"
Change = Callable[[Path], Any]


def rewritten(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Return what changes the document in a folder."""

    def apply(folder: Path) -> None:
        document = json.loads((folder / GRAPH).read_text())
        change(document)
        (folder / GRAPH).write_text(json.dumps(document))

    return apply


def replaced(old: str, new: str) -> Change:
    """Return what changes the text of the graph."""

    def apply(folder: Path) -> None:
        text = (folder / GRAPH).read_text()
        assert old in text
        (folder / GRAPH).write_text(text.replace(old, new, 1))

    return apply


def refitted(change: Change) -> Change:
    """Return what changes the weights, and writes their new fingerprint into the graph."""

    def apply(folder: Path) -> None:
        change(folder)
        rewritten(lambda document: document.update(weights=fingerprint(folder / WEIGHTS)))(folder)

    return apply


def resaved(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Change:
    return refitted(lambda folder: save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS))


def header(entries: Any, data: bytes = b"") -> Change:
    """Return what writes a safetensors file of this header by hand."""
    text = json.dumps(entries).encode()
    content = struct.pack("<Q", len(text)) + text + data
    return refitted(lambda folder: (folder / WEIGHTS).write_bytes(content))


def truncated(name: str, share: float) -> Change:
    def apply(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return apply


def flipped(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-5] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def instead(name: str, make: Callable[[Path], Any]) -> Change:
    """Return what puts something else where a file was."""

    def apply(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return apply


def sized(count: int) -> Callable[[Path], None]:
    """Return what makes a file of zeros that takes no room on the disk."""

    def make(path: Path) -> None:
        path.touch()
        os.truncate(path, count)

    return make


class Harmful:
    """What a pickle would run."""

    def __reduce__(self) -> Any:
        return os.system, ("echo run",)


def zipped(path: Path) -> None:
    torch.save({"position": Harmful()}, path)


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def text(content: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(content)


def nested_modules(document: dict[str, Any]) -> None:
    document["modules"] |= {".".join(["deep"] * depth): None for depth in range(1, 1200)}


def layer(kind: str, **config: Any) -> Change:
    return rewritten(lambda d: d["modules"].update(more={"class": f"torch.nn.{kind}", "config": config}))


WIDE = "[" + "[]," * (LARGEST_TEXT // 3) + "[]]"
NESTED = '{"list": [' * 400 + "1" + "]}" * 400
HUGE = {"position": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}
CASES: dict[str, tuple[Change, str]] = {
    # name: (what is done to a good folder, what the message says)
    "no graph": (lambda folder: (folder / GRAPH).unlink(), GRAPH),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS),
    **{f"a graph cut to {share}": (truncated(GRAPH, share), GRAPH) for share in (0, 0.5, 0.99)},
    **{f"weights cut to {share}": (truncated(WEIGHTS, share), WEIGHTS) for share in (0, 0.5, 0.99)},
    **{f"refitted, cut to {share}": (refitted(truncated(WEIGHTS, share)), WEIGHTS) for share in (0, 0.5, 0.99)},
    "one bit of the weights": (flipped, "it was altered"),
    "weights of another network": (instead(WEIGHTS, lambda path: save_file({"a": torch.zeros(3)}, path)), "bytes"),
    "no fingerprint": (rewritten(lambda d: d.pop("weights")), "saved with None"),
    "a fingerprint that is none": (rewritten(lambda d: d.update(weights=[1])), "saved with None"),
    "a pickle": (refitted(instead(WEIGHTS, lambda path: path.write_bytes(pickle.dumps(Harmful())))), WEIGHTS),
    "an archive of torch.save": (refitted(instead(WEIGHTS, zipped)), WEIGHTS),
    "a pickle beside": (lambda folder: (folder / WEIGHTS).rename(folder / "pytorch_model.bin"), WEIGHTS),
    "a tensor more": (resaved(lambda tensors: {**tensors, "more": torch.zeros(1)}), "disagree about the tensors more"),
    "a tensor less": (resaved(lambda tensors: {k: tensors[k] for k in list(tensors)[1:]}), "disagree about"),
    "a tensor by a path": (resaved(lambda tensors: {**tensors, "../up": torch.zeros(1)}), r"disagree .* \.\./up"),
    "weights in half precision": (resaved(lambda t: {k: v.half() for k, v in t.items()}), "'dtype': 'float16'"),
    "weights of another shape": (resaved(lambda t: {k: v.flatten()[:1] for k, v in t.items()}), "'shape': "),
    "10^9 entries in the header": (header(HUGE), "not fully covered"),
    "2^80 entries in the header": (header({"position": {**HUGE["position"], "shape": [2**40, 2**40]}}), "overflow"),
    "bytes that belong to no tensor": (header({}, b"PK" * 8), WEIGHTS),
    "a header of 2^62 bytes": (refitted(lambda f: (f / WEIGHTS).write_bytes(struct.pack("<Q", 2**62) * 4)), "header"),
    "40 GB of zeros as weights": (instead(WEIGHTS, sized(40 * 10**9)), "40,000,000,000 bytes"),
    "20 GB of zeros as graph": (instead(GRAPH, sized(20 * 10**9)), "more than"),
    "a graph of 10^7 lists": (instead(GRAPH, text(WIDE)), "more than"),
    "a report of 10^7 lists": (instead(REPORT, text(WIDE)), "more than"),
    "a graph without end": (instead(GRAPH, zero), "no regular file"),
    "weights without end": (instead(WEIGHTS, zero), "no regular file"),
    "a report without end": (instead(REPORT, zero), "no regular file"),
    "a graph that is a pipe": (instead(GRAPH, os.mkfifo), "no regular file"),
    "weights that are a pipe": (instead(WEIGHTS, os.mkfifo), "no regular file"),
    "a report that is a pipe": (instead(REPORT, os.mkfifo), "no regular file"),
    "a graph that is a folder": (instead(GRAPH, os.mkdir), "no regular file"),
    "a graph that is a link to itself": (instead(GRAPH, lambda path: path.symlink_to(path.name)), GRAPH),
    "a graph that is a list": (instead(GRAPH, text("[1]")), GRAPH),
    "a graph that is no JSON": (instead(GRAPH, text("\x00")), GRAPH),
    "a graph that is no text": (instead(GRAPH, lambda path: path.write_bytes(b"\xff\xfe{}")), GRAPH),
    "an empty object as graph": (instead(GRAPH, text("{}")), GRAPH),
    "100,000 brackets": (instead(GRAPH, text("[" * 100_000)), GRAPH),
    "a key twice": (replaced('"version": 1', '"version": 9, "version": 1'), "'version' is there twice"),
    "NaN": (replaced('"version": 1', '"version": 1, "more": NaN'), "NaN is no number"),
    "a number beyond all": (replaced('"version": 1', '"version": 1, "more": 1e999'), "1e999 is no number"),
    "a number of 5,000 digits": (replaced('"version": 1', f'"version": 1, "more": {"1" * 5000}'), GRAPH),
    "arguments in 400 lists": (replaced('"args": [{"node": "tokens"}]', f'"args": [{NESTED}]'), "damaged|cannot read"),
    "modules in 1,200 modules": (rewritten(nested_modules), "saved graph is damaged"),
    "10^9 recurrent layers": (layer("GRU", input_size=1, hidden_size=1, num_layers=10**9), "claims 1000000000 layers"),
    "8 GB on a device": (layer("Linear", in_features=10**5, out_features=20_000, device={"device": "cpu"}), "'more'"),
    "a report of wrong keys": (instead(REPORT, text('{"kept": {"a": {"x": [1]}}}')), "report.json is damaged"),
    "a report that is a list": (instead(REPORT, text("[1]")), "report.json is damaged"),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return what became of every case, and of a good folder with evil files beside, in one process for all."""
    place = tmp_path_factory.mktemp("hostile")
    names = ["good", *CASES]
    for number, name in enumerate(names):
        folder = save(traced(Tokens()), place / str(number))
        for beside in ("model.py", "README.md", "config.json", "safetensors.py"):
            (folder / beside).write_text("raise SystemExit('executed')")
        if name in CASES:
            CASES[name][0](folder)
    script = Path(__file__).with_name("watched.py")
    folders = [str(place / str(number)) for number in range(len(names))]
    run = subprocess.run(
        [sys.executable, str(script), str(ROOM), *folders], capture_output=True, text=True, check=False, timeout=600
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(lines) == len(names), f"the process ended at {names[len(lines)]!r}: {run.stderr[-500:]}"
    return dict(zip(names, lines, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_bad_folders_are_refused(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    outcome = outcomes[name]
    assert outcome["error"] == ExportError.__name__, outcome
    with pytest.raises(ExportError, match=CASES[name][1]):
        raise ExportError(outcome["message"])
    assert outcome["seen"] == []
    assert outcome["unchanged"]


def test_a_good_folder_is_loaded_whatever_lies_beside(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["good"] == {"error": None, "message": "", "seen": [], "unchanged": True}


def test_links_as_in_the_cache_of_the_hub(tmp_path: Path) -> None:
    """The Hub's client keeps files under their hashes, and a folder of links to them."""
    folder = save(traced(Tokens()), tmp_path / "out")
    (tmp_path / "blobs").mkdir()
    for path in list(folder.iterdir()):
        path.rename(tmp_path / "blobs" / path.name)
        path.symlink_to(Path("..", "blobs", path.name))
    assert_same(traced(Tokens()), load(folder), tokens())
