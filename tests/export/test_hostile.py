"""Documents that were damaged or made to harm: an error of ours, and nothing of them is run."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from autosubnet.errors import ExportError
from autosubnet.export import save
from autosubnet.export.document import to_document
from autosubnet.export.operators import functions, methods
from autosubnet.export.rebuild import to_module
from autosubnet.export.source import to_source

from .networks import Tokens, assert_same, tokens, traced

Document = dict[str, Any]
pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")  # of what fx generates from strange constants


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, dict[str, torch.Tensor]]:
    folder = save(traced(Tokens()), tmp_path_factory.mktemp("good") / "out")
    return json.loads((folder / "graph.json").read_text()), load_file(folder / "model.safetensors")


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


def _call(document: Document, path: str, argument: str) -> None:
    document["modules"][path] = None
    call = {"name": "called", "op": "call_module", "target": path, "args": [argument], "kwargs": {}}
    document["graphs"]["both"].insert(-1, call)


def _adding(kind: str, **config: Any) -> Callable[[Document], None]:
    return lambda document: document["modules"].update(more={"class": f"torch.nn.{kind}", "config": config})


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
    "module name that is a method of graphs": lambda d: _call(d, "to_folder", "stolen"),
    "tensor name that is a method of graphs": lambda d: d["aliases"].update({"recompile": "position"}),
    "method that reaches a class": setting("masked_fill", target="__class__", args=[{"node": "embed"}]),
    "path that reaches a class": setting("position", target="embed.__class__"),
    "path out of the folder": lambda d: d["modules"].update({"../up": None}),
    "layer on a device of its own": lambda d: d["modules"]["norm"]["config"].update(device={"device": "cpu"}),
    "layer with weights of its own": lambda d: d["modules"]["embed"]["config"].update(_freeze=True),
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
    "a tensor of 10^9 entries": lambda d: d["tensors"]["position"].update(shape=[1, 10**5, 10**4]),
    "a tensor of another dtype": lambda d: d["tensors"]["position"].update(dtype="int8"),
    "a node that reads itself": setting("embed", args=[{"node": "embed"}]),
    "a number that no tensor holds": setting("masked_fill", args=[{"node": "embed"}, 1, 10**4000]),
    "recurrent layers without tensors": _adding("LSTM", input_size=1, hidden_size=1, num_layers=10**9),
    "a layer of many layers": _adding("AdaptiveLogSoftmaxWithLoss", in_features=9, n_classes=9, cutoffs={"list": [1]}),
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


# ---------------------------------------------------------------- the lists of operators


def test_no_listed_function_opens_files_or_takes_functions() -> None:
    words = ("load", "save", "file", "compile", "import", "eval_", "exec", "hub.", "numpy", "dlpack", "set_default")
    assert [name for name in functions() if any(word in name for word in words)] == []
    words = (*words, "hook", "untyped_storage", "data_ptr", "map_", "apply", "__reduce", "__getattr", "__call")
    assert [name for name in methods() if any(word in name for word in words)] == []
