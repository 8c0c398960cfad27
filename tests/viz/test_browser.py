"""The widget's JavaScript in headless Chromium: ``make browser``. The kernel's answers are computed beforehand.

Screenshots go to ``browser/`` for a person to look at.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autosubnet import AutoSubnet, supernets
from autosubnet.viz.explorer import Explorer
from autosubnet.viz.widget import ExplorerWidget

pytestmark = pytest.mark.browser
SHOTS = Path(__file__).parent.parent.parent / "browser"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--window-size=1200,700",
    "--virtual-time-budget=3000",
)  # fmt: skip
# What Jupyter is to the widget: values, listeners, and a kernel that knows the answers.
KERNEL = """
const values = { facts: data.facts, closed: null, colour: "kind", group: "", drawing: {}, state: {}, details: {} };
const listeners = {};
function put(name, value) { values[name] = value; for (const each of listeners["change:" + name] ?? []) each(); }
const model = {
  get: (name) => values[name],
  set(name, value) {
    values[name] = value;
    if (name === "closed") put("drawing", data.drawings[JSON.stringify(value)]);
    if (name === "colour") { put("state", data.state); put("colour", value); }
    if (name === "group") put("details", data.details[value] ?? {});
  },
  save_changes() {},
  on(event, answer) { (listeners[event] ??= []).push(answer); },
  off() {},
};
const el = document.getElementById("el");
const part = (name) => {
  const number = data.facts.vertices.findIndex((vertex) => vertex.name === name);
  const { parts } = values.drawing;
  return el.querySelector(`.part${parts.findIndex((vertices) => vertices.includes(number))}`);
};
const fillOf = (name) => getComputedStyle(part(name).querySelector(":is(path, polygon, ellipse)")).fill;
const click = (element) => element.dispatchEvent(new MouseEvent("click", { bubbles: true }));
const choose = (place, value) => {
  const select = el.querySelectorAll("select")[place];
  select.value = value;
  select.dispatchEvent(new Event("change"));
};
const look = (words) => {
  const input = el.querySelector("input");
  input.value = words;
  input.dispatchEvent(new Event("input"));
};
render({ model, el });
const said = {};
"""


class _Said(HTMLParser):
    """Reads what a script wrote into the page's title."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inside, self.text = False, ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.inside = tag == "title" and not self.text

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        self.text += data if self.inside else ""


def show(
    explorer: Explorer, script: str, name: str, folder: Path, closed: tuple[list[str], ...] = ()
) -> dict[str, object]:
    """Run ``script`` behind the widget, save a screenshot, and return what the script put into ``said``."""
    widget = ExplorerWidget(explorer)
    data = {
        "facts": widget.facts,
        "drawings": {json.dumps(each, separators=(",", ":")): explorer.layout(each) for each in ([], *closed)},
        "details": {group.name: explorer.details(group.name) for group in explorer.groups},
        "state": explorer.state(),
    }
    code = widget._esm.replace("export default { render };", "")
    page = folder / f"{name}.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><title></title><style>{widget._css}</style><div id=el></div>"
        f"<script type=module>{code}\nconst data = {json.dumps(data).replace('<', chr(92) + 'u003c')};\n{KERNEL}\n"
        f"{script}\ndocument.title = JSON.stringify(said);</script>",
        encoding="utf-8",
    )
    command = shutil.which("chromium")
    assert command, "install chromium first: apt-get install chromium"
    SHOTS.mkdir(exist_ok=True)
    outputs = (f"--screenshot={SHOTS / name}.png", "--dump-dom")
    pages = [
        subprocess.run(
            [command, *FLAGS, f"--user-data-dir={folder / str(number)}", output, page.as_uri()],
            capture_output=True, text=True, check=True, timeout=240,
        ).stdout
        for number, output in enumerate(outputs)
    ]  # fmt: skip
    result: dict[str, object] = json.loads(_Said(pages[1]).text)
    return result


@pytest.fixture(scope="module")
def oto() -> AutoSubnet:
    torch.manual_seed(0)
    found = AutoSubnet(supernets.create("demo"), torch.randn(2, 1, 8, 8))
    optimizer = found.h2spg(total_steps=12)
    live = found.live(optimizer)
    for _ in range(12):
        optimizer.zero_grad()
        found.model(*found.example_inputs).square().mean().backward()
        optimizer.step()
        live.update()
    return found


def test_click_and_search(oto: AutoSubnet, tmp_path: Path) -> None:
    group = next(group for group in oto.groups if group.name == "conv2")
    script = """
    click(part("conv2_bn"));
    look("add");
    said.side = el.querySelector(".autosubnet-side").textContent;
    said.curves = el.querySelectorAll(".autosubnet-side polyline").length;
    said.dying = el.querySelectorAll(".dying").length;
    said.found = el.querySelectorAll(".found").length;
    """
    said = show(oto._explorer(), script, "click", tmp_path)
    side = str(said["side"])
    assert oto.explain(group) in side
    assert all(each.name in side for each in group.slices)
    assert (said["curves"], said["dying"], said["found"]) == (1, 2, 2)


