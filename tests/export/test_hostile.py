"""Folders that were damaged or made to harm: an error of ours, and nothing is run or written."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from autosubnet.errors import ExportError
from autosubnet.export import load, save
from autosubnet.export.document import to_document
from autosubnet.export.operators import functions, methods
from autosubnet.export.rebuild import to_module
from autosubnet.export.source import to_source

from .networks import Numbered, Tokens, assert_same, rows, tokens, traced

Document = dict[str, Any]
pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")  # of what fx generates from strange constants


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, dict[str, torch.Tensor]]:
    folder = save(traced(Tokens()), tmp_path_factory.mktemp("good") / "out")
    return json.loads((folder / "graph.json").read_text()), load_file(folder / "weights.safetensors")


@pytest.fixture(autouse=True)
def _alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it an error that something of the document is executed."""

    def alarm(*args: Any) -> None:
        raise SystemExit("executed")

    monkeypatch.setattr("os.system", alarm)


def node(document: Document, name: str) -> dict[str, Any]:
    return next(each for each in document["graphs"]["both"] if each["name"] == name)


def setting(name: str, /, **entries: Any) -> Callable[[Document], None]:
    return lambda document: node(document, name).update(entries)


EVIL = "x = __import__('os').system('true')"
HARMFUL: dict[str, Callable[[Document], Any]] = {
    "function that reads files": setting("add", target="torch.load", args=["model.pt"]),
    "function of another module": setting("add", target="os.system", args=["true"]),
    "function that runs code": setting("add", target="builtins.eval", args=["1"]),
    "function that takes functions": setting("add", target="operator.call", args=[1]),
    "function that maps files": setting("add", target="torch.from_file", args=["f"]),
    "private function": setting("add", target="torch._C._nn.linear"),
    "method that runs code": setting("masked_fill", target="apply_"),
    "method with source in its name": setting("masked_fill", target=f"relu(); {EVIL} #"),
    "attribute that is no tensor's": setting(
        "add", target="builtins.getattr", args=[{"node": "embed"}, "__class__"], kwargs={}
    ),
    "attribute read with a node": setting(
        "add", target="builtins.getattr", args=[{"node": "embed"}, {"node": "embed"}], kwargs={}
    ),
    "module path with source": setting("embed", target=f'embed"); {EVIL} #'),
    "module that is not there": setting("embed", target="nothing"),
    "attribute path with source": setting("position", target=f"position; {EVIL}"),
    "attribute that is a module": setting("position", target="embed"),
    "input with source": setting("tokens", target=f"tokens, y={EVIL}"),
    "input of many": setting("tokens", target="*tokens"),
    "keyword with source": setting("masked_fill", kwargs={f"v=1); {EVIL} #": 1}),
    "name with source": setting("masked_fill", name=f"a; {EVIL}"),
    "node of no kind": setting("masked_fill", op="call_anything"),
    "named tuple with source": lambda d: node(d, "output").update(
        args=[{"named": ["Pair", ["first", EVIL], [1, 2]]}]
    ),
    "named tuple of another name": lambda d: node(d, "output").update(args=[{"named": ["Pair()", ["a"], [1]]}]),
    "constant that is a function": setting("masked_fill", args=[{"torch": "load"}, 1, 2]),
    "class of another module": lambda d: d["modules"].update(embed={"class": "os.system", "config": {"command": "x"}}),
    "class that is a container": lambda d: d["modules"].update(embed={"class": "torch.nn.Sequential", "config": {}}),
    "class that is a function": lambda d: d["modules"].update(embed={"class": "torch.nn.factory_kwargs", "config": {}}),
    "class by a path": lambda d: d["modules"].update(embed={"class": "torch.nn.init.normal_", "config": {}}),
    "module name that hides a method": lambda d: d["modules"].update(forward=None),
    "tensor name that hides a method": lambda d: d["aliases"].update({"norm.forward": "norm.weight"}),
}  # fmt: skip
DAMAGED: dict[str, Callable[[Document], Any]] = {
    "another format": lambda d: d.update(format="something"),
    "a later version": lambda d: d.update(version=99),
    "no modules": lambda d: d.pop("modules"),
    "no modes": lambda d: d.update(graphs={}),
    "strange modes": lambda d: d.update(graphs={"train": []}),
    "an empty graph": lambda d: d["graphs"].update(both=[]),
    "no output": lambda d: d["graphs"]["both"].pop(),
    "a node less": lambda d: d["graphs"]["both"].remove(node(d, "embed")),
    "a node twice": lambda d: d["graphs"]["both"].insert(3, copy.deepcopy(node(d, "embed"))),
    "a node that reads a later one": setting("embed", args=[{"node": "output"}]),
    "an unknown type of argument": setting("masked_fill", args=[{"function": "f"}]),
    "an argument of two types": setting("masked_fill", args=[{"tuple": [], "list": []}]),
    "a dict with a list as key": setting("masked_fill", args=[{"dict": [[{"list": []}, 1]]}]),
    "a device that is none": setting("masked_fill", args=[{"device": "moon"}]),
    "a slice of four": setting("masked_fill", args=[{"slice": [1, 2, 3, 4]}]),
    "arguments that are none": setting("masked_fill", args="x"),
    "a target that is no name": setting("masked_fill", target=["relu"]),
    "a config that does not fit": lambda d: d["modules"]["norm"].update(config={"size": 6}),
    "a config of other sizes": lambda d: d["modules"]["norm"]["config"].update(normalized_shape={"tuple": [7]}),
    "a config of huge sizes": lambda d: d["modules"]["embed"]["config"].update(num_embeddings=10**14),
    "a module without parent": lambda d: d["modules"].update({"a.b": None}),
    "a tensor less": lambda d: d["tensors"].pop("norm.weight"),
    "a tensor of another shape": lambda d: d["tensors"]["norm.weight"].update(shape=[7]),
    "a tensor of another kind": lambda d: d["tensors"]["norm.weight"].update(parameter=False),
    "a tie to nothing": lambda d: d["aliases"].update({"out.weight": "nothing"}),
    "a tie of other shapes": lambda d: d["aliases"].update({"out.weight": "norm.weight"}),
    "a tie that is missing": lambda d: d["aliases"].clear(),
}  # fmt: skip


