// The interactive dependency graph. The kernel lays the graph out and answers questions (widget.py); this file shows
// it. Every name is set as text, never as HTML.

const MIXED = "#ffffff";
const PLAIN = "#eef3f7";
const DYING = "#f2b48c";
const LEGIBLE = 0.35; // scale below which words are left out: drawing those of 2,000 boxes takes most of a frame
const STILL = 200; // milliseconds after which a moved drawing is made sharp again
const WHEEL = 0.0015; // of a wheel's pixels, in powers of e
const SHAPES = ":is(path, polygon, ellipse)";

function make(tag, options = {}, ...children) {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children);
  return element;
}

// Evenly spread hues: neighbours in the list differ most.
function hue(number) {
  return `hsl(${(number * 137.5) % 360} 65% 72%)`;
}

// White to blue; 0 <= share <= 1.
function shade(share) {
  return `hsl(205 75% ${96 - 46 * share}%)`;
}

function prefixes(module) {
  const names = module ? module.split(".") : [];
  return names.map((_, place) => names.slice(0, place + 1).join("."));
}

// For each way to colour: the colour of a vertex by its number, and the key, pairs of a colour and words.
function palettes(facts, state) {
  const names = Object.keys(facts.groups);
  const scores = state.scores ?? {};
  const values = Object.values(scores);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const removed = new Set(state.removed ?? []);
  const group = (number) => facts.vertices[number].groups[0];
  return {
    kind: {
      of: (number) => facts.kinds[facts.vertices[number].kind],
      key: Object.entries(facts.kinds).map(([kind, colour]) => [colour, kind]),
    },
    group: {
      of: (number) => (group(number) === undefined ? PLAIN : hue(names.indexOf(group(number)))),
      key: names.length
        ? [...names.slice(0, 12).map((name, place) => [hue(place), name]), [PLAIN, "in no group"]]
        : [[PLAIN, "there are no groups: nothing can be removed"]],
    },
    score: {
      of: (number) => {
        const score = scores[group(number)];
        return score === undefined ? PLAIN : shade(high > low ? (score - low) / (high - low) : 1);
      },
      key: values.length
        ? [[shade(0), `least redundant, ${low.toFixed(3)}`], [shade(1), `most redundant, ${high.toFixed(3)}`]]
        : [[PLAIN, "no scores yet: they come with a search, oto.h2spg()"]],
    },
    removed: {
      of: (number) => (removed.has(number) ? DYING : PLAIN),
      key: [[DYING, `goes: ${removed.size} vertices`], [PLAIN, "stays"]],
    },
  };
}

// A line through [step, score] pairs, as an SVG element.
function curve(history) {
  const steps = history.map(([step]) => step);
  const scores = history.map(([, score]) => score);
  const scale = (values, size) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return (value) => (high > low ? ((value - low) / (high - low)) * size : size / 2);
  };
  const [x, y] = [scale(steps, 270), scale(scores, 60)];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "-5 -5 280 70");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", history.map(([step, score]) => `${x(step)},${60 - y(score)}`).join(" "));
  line.setAttribute("style", "fill: none; stroke: #0b4a75; stroke-width: 2");
  svg.append(line);
  const words = `steps ${steps[0]} to ${steps.at(-1)}, from ${scores[0].toFixed(3)} to ${scores.at(-1).toFixed(3)}`;
  return make("div", {}, svg, make("div", { textContent: words }));
}

