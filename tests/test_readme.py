"""The tables of the README and of the docs are those of the committed result files, and the quick start runs."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", ROOT / "benchmarks" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", tables().PAGES)
def test_tables_agree_with_the_result_files(name: str) -> None:
    module, page = tables(), (ROOT / name).read_text("utf-8")
    assert module.filled(page, module.PAGES[name]) == page
    assert page.count("<!-- end of") == len(module.PAGES[name])


def test_quick_start_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(compile(code[1], "README.md", "exec"), names)
    assert "5 of 5 chosen groups are zero" in capsys.readouterr().out
    assert (tmp_path / "subnet.onnx").exists()
    assert (tmp_path / "subnet" / "model.safetensors").exists()
