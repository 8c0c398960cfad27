"""The pages in ``docs/`` are true: their Python runs, and prints what is shown behind it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))
# A block of Python and, directly behind it, what it prints.
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:```text\n(?P<shown>.*?)^```$)?", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Yield the code of each block, moved to its line in the page, and what is shown behind it."""
    for match in BLOCK.finditer(page):
        yield "\n" * page.count("\n", 0, match.start("code")) + match["code"], match["shown"] or ""


def test_there_are_pages() -> None:
    assert PAGES


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "-q", str(PAGES[0].parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "reference.html").read_text("utf-8")
    assert "construct_subnet" in reference
    assert all((tmp_path / f"{page.stem}.html").exists() for page in PAGES)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_blocks_print_what_is_shown(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = path.read_text("utf-8")
    found = list(blocks(page))
    assert len(found) == page.count("```python"), f"{path.name}: a block of Python was not recognised"
    assert sum(bool(shown) for _, shown in found) == page.count("```text"), f"{path.name}: output without its code"
    names: dict[str, object] = {"__name__": path.stem}
    for code, shown in found:
        exec(compile(code, str(path), "exec"), names)
        line = len(code) - len(code.lstrip("\n")) + 1
        assert capsys.readouterr().out == shown, f"{path.name}: the block at line {line} prints something else"
