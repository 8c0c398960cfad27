"""Reads the runs of ``figure3`` against what SparseNAS says of its Figure 3 (Ablation Study).

All comparisons are of means over the seeds. "Comparable" is at most two points of accuracy apart, "without loss" at
most one point below the best of the others; a share of zeros falls if it falls by more than a point. A claim that
compares sizes is asked at each lambda for features, neurons and zero weights: it holds if it holds in all of these
cases, and in part if in half of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

MEASURES = ("accuracy_derived", "accuracy_retrained", "features", "neurons", "sparsity")
SIZES = ("features", "neurons", "sparsity")
END = -3.7  # the paper compares accuracies up to this power of ten
COMPARABLE, LOSS, FALL = 0.02, 0.01, 0.01
PROXIMAL, PLAIN = ("HAPG", "AdamHAPG"), ("SGD", "Adam")

Means = dict[float, dict[str, float]]
Families = Mapping[str, Sequence[Mapping[str, Any]]]


def means(runs: Iterable[Mapping[str, Any]]) -> Means:
    """Return the mean of every measure over the seeds, by the power of ten of lambda."""
    runs = list(runs)
    return {
        exponent: {
            measure: statistics.mean(each[measure] for each in runs if each["exponent"] == exponent)
            for measure in MEASURES
        }
        for exponent in dict.fromkeys(each["exponent"] for each in runs)
    }


def claims(families: Families) -> list[dict[str, str]]:
    """Return each claim, what was measured, and whether it holds, of runs by ``"optimizer, penalty"``."""
    found = {name: means(runs) for name, runs in families.items()}
    sgl = {name: found[f"{name}, SGL"] for name in (*PLAIN, *PROXIMAL)}
    hapg = {name: found[f"HAPG, {name}"] for name in ("lasso", "group lasso", "SGL")}
    return [
        _grows(found, sgl),
        _comparable(found),
        _row(
            "HAPG and AdamHAPG are sparser than SGD and Adam (SGL).",
            f"both beat both {_cases([sgl[name] for name in PROXIMAL], [sgl[name] for name in PLAIN])}; {_sizes(sgl)}",
            _share([sgl[name] for name in PROXIMAL], [sgl[name] for name in PLAIN]),
        ),
        _adam_hapg(sgl),
        _penalties(hapg),
    ]


def better(mine: Mapping[str, float], other: Mapping[str, float], measure: str) -> bool:
    """Is the first network smaller by this measure?"""
    return mine[measure] > other[measure] if measure == "sparsity" else mine[measure] < other[measure]


def _grows(found: Mapping[str, Means], sgl: Mapping[str, Means]) -> dict[str, str]:
    def rises(each: Means) -> bool:
        shares = [each[exponent]["sparsity"] for exponent in sorted(each)]
        return all(after >= before - FALL for before, after in pairwise(shares))

    good = sum(map(rises, found.values()))
    ends = "; ".join(
        f"{name} {each[min(each)]['sparsity']:.0%} → {each[max(each)]['sparsity']:.0%}" for name, each in sgl.items()
    )
    return _row(
        "The larger lambda, the sparser the network.",
        f"zero weights never fall in {good} of {len(found)} families; with SGL, smallest to largest lambda: {ends}",
        good / len(found),
    )


def _comparable(found: Mapping[str, Means]) -> dict[str, str]:
    rows = {(name, e): row for name, each in found.items() for e, row in each.items() if e <= END}
    spans = {}
    for measure in ("accuracy_retrained", "accuracy_derived"):
        low, high = (choose(row[measure] for row in rows.values()) for choose in (min, max))
        spans[measure] = (low, high)
    low, high = spans["accuracy_retrained"]
    return _row(
        f"Up to 10^{END:g} all stand-alone networks are comparably accurate.",
        f"{low:.1%} to {high:.1%} retrained, {' to '.join(f'{x:.1%}' for x in spans['accuracy_derived'])} as derived "
        f"({len(rows)} means)",
        float(high - low <= COMPARABLE),
    )


def _adam_hapg(sgl: Mapping[str, Means]) -> dict[str, str]:
    others = [each for name, each in sgl.items() if name != "AdamHAPG"]
    share = _share([sgl["AdamHAPG"]], others)
    loss = max(
        max(other[e]["accuracy_retrained"] for other in others) - row["accuracy_retrained"]
        for e, row in sgl["AdamHAPG"].items()
        if e <= END
    )
    return _row(
        "AdamHAPG is the most compact of the four, without loss of accuracy (SGL).",
        f"it beats the other three {_cases([sgl['AdamHAPG']], others)}; retrained, up to 10^{END:g}, at worst "
        f"{100 * loss:.1f} points below the best of them",
        share if loss <= LOSS else min(share, 0.5),
    )


def _penalties(hapg: Mapping[str, Means]) -> dict[str, str]:
    others = [hapg["lasso"], hapg["group lasso"]]
    share = _share([hapg["SGL"]], others)
    accuracies = [row["accuracy_retrained"] for each in hapg.values() for e, row in each.items() if e <= END]
    apart = max(accuracies) - min(accuracies)
    return _row(
        "With HAPG, SGL is sparser than lasso and group lasso, in groups and in entries, and as accurate.",
        f"it beats both {_cases([hapg['SGL']], others)}; {_sizes(hapg)}; accuracies up to 10^{END:g} "
        f"{100 * apart:.1f} points apart",
        share if apart <= COMPARABLE else min(share, 0.5),
    )


def _wins(mine: Sequence[Means], others: Sequence[Means]) -> dict[str, int]:
    """Return at how many lambdas the largest of the first is smaller than the smallest of the others, by measure."""
    return {
        measure: sum(all(better(a[e], b[e], measure) for a in mine for b in others) for e in mine[0])
        for measure in SIZES
    }


def _share(mine: Sequence[Means], others: Sequence[Means]) -> float:
    return sum(_wins(mine, others).values()) / (len(SIZES) * len(mine[0]))


def _cases(mine: Sequence[Means], others: Sequence[Means]) -> str:
    features, neurons, zeros = _wins(mine, others).values()
    return f"at {features} of {len(mine[0])} lambdas in features, {neurons} in neurons, {zeros} in zero weights"


def _sizes(networks: Mapping[str, Means]) -> str:
    """Return what each has at the end of the paper's range, or at the largest lambda before it."""
    parts = []
    for name, each in networks.items():
        row = each[max(e for e in each if e <= END)]
        parts.append(f"{name} {row['features']:.0f} / {row['neurons']:.0f} / {row['sparsity']:.0%}")
    return f"features / neurons / zero weights at 10^{END:g}: " + ", ".join(parts)


def _row(claim: str, measured: str, share: float) -> dict[str, str]:
    holds = "holds" if share >= 1 else "in part" if share >= 0.5 else "does not hold"
    return {"claim": claim, "measured": measured, "holds": holds}