function render({ model, el }) {
  const facts = model.get("facts");
  const search = make("input", { type: "search", placeholder: "name, operator or module", size: 22 });
  const count = make("span");
  const colour = make("select");
  for (const [value, words] of [
    ["kind", "vertex kind"], ["group", "group"], ["score", "redundancy score"], ["removed", "what is removed"],
  ]) colour.append(make("option", { value, textContent: words }));
  const depth = make("select");
  const deepest = Math.max(0, ...facts.vertices.map((vertex) => prefixes(vertex.module).length));
  depth.append(make("option", { value: "0", textContent: "all open" }));
  for (let level = deepest; level > 0; level--) {
    depth.append(make("option", { value: String(level), textContent: `closed at depth ${level}` }));
  }
  const fit = make("button", { textContent: "Fit" });
  const key = make("div", { className: "autosubnet-key" });
  const stage = make("div", { className: "autosubnet-stage", textContent: "laying out …" });
  const side = make("div", { className: "autosubnet-side" }, make("p", {
    textContent: "Click a box for what is known of it. Drag to move, turn the wheel to zoom.",
  }));
  el.append(make("div", { className: "autosubnet" },
    make("div", { className: "autosubnet-bar" },
      make("label", {}, "Search", search, count), make("label", {}, "Colour by", colour),
      make("label", {}, "Modules", depth), fit),
    key, make("div", { className: "autosubnet-body" }, stage, side)));

  let svg = null;
  let boxes = []; // elements, in the order of the drawing's parts
  let view = { x: 0, y: 0, scale: 1 };
  let picked = null; // number of a part
  let settled = 0; // the timer of the end of a movement

  // While it moves the drawing is a bitmap that the browser shifts and scales; drawing it anew comes afterwards.
  function place() {
    svg.style.willChange = "transform";
    svg.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    clearTimeout(settled);
    settled = setTimeout(() => {
      svg.style.willChange = "";
      svg.classList.toggle("far", view.scale < LEGIBLE);
    }, STILL);
  }

  function fitAll() {
    if (!svg) return;
    const [width, height] = [stage.clientWidth, stage.clientHeight];
    const box = svg.viewBox.baseVal;
    const scale = Math.min(width / box.width, height / box.height, 1.5) || 1;
    view = { scale, x: (width - box.width * scale) / 2, y: (height - box.height * scale) / 2 };
    place();
  }

  function zoom(x, y, factor) {
    const scale = Math.min(8, Math.max(0.01, view.scale * factor));
    const ratio = scale / view.scale;
    view = { scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio };
    place();
  }

  function showDrawing() {
    const { svg: source, parts, modules } = model.get("drawing");
    if (!source) return;
    const parsed = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
    svg = document.importNode(parsed, true);
    const size = svg.viewBox.baseVal;
    svg.setAttribute("width", size.width);
    svg.setAttribute("height", size.height);
    for (const link of svg.querySelectorAll("a")) link.removeAttribute("href");
    boxes = parts.map((_, number) => svg.querySelector(`.part${number}`));
    boxes.forEach((box, number) => {
      box.addEventListener("click", () => pick(number));
      box.addEventListener("dblclick", () => toggle(modules[number]));
    });
    picked = null;
    stage.replaceChildren(svg);
    fitAll();
    paint();
    find();
  }

  function toggle(module) {
    if (module) model.set("closed", model.get("closed").filter((each) => each !== module));
    model.save_changes();
  }

  function close(module) {
    model.set("closed", [...model.get("closed"), module]);
    model.save_changes();
  }

  function closeAt(level) {
    const all = facts.vertices.map((vertex) => prefixes(vertex.module)[level - 1]).filter(Boolean);
    model.set("closed", level ? [...new Set(all)] : []);
    model.save_changes();
  }

  function paint() {
    const palette = palettes(facts, model.get("state"))[model.get("colour")];
    model.get("drawing").parts?.forEach((vertices, number) => {
      const colours = new Set(vertices.map(palette.of));
      const fill = colours.size === 1 ? [...colours][0] : MIXED;
      for (const shape of boxes[number].querySelectorAll(SHAPES)) shape.style.fill = fill;
    });
    key.replaceChildren(...palette.key.map(([background, words]) => {
      const chip = make("i");
      chip.style.background = background;
      return make("span", {}, chip, words);
    }));
  }

  function find() {
    const words = search.value.trim().toLowerCase();
    const matches = (number) => {
      const { name, label, module } = facts.vertices[number];
      return [name, label, module].some((each) => each.toLowerCase().includes(words));
    };
    const found = model.get("drawing").parts?.map((vertices) => words !== "" && vertices.some(matches)) ?? [];
    found.forEach((hit, number) => boxes[number].classList.toggle("found", hit));
    count.textContent = words ? `${found.filter(Boolean).length} found` : "";
    return found.indexOf(true);
  }

  function goTo(number) {
    const [box, frame] = [boxes[number].getBoundingClientRect(), stage.getBoundingClientRect()];
    view.x += frame.left + frame.width / 2 - (box.left + box.width / 2);
    view.y += frame.top + frame.height / 2 - (box.top + box.height / 2);
    place();
    zoom(frame.width / 2, frame.height / 2, Math.max(1, 1 / view.scale));
  }

  function pick(number) {
    picked = number;
    const [first] = model.get("drawing").parts[number];
    model.set("group", facts.vertices[first].groups[0] ?? "");
    model.save_changes();
    showSide();
  }

  function showSide() {
    const { parts, modules } = model.get("drawing");
    const vertices = picked === null ? [] : parts[picked].map((number) => facts.vertices[number]);
    const details = model.get("details");
    const dying = new Set(vertices.length ? details.dies ?? [] : []);
    boxes.forEach((box, number) => {
      box.classList.toggle("picked", number === picked);
      box.classList.toggle("dying", number !== picked && parts[number].some((each) => dying.has(each)));
    });
    if (!vertices.length) return;
    side.replaceChildren(...(modules[picked] ? aboutModule(modules[picked], vertices) : aboutVertex(vertices[0])));
    const groups = [...new Set(vertices.flatMap((vertex) => vertex.groups))];
    if (!groups.length) side.append(make("h4", { textContent: "In no group: it stays, unless nothing reads it any more" }));
    for (const name of groups) {
      const button = make("button", { textContent: name });
      button.addEventListener("click", () => { model.set("group", name); model.save_changes(); });
      side.append(make("h4", { textContent: "Group" }), button);
    }
    if (groups.includes(details.name)) side.append(...aboutGroup(details));
  }

  function aboutModule(module, vertices) {
    const open = make("button", { textContent: "Open" });
    open.addEventListener("click", () => toggle(module));
    return [make("h3", { textContent: module }), make("p", { textContent: `${vertices.length} vertices` }), open];
  }

  function aboutVertex(vertex) {
    const inside = (module) => facts.vertices.filter((each) => prefixes(each.module).includes(module)).length;
    const ways = prefixes(vertex.module).filter((module) => inside(module) > 1).map((module) => {
      const button = make("button", { textContent: module });
      button.addEventListener("click", () => close(module));
      return button;
    });
    return [
      make("h3", { textContent: vertex.name }),
      make("p", { textContent: [vertex.label, vertex.kind, vertex.shape].filter(Boolean).join(", ") }),
      ...(ways.length ? [make("h4", { textContent: "Close a module around it" }), ...ways] : []),
    ];
  }

  function aboutGroup(details) {
    const { parameters, count: size } = facts.groups[details.name];
    const lists = (words) => make("ul", {}, ...words.map((each) => make("li", { textContent: each })));
    return [
      make("h4", { textContent: `${size.toLocaleString("en")} parameters` }), lists(parameters),
      make("h4", { textContent: "Proof" }), make("pre", { textContent: details.proof }),
      make("h4", { textContent: "Score over time" }),
      details.history.length ? curve(details.history) : make("p", { textContent: "not recorded; oto.live(opt) does" }),
      make("h4", { textContent: `Goes with it: ${details.dies.length} vertices (dashed)` }),
      lists(details.dies.map((number) => facts.vertices[number].name)),
    ];
  }

  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const frame = stage.getBoundingClientRect();
    if (svg) zoom(event.clientX - frame.left, event.clientY - frame.top, Math.exp(-event.deltaY * WHEEL));
  }, { passive: false });
  stage.addEventListener("pointermove", (event) => {
    if (!svg || !(event.buttons & 1)) return;
    view.x += event.movementX;
    view.y += event.movementY;
    place();
  });
  search.addEventListener("input", find);
  search.addEventListener("keydown", (event) => {
    const first = event.key === "Enter" ? find() : -1;
    if (first >= 0) goTo(first);
  });
  colour.addEventListener("change", () => { model.set("colour", colour.value); model.save_changes(); });
  depth.addEventListener("change", () => closeAt(Number(depth.value)));
  fit.addEventListener("click", fitAll);
  const answers = {
    "change:drawing": () => { showDrawing(); showSide(); }, "change:details": showSide,
    "change:colour": paint, "change:state": paint,
  };
  for (const [event, answer] of Object.entries(answers)) model.on(event, answer);
  colour.value = model.get("colour");
  if (model.get("closed") === null) closeAt(0);
  else showDrawing();
  const resized = new ResizeObserver(() => { if (stage.clientWidth) { fitAll(); resized.disconnect(); } });
  resized.observe(stage);
  return () => {
    for (const [event, answer] of Object.entries(answers)) model.off(event, answer);
  };
}

export default { render };
