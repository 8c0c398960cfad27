"""Write the tables of README.md and of pages in docs/ from the result files, between their markers.

python benchmarks/readme.py
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
Blocks = tuple[tuple[str, Callable[[], str]], ...]


def zoo() -> str:
    models = _read("zoo")["models"]
    lines = [
        "| model | vertices | groups | refused | a random third removed: parameters | largest difference "
        "| over the variation |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in models.items():
        before, after = row["num_params"]
        lines.append(
            f"| {name} | {row['vertices']} | {row['groups']} | {row['refused']} | {before / 1e6:.2f} M → "
            f"{after / 1e6:.2f} M | {row['max_difference']:.0e} | {row['relative_difference']:.0e} |"
        )
    return "\n".join(lines)


def fashion() -> str:
    result = _read("fashion_mnist")
    settings = result["settings"]
    lines = [
        f"DemoSupNet at width {settings['width']}, {settings['images']:,} images of Fashion-MNIST, "
        f"{settings['epochs']} epochs "
        f"each, seeds {', '.join(result['seeds'])} (`{result['command']}`, {result['seconds'] / 60:.0f} minutes):",
        "",
        "| network | parameters | multiply-adds | accuracy |",
        "| --- | ---: | ---: | ---: |",
    ]
    for network, numbers in result["summary"].items():
        accuracy = numbers["accuracy"]
        lines.append(
            f"| {network} | {numbers['num_params']['mean']:,.0f} | {numbers['multiply_adds']['mean'] / 1e6:.2f} M | "
            f"{accuracy['mean']:.2%} ± {accuracy['stdev']:.2%} |"
        )
    removed = "; ".join(f"{', '.join(run['subnet']['removed'])} (seed {seed})" for seed, run in result["seeds"].items())
    lines += [
        "",
        f"Removed: {removed}. Largest output difference between searched supernet and subnet: "
        f"{result['largest_difference']:.0e}.",
    ]
    return "\n".join(lines)


def core() -> str:
    fuzz, found, scaling, operators = map(_read, ("fuzz", "completeness", "scaling", "operators"))
    mended = sum(len(run.get("mended", ())) for run in fuzz["runs"])
    wrong = len(found["wrong"])
    groups, slices = found["models"]["groups"], found["models"]["slices"]
    rows = {name: scaling["rows"][name] for name in ("resnet152", "vit_l_16", "chain of 10000")}
    forwards = ", ".join(
        f"{row['forwards']['time']:.1f} and {row['forwards']['memory']:.1f} on {name}" for name, row in rows.items()
    )
    lines = [
        f"- {fuzz['models']:,} random networks with {fuzz['groups']:,} groups, of which {fuzz['removed']:,} were "
        f"removed, in {len(fuzz['runs'])} runs on versions of the code that followed each other: "
        f"{_failures(fuzz)}; {mended} were seen and mended, in the library or in the check (`make fuzz`).",
        f"- A second judge, by brute force and without the package's rules, finds {wrong} wrong claims. Of what is "
        f"really zero in {groups['models']} random networks with zero groups, {groups['share']:.1%} is proved "
        f"zero; with any zero slices, {slices['share']:.1%} (`{found['command']}`).",
        f"- {operators['operators']} operators that torch's own tests know, called as those tests call them with zeros "
        f"in front: {_of_operators(operators)} (`{operators['command']}`).",
        f"- Zero propagation costs, in eager forward passes of time and of memory, {forwards} "
        f"(`{scaling['command']}`).",
        "",
        "| chain of | capture | zero propagation | validity of all groups | construct |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, row in scaling["rows"].items():
        if not name.startswith(("chain", "alternatives")):
            continue
        cost, refused = row["microseconds_a_vertex"], ", half of the groups refused" if "alternatives" in name else ""
        lines.append(
            f"| {row['vertices']:,} vertices{refused} | {cost['capture']:.0f} µs a vertex | "
            f"{cost['values'] + cost['propagation']:.0f} µs | {cost['validity']:.0f} µs | {cost['construct']:.0f} µs |"
        )
    return "\n".join(lines)


def _of_operators(found: dict[str, Any]) -> str:
    """Say how many networks were constructed and how many sets judged, and what was wrong."""
    exact, connected = found["counts"]["exact"], found["counts"]["connected"]
    valid, invalid = connected["valid"], connected["invalid"]
    return (
        f"{exact['exact'] + exact['smaller']:,} equal networks, {exact['smaller']:,} of them smaller, "
        f"{exact.get('refused', 0):,} refused; of {valid + invalid + connected['invalid, connected']:,} sets "
        f"of slices {invalid:,} disconnect an output from an input and are called invalid; "
        f"{len(found['wrong'])} are wrong"
    )


def _failures(fuzz: dict[str, Any]) -> str:
    """Say how many networks fail, and with which errors."""
    left = [what for run in fuzz["runs"] for what in run["failures"].values()]
    said = [re.findall(r"^\w*(?:Error|Failed): .*", what, re.MULTILINE)[-1] for what in left]
    counted = "1 failure is left" if len(left) == 1 else f"{len(left)} failures are left"
    return counted + "".join(f" (`{each}`)" for each in said)


def coverage() -> str:
    result = _read("coverage")
    models = result["models"]
    lines = [
        "| source | models | exact | nothing to remove | refused | not run | capture and partition, median | "
        "difference over the variation, largest |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for source in dict.fromkeys(name.partition(":")[0] for name in models):
        rows = [row for name, row in models.items() if name.startswith(f"{source}:")]
        outcomes = Counter(row["outcome"] for row in rows)
        known = outcomes["exact"], outcomes["nothing to remove"], outcomes["refused"]
        seconds = median(row["capture_and_partition"] for row in rows if "capture_and_partition" in row)
        largest = max(row.get("relative_difference", 0.0) for row in rows)
        lines.append(
            f"| {source} | {len(rows)} | {' | '.join(map(str, known))} | {len(rows) - sum(known)} | {seconds:.2f} s | "
            f"{largest:.0e} |"
        )
    others = {name: row for name, row in models.items() if row["outcome"] not in ("exact", "nothing to remove")}
    lines += ["", *(f"- `{name}`: {row['outcome']}; {row.get('reason', '')[:200]}" for name, row in others.items())]
    return "\n".join(lines)


def capture() -> str:
    result = _read("capture")
    models = result["models"]
    over = sum(row["of_allowed"] > 1 for row in models.values())
    lines = [
        f"Capture and partition of {len(models)} classifiers of torchvision, two images of 224x224, one thread "
        f"(`{result['command']}`): at the median {result['median_of_allowed']:.2f} of one and a half eager forward "
        f"passes plus 0.3 s; {over} of them take more than that. Beside peers, in seconds of the processor "
        "(Torch-Pruning's graph is one traced forward pass; ours runs the model in both modes, the second time at "
        "other sizes, and proves the groups):",
        "",
        "| model | eager forward | ours | Torch-Pruning: graph | Torch-Pruning: graph and groups | OTO |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in result["peers"].items():
        oto = row["oto"]
        if isinstance(oto, str):
            oto = f"does not run: {oto.partition(':')[0].rpartition('.')[2]}"
        else:
            oto = f"{oto['graph and groups']:.2f} s"
        lines.append(
            f"| {name} | {row['forward']:.2f} s | {row['ours']:.2f} s | {row['torch_pruning_graph']:.2f} s | "
            f"{row['torch_pruning_graph_and_groups']:.2f} s | "
            f"{oto} |"
        )
    return "\n".join(lines)


def speed() -> str:
    result = _read("speed")
    lines = [
        f"Speed, one thread, as ratios taken in one run (`{result['command']}`):",
        "",
        "| model | eager forward | capture and partition | construct, unverified |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, row in result["stages"].items():
        forward = row["forward"]
        lines.append(
            f"| {name} | {forward:.2f} s | {row['capture_and_partition'] / forward:.1f} forwards | "
            f"{row['construct'] / forward:.1f} forwards |"
        )
    chain = result["chain"]
    lines += [
        "",
        f"Capture and partition of a chain: {chain[0]['microseconds_a_vertex']:.0f} µs a vertex at "
        f"{chain[0]['vertices']} vertices, "
        f"{chain[-1]['microseconds_a_vertex']:.0f} µs at {chain[-1]['vertices']:,}.",
    ]
    return "\n".join(lines)


def steps() -> str:
    result = _read("steps")
    lines = [
        "A full training step with H2SPG, and `step()` alone, as multiples of those with "
        f"`torch.optim.SGD(foreach=True)`, in pairs that take turns "
        f"(`{result['command']}`; H2SPG takes torch's fused kernels where it can):",
        "",
        "| model | warm-up | projection | training |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, row in result["ratios"].items():
        cells = " | ".join(_step(row[phase]) for phase in ("warm-up", "projection", "training"))
        lines.append(f"| {name} | {cells} |")
    oto = result["oto on ResNet-50, first phase"]
    told = oto if isinstance(oto, str) else _step(oto)
    lines.append(f"| ResNet-50, OTO's HESSO | {told} | needs CUDA | needs CUDA |")
    return "\n".join(lines)


def _step(row: dict[str, float]) -> str:
    return f"{row['full']:.2f}, alone {row['step']:.2f}"


def figure3() -> str:
    result = _read("figure3")
    runs = {name: each["runs"] for name, each in result["families"].items()}
    end = -3.7  # up to where the paper compares accuracies
    lines = [
        "| the paper | measured | |",
        "| --- | --- | --- |",
        *(f"| {row['claim']} | {row['measured']} | **{row['holds']}** |" for row in result["claims"]),
        "",
        "![Accuracy, features, neurons and zero weights by lambda, for four optimizers and three penalties]"
        "(../benchmarks/results/figure3.svg)",
        "",
        f"Means over {result['settings']['seeds']} seeds; bars from the least to the largest. At $\\lambda = "
        f"10^{{{end}}}$, with the sample standard deviation:",
        "",
        "| | accuracy as derived | retrained | features of 64 | inner neurons of 60 | zero weights |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, each in runs.items():
        columns = {key: [run[key] for run in each if run["exponent"] == end] for key in each[0]}
        shares = (f"{_spread(columns[key], 100)} %" for key in ("accuracy_derived", "accuracy_retrained"))
        sizes = (_spread(columns[key], 1) for key in ("features", "neurons"))
        lines.append(f"| {name} | {' | '.join((*shares, *sizes))} | {_spread(columns['sparsity'], 100)} % |")
    return "\n".join(lines)


def exports() -> str:
    result = _read("exports")
    ways = list(next(iter(result["models"].values()))["ways"])
    lines = [
        f"A random valid third of the groups removed; the largest absolute difference from the subnet's outputs, in "
        f"float32 and at batches of {' and '.join(map(str, result['batches']))} (`{result['command']}`):",
        "",
        f"| subnet of | groups removed | parameters | {' | '.join(ways)} |",
        f"| --- | ---: | ---: |{' ---: |' * len(ways)}",
    ]
    for name, row in result["models"].items():
        cells = (row["ways"][way] for way in ways)
        shown = (f"{cell['difference']:.0e}" if "difference" in cell else "fails" for cell in cells)
        before, after = row["num_params"]
        lines.append(f"| {name} | {row['removed']} of {row['groups']} | {before:,} → {after:,} | {' | '.join(shown)} |")
    failed = [(name, way, cell) for name, row in result["models"].items() for way, cell in row["ways"].items()]
    told = [f"- {name}, {way}: `{cell['error'][:200]}`" for name, way, cell in failed if "error" in cell]
    return "\n".join([*lines, *(["", *told] if told else [])])


def recurrent() -> str:
    result = _read("recurrent")
    found, text, networks = result["search"], result["text"], result["networks"]
    sizes, schedule = result["settings"]["search"], result["settings"]["training"]
    seconds = found["seconds"] + sum(row["seconds"] for row in networks.values())
    lines = [
        f"{text['name']}, {text['words']:,} words to train on, {text['vocabulary']:,} different ones; "
        f"{sizes['epochs']} epochs of search at size {sizes['size']}, which left {found['paths']} of 144 paths and "
        f"{found['nodes']} of 8 nodes; {schedule['epochs']} epochs of each training "
        f"(`{result['command']}`, {seconds / 60:.0f} minutes):",
        "",
        "| language model | size | parameters | validation perplexity | test perplexity |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, row in networks.items():
        lines.append(f"| {name} | {row['size']} | {row['num_params']:,} | {row['valid']:.1f} | {row['test']:.1f} |")
    return "\n".join(lines)


def cells() -> str:
    result = _read("cells")
    sizes, schedule, supernet = (result["settings"][each] for each in ("search", "training", "supernet"))
    lines = [
        f"DARTS' supernet with {supernet['cells']} cells of {supernet['channels']} channels, {sizes['epochs']} epochs "
        f"of search on {sizes['images']:,} images of {result['settings']['data']}, averaged to half their size; what "
        f"is found is trained from new weights, genotypes at {schedule['cells']} cells of {schedule['channels']} "
        f"channels, for {schedule['epochs']} epochs on {schedule['images']:,} (`{result['command']}`):",
        "",
        "| search | accuracy | parameters | zero paths | zero nodes | skips among the paths left |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in result["runs"].items():
        if "refused" in row:
            lines.append(f"| {name} | nothing is left: {row['refused']} | | | | |")
            continue
        if "groups" in row:
            zero = f"{row['groups']} groups"
            if "weights" in row:
                zero += f", {row['zero_weights']} of {row['weights']} weights"
            nodes = skips = ""  # of results that were taken when they were not counted
            if "paths" in row:
                zero += f", {row['zero_paths']} of {row['paths']}"
                nodes, skips = f"{row['zero_nodes']} of {row['nodes']} ", f"{row['skips']:.0%} "
            lines.append(f"| {name} | {row['accuracy']:.2%} | {row['num_params']:,} | {zero} | {nodes}| {skips}|")
            continue
        zero = f"{row['zero_paths']} of {row['paths']}"
        lines.append(
            f"| {name} | {row['accuracy']:.2%} | {row['num_params']:,} | {zero} | "
            f"{row['zero_nodes']} of {row['nodes']} | {row['skips']:.0%} |"
        )
    return "\n".join(lines)


def ablation() -> str:
    result = _read("ablation")
    settings, networks = result["settings"], result["networks"]
    lines = [
        f"{settings['epochs']} epochs on {settings['data']}, {settings['seeds']} seeds (`{result['command']}`). A cell "
        "tells valid runs, groups at zero, and the accuracy with these zeros.",
        "",
        "| optimizer | " + " | ".join(networks) + " |",
        "| --- |" + " --- |" * len(networks),
    ]
    for name in next(iter(networks.values())):
        cells = [_ablated(rows[name]) for rows in networks.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ablated(row: dict[str, Any]) -> str:
    done = [each for each in row["runs"] if "refused" not in each]
    if not done:
        return "refused"
    valid = f"{sum(each['valid'] for each in done)} of {len(row['runs'])}"
    return f"{valid}, {row['sparsity']:.0%}, {row['accuracy']:.1%}"


def _spread(values: list[float], factor: float) -> str:
    spread = stdev(values) if len(values) > 1 else 0.0
    return f"{factor * mean(values):.1f} ± {factor * spread:.1f}"


def filled(text: str, blocks: Blocks) -> str:
    """Return a page with every table as the result files have it."""
    for name, make in blocks:
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        text = re.sub(f"{begin}.*?{end}", lambda _, b=begin, e=end, m=make: f"{b}\n{m()}\n{e}", text, flags=re.DOTALL)
    return text


PAGES: dict[str, Blocks] = {
    "README.md": (
        ("zoo", zoo),
        ("coverage", coverage),
        ("core", core),
        ("fashion", fashion),
        ("capture", capture),
        ("speed", speed),
        ("steps", steps),
    ),
    "docs/sparsenas.md": (("figure 3", figure3), ("cells", cells), ("recurrent", recurrent)),
    "docs/training.md": (("ablation", ablation),),
    "docs/shipping.md": (("exports", exports),),
}


def _read(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return result


if __name__ == "__main__":
    for name, blocks in PAGES.items():
        page = ROOT / name
        page.write_text(filled(page.read_text("utf-8"), blocks), "utf-8")