@pytest.mark.parametrize("change", [*HARMFUL, *DAMAGED])
def test_bad_documents_are_refused(change: str, good: tuple[Document, dict[str, torch.Tensor]]) -> None:
    document = copy.deepcopy(good[0])
    {**HARMFUL, **DAMAGED}[change](document)
    assert document != good[0]
    with pytest.raises(ExportError):
        to_module(document, good[1])


def test_the_good_document_is_accepted(good: tuple[Document, dict[str, torch.Tensor]]) -> None:
    assert_same(traced(Tokens()), to_module(*good), tokens())


def test_a_message_names_the_node_and_the_function(good: tuple[Document, dict[str, torch.Tensor]]) -> None:
    document = copy.deepcopy(good[0])
    setting("add", target="torch.load")(document)
    with pytest.raises(ExportError, match=r"node 'add' wants to call 'torch\.load'"):
        to_module(document, good[1])


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _places(data: Any) -> list[tuple[Any, Any]]:
    keys = list(data) if isinstance(data, dict) else list(range(len(data))) if isinstance(data, list) else []
    return [(data, key) for key in keys] + [place for key in keys for place in _places(data[key])]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(choice=st.integers(0, 10**6), value=Json)
def test_any_change_gives_a_network_or_our_error(
    choice: int, value: Any, good: tuple[Document, dict[str, torch.Tensor]]
) -> None:
    document = copy.deepcopy(good[0])
    places = _places(document)
    container, key = places[choice % len(places)]
    container[key] = value
    try:
        assert isinstance(to_module(document, good[1]), nn.Module)
    except ExportError:
        return


def test_source_text_anywhere_is_never_code(good: tuple[Document, dict[str, torch.Tensor]]) -> None:
    """A line of Python at every place of the document: refused, or kept as text in what is generated."""
    accepted = 0
    for number in range(len(_places(good[0]))):
        document = copy.deepcopy(good[0])
        container, key = _places(document)[number]
        container[key] = EVIL
        try:
            network = to_module(document, good[1])
        except ExportError:
            continue
        accepted += 1
        for code in (network.code, to_source(to_document(network)[0])):
            names = {each.id for each in ast.walk(ast.parse(code)) if isinstance(each, ast.Name)}
            assert "__import__" not in names
    assert accepted > 0


# ---------------------------------------------------------------- files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(traced(Numbered()), tmp_path / "out")


@pytest.mark.parametrize("name", ["graph.json", "weights.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_files(name: str, share: float, folder: Path) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(ExportError, match=name):
        load(folder)


@pytest.mark.parametrize("name", ["graph.json", "weights.safetensors"])
def test_missing_files(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(ExportError, match=name):
        load(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, "NaN", "[1]", "\x00", "{}"])
def test_json_that_is_no_document(text: str, folder: Path) -> None:
    (folder / "graph.json").write_text(text)
    with pytest.raises(ExportError, match=r"graph\.json"):
        load(folder)


def test_deeply_nested_arguments(folder: Path) -> None:
    document = json.loads((folder / "graph.json").read_text())
    document["graphs"]["both"][-1]["args"] = ["here"]
    nested = '{"list": [' * 400 + "1" + "]}" * 400
    (folder / "graph.json").write_text(json.dumps(document).replace('"here"', nested))
    with pytest.raises(ExportError, match=r"damaged|cannot read"):
        load(folder)


def test_a_tensor_more_or_less(folder: Path) -> None:
    tensors = load_file(folder / "weights.safetensors")
    tensors["more"] = torch.zeros(1)
    save_file(tensors, folder / "weights.safetensors")
    with pytest.raises(ExportError, match="disagree about the tensors more"):
        load(folder)


def test_a_damaged_report(folder: Path) -> None:
    (folder / "report.json").write_text('{"kept": {"a": {"x": [1]}}}')
    with pytest.raises(ExportError, match=r"report\.json is damaged"):
        load(folder)


def test_the_source_file_is_never_read(folder: Path) -> None:
    (folder / "model.py").write_text("raise SystemExit('executed')")
    assert_same(traced(Numbered()), load(folder), rows())


# ---------------------------------------------------------------- the lists of operators


def test_no_listed_function_opens_files_or_takes_functions() -> None:
    words = ("load", "save", "file", "compile", "import", "eval_", "exec", "hub.", "numpy", "dlpack", "set_default")
    assert [name for name in functions() if any(word in name for word in words)] == []
    words = (*words, "hook", "untyped_storage", "data_ptr", "map_", "apply", "__reduce", "__getattr", "__call")
    assert [name for name in methods() if any(word in name for word in words)] == []
