"""The contract of every operator rule: what it claims is so, on real values, in both modes."""

from typing import Any

import pytest
import torch
from torch import fx

from autosubnet.capture import MODES, Trace
from autosubnet.graph.dependence import Dependence
from autosubnet.graph.zeros import Propagation, values_of
from autosubnet.ops.masks import is_zero
from autosubnet.ops.modes import by_mode

from .case import Case, clear, sprinkle
from .running import accepts, another_batch, prepared, replay
from .soundness import check_zeros, pairs, spread
from .table import CASES, SAME_AS, covered, registered, rule_for

SEEDS = range(4)


@pytest.fixture(params=CASES, ids=[case.name for case in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def test_every_registered_operator_has_a_case() -> None:
    assert not set(registered()) - covered()


def test_every_case_is_of_a_registered_operator() -> None:
    assert not [case.name for case in CASES if rule_for(case.operator) is None]


def test_what_cannot_run_here_shares_its_rule() -> None:
    for name, other in SAME_AS.items():
        assert rule_for(name) is rule_for(other)


def test_the_case_reaches_its_rule(case: Case) -> None:
    _, _, view = prepared(case)
    used = [type(rule).__name__ for rule in view.rules.values()]
    assert any(rule is rule_for(case.operator) for rule in view.rules.values()), f"rules used: {used}"


def test_entries_claimed_zero_are_zero(case: Case) -> None:
    model, trace, view = prepared(case)
    for seed in SEEDS:
        sprinkle(model, seed)
        check_zeros(trace, Propagation(view, values_of(view)), case.draw(seed))


def test_entries_claimed_zero_are_zero_at_another_batch_size(case: Case) -> None:
    model, trace, view = prepared(case)
    x = another_batch(case)
    if trace.frozen or not accepts(model, x):
        return  # a call of one batch size only
    for seed in SEEDS[1::2]:
        sprinkle(model, seed)
        check_zeros(trace, Propagation(view, values_of(view)), x)


def test_zeros_pass_where_the_operator_keeps_them(case: Case) -> None:
    model, _, view = prepared(case)
    clear(model)
    propagation = Propagation(view, values_of(view))
    reached = [node for node, rule in view.rules.items() if rule is rule_for(case.operator)]
    assert is_zero(first_of(propagation.masks[reached[-1]])) == case.keeps


def first_of(masks: Any) -> Any:
    """Return the mask of an operator's result, or of the first of several."""
    return masks[0] if isinstance(masks, tuple) else masks


def test_entries_claimed_independent_of_the_input_are(case: Case) -> None:
    """In eval mode; behind a choice by mode in at least one of the two."""
    model, trace, view = prepared(case)
    source = next(node for node in view.nodes if node.op == "placeholder")
    for seed in SEEDS:
        sprinkle(model, seed)
        masks = {n.name: mask for n, mask in Dependence(view, Propagation(view, values_of(view)), source).masks.items()}
        modes = MODES if case.operator is by_mode else MODES[1:]
        varying = [varying_entries(trace, mode, masks, [case.draw(draw) for draw in range(3)]) for mode in modes]
        for name in set.intersection(*map(set, varying)):
            both = torch.stack([each[name] for each in varying]).all(0)
            assert not both.any(), f"{name}: entries claimed independent of x vary with it"


def test_more_zeros_never_claim_less(case: Case) -> None:
    """All rules are monotone, for zeros and for what is independent of the input: validity builds on that."""
    model, _, view = prepared(case)
    source = next(node for node in view.nodes if node.op == "placeholder")
    for seed in SEEDS:
        sprinkle(model, seed)
        few = values_of(view)
        sprinkle(model, seed + 50)
        many = values_of(view)
        many = {name: few.get(name, False) | many.get(name, False) for name in few | many}
        fewer, more = Propagation(view, few), Propagation(view, many)
        for before, after in ((fewer, more), (Dependence(view, fewer, source), Dependence(view, more, source))):
            lost = [node.name for node in view.nodes if not claims(before.masks[node], after.masks[node])]
            assert not lost, f"{lost[0]}: claims of a {type(before).__name__} are lost with more zeros"


def claims(few: Any, many: Any) -> bool:
    """Whether ``many`` claims whatever ``few`` does."""
    if isinstance(few, tuple):
        return all(map(claims, few, many))
    return few is None or not bool((few & ~many).any())


def varying_entries(trace: Trace, mode: Any, masks: Any, inputs: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return which of the entries of each node that are claimed independent of the input vary with it."""
    first: dict[str, list[torch.Tensor]] = {}
    found: dict[str, torch.Tensor] = {}

    def see(node: fx.Node, value: Any) -> None:
        if node.target in (torch.empty, torch.empty_like, "new_empty"):
            return  # memory as it was found
        seen = [tensor[spread(mask, tensor, node)] for mask, tensor in pairs(masks[node.name], value)]
        for number, (before, now) in enumerate(zip(first.setdefault(node.name, seen), seen, strict=True)):
            name = f"{node.name}[{number}]"
            found[name] = found.get(name, torch.zeros_like(now, dtype=torch.bool)) | (before != now)

    for x in inputs:
        replay(trace, mode, x, see)
    return found