def test_colours(oto: AutoSubnet, tmp_path: Path) -> None:
    script = """
    for (const way of ["kind", "group", "score", "removed"]) {
      choose(0, way);
      said[way] = Object.fromEntries(data.facts.vertices.map(({ name }) => [name, fillOf(name)]));
    }
    """
    said = show(oto._explorer(), script, "removed", tmp_path)
    removed: dict[str, str] = said["removed"]  # type: ignore[assignment]  # by vertex
    gone = {oto.graph.vertices[number].name for number in oto._explorer().state()["removed"]}
    assert gone
    assert {name for name, fill in removed.items() if fill != removed["images"]} == gone
    of: dict[str, str] = said["group"]  # type: ignore[assignment]
    assert of["conv2_conv"] == of["conv2_bn"] != of["conv4_conv"]
    kind: dict[str, str] = said["kind"]  # type: ignore[assignment]
    assert kind["conv1_conv"] == kind["conv2_conv"] == "rgb(140, 197, 234)"


def test_a_module_closes_and_opens(oto: AutoSubnet, tmp_path: Path) -> None:
    script = """
    said.open = el.querySelectorAll(".node[class*=part]").length;
    click(part("conv1_conv"));
    const ways = [...el.querySelectorAll(".autosubnet-side button")];
    click(ways.find((each) => each.textContent === "conv1"));
    said.closed = el.querySelectorAll(".node[class*=part]").length;
    part("conv1_conv").dispatchEvent(new MouseEvent("dblclick"));
    said.again = el.querySelectorAll(".node[class*=part]").length;
    click(part("conv1_conv"));
    click([...el.querySelectorAll(".autosubnet-side button")].find((each) => each.textContent === "conv1"));
    """
    count = len(oto.graph.vertices)
    said = show(oto._explorer(), script, "closed", tmp_path, (["conv1"],))
    assert said == {"open": count, "closed": count - 2, "again": count}


def test_zoom_keeps_the_point_under_the_pointer(oto: AutoSubnet, tmp_path: Path) -> None:
    script = """
    const stage = el.querySelector(".autosubnet-stage");
    const middle = () => {
      const box = part("cat").querySelector("ellipse").getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2, box.width];
    };
    const [x, y, width] = middle();
    const pointer = [Math.round(x), Math.round(y)]; // a mouse event holds whole pixels
    stage.dispatchEvent(new WheelEvent("wheel", {
      clientX: pointer[0], clientY: pointer[1], deltaY: -600, cancelable: true,
    }));
    const [left, top, wide] = middle();
    said.ratio = wide / width;
    said.moved = [left - pointer[0] - (x - pointer[0]) * said.ratio, top - pointer[1] - (y - pointer[1]) * said.ratio];
    stage.dispatchEvent(new PointerEvent("pointermove", { buttons: 1, movementX: 30, movementY: 5 }));
    said.pan = [middle()[0] - left, middle()[1] - top];
    """
    said = show(oto._explorer(), script, "zoomed", tmp_path)
    assert said["moved"] == pytest.approx([0, 0], abs=0.01)
    assert said["ratio"] == pytest.approx(2.4596, rel=1e-3)  # e^0.9
    assert said["pan"] == pytest.approx([30, 5], abs=0.1)


class Hostile(nn.Module):
    NAME = "\"><img src=x onerror='document[`body`][`id`]=1'>"

    def __init__(self) -> None:
        super().__init__()
        self.add_module(self.NAME, nn.Sequential(nn.Linear(4, 4), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.get_submodule(self.NAME)(x)
        return x + inner


def test_a_name_is_text(tmp_path: Path) -> None:
    hostile = AutoSubnet(Hostile(), torch.randn(2, 4))
    script = """
    click(part(data.facts.vertices.find((vertex) => vertex.label === "Linear").name));
    await new Promise((done) => setTimeout(done, 100));
    said.images = el.querySelectorAll("img, script").length;
    said.id = document.body.id;
    said.side = el.querySelector(".autosubnet-side").textContent;
    """
    said = show(hostile._explorer(), script, "hostile", tmp_path)
    assert (said["images"], said["id"]) == (0, "")
    assert Hostile.NAME in str(said["side"])


def test_without_groups(tmp_path: Path) -> None:
    plain = AutoSubnet(nn.Linear(4, 2), torch.randn(2, 4))
    script = """
    click(el.querySelector(".part1"));
    choose(0, "score");
    said.key = el.querySelector(".autosubnet-key").textContent;
    said.side = el.querySelector(".autosubnet-side").textContent;
    """
    said = show(plain._explorer(), script, "plain", tmp_path)
    assert "no scores yet" in str(said["key"])
    assert "In no group" in str(said["side"])
