"""The promises of every construction, on 200 random networks."""

from __future__ import annotations

import copy
import random
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import promises
import pytest
import removal
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from narrowing import stuck_parameters
from oracles import ahead_of_joints, check_zero_claims, paper_candidates
from plans import (
    COVERAGE,
    Plan,
    PlannedModel,
    build,
    constructs,
    give_birth,
    is_opaque,
    is_random,
    reuses_statistics,
    without_chance,
)
from probes import largest, probe, redraw, run
from random_models import draw_plan, plans
from torch import Tensor, fx

import autosubnet
from autosubnet.errors import AutoSubnetWarning, NonFiniteError
from autosubnet.graph import suspicion
from autosubnet.graph.groups import Group
from autosubnet.graph.zeros import Propagation, values_of
from autosubnet.ops.masks import Mask

MODELS = 200
PROPERTY = settings(
    max_examples=MODELS * 8 // 5,  # hypothesis repeats itself; what passed is not run again
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def test_promises_hold_on_random_models() -> None:
    tally: Counter[str] = Counter()
    passed: set[str] = set()
    found: set[str] = set()

    @PROPERTY
    @given(plan=plans(), sparsity=st.sampled_from((0.5, 0.34, 0.75, 1.0)), seed=st.integers(0, 9))
    def check(plan: Plan, sparsity: float, seed: int) -> None:
        if str(plan) in passed:
            return
        groups, chosen = check_model(plan, sparsity, seed)
        tally.update(removed=bool(chosen), groups=groups, chosen=chosen)
        tally.update(nothing_to_remove=groups == 0, nothing_more=chosen < int(sparsity * groups))
        passed.add(str(plan))
        found.update(constructs(plan))

    check()
    wanted = {name for names in COVERAGE.values() for name in names.split()}
    for seed in range(MODELS):  # what hypothesis did not draw
        plan = draw_plan(random.Random(seed).choice)
        if (wanted - found) & constructs(plan) or len(passed) < MODELS:
            groups, chosen = check_model(plan, 0.5, seed % 10)
            tally.update(removed=bool(chosen), groups=groups, chosen=chosen)
            passed.add(str(plan))
            found |= constructs(plan)
    missing = wanted - found
    assert not missing, f"in no model: {missing}"
    assert tally["removed"] >= 0.6 * len(passed), tally
    assert tally["groups"] >= 2 * len(passed), tally
    assert min(tally["nothing_to_remove"], tally["nothing_more"]) >= 3, tally


def check_model(plan: Plan, sparsity: float, seed: int) -> tuple[int, int]:
    """Everything that is promised of one network; return its number of groups and of those that were removed."""
    model, inputs = build(plan)
    before = copy.deepcopy(model)
    oto = autosubnet.AutoSubnet(model, inputs)
    check_untouched(model, before)
    check_partition(oto)
    chosen = oto.random_set_zero_groups(target_group_sparsity=sparsity, seed=seed)
    removal.zeroed(model, chosen)
    connected = removal.connections(before, inputs)
    check_choice(oto, connected, inputs, chosen, int(sparsity * len(oto.groups)))
    check_birth(oto, connected, inputs)
    varies = removal.wake(model, inputs)
    check_soundness(oto, model, inputs, chosen)
    zeroed = copy.deepcopy(model)
    check_spoiled(oto, seed)
    subnet = oto.construct_subnet()
    check_untouched(model, zeroed)
    if not varies:  # without variation there is nothing to compare by
        removal.same_constants(model, subnet, inputs)
        return len(oto.groups), len(chosen)
    check_promises(plan, model, subnet, inputs, chosen)
    check_carried(oto, subnet, inputs, seed)
    check_precision(plan.precision, model, subnet, inputs)
    if subnet.meta["autosubnet"].training_notes and plan != (certain := without_chance(plan)):
        check_model(certain, sparsity, seed)  # in train mode as well
    return len(oto.groups), len(chosen)


def check_untouched(model: PlannedModel, before: PlannedModel) -> None:
    """Nothing of the user's model changed: not its values, its mode, its gradients nor what is trainable."""
    state = before.state_dict()
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, state[name])]
    assert not changed, f"the model's {changed} changed"
    assert not model.training, "the model's mode changed"
    for (name, p), q in zip(model.named_parameters(), before.parameters(), strict=True):
        assert p.requires_grad == q.requires_grad, f"{name}: requires_grad changed"
        assert p.grad is None, f"{name} got a gradient"


def check_partition(oto: autosubnet.AutoSubnet) -> None:
    """Groups are the paper's candidates less the refusals; what has no variables may be refused besides."""
    graph = oto.graph.to_networkx()
    variables = {vertex.name: vertex.variables for vertex in oto.graph.vertices}
    end = {segment.name: segment.vertices[-1] for segment in oto.graph.segments}
    refused = [end[refusal.segment] for refusal in oto.refused if oto.graph.segment[refusal.segment].variables]
    found = sorted([*(end[segment] for group in oto.groups for segment in group.segments), *refused])
    expected = sorted(segment[-1] for segment in paper_candidates(graph, variables))
    assert found == expected, f"candidates end in {expected}; groups and refusals end in {found}"
    others = {end[refusal.segment] for refusal in oto.refused} - set(refused)
    assert others <= {segment[-1] for segment in ahead_of_joints(graph)}, f"refused, but no candidates: {others}"
    assert all(re.match(r"'\w+' \(in ", refusal.reason) for refusal in oto.refused), oto.refused
    trainable = {name for name, p in oto.model.named_parameters() if p.requires_grad}
    grouped = {part.name for group in oto.groups for part in group.slices}
    assert grouped | set(oto.complement) == trainable


def check_choice(
    oto: autosubnet.AutoSubnet,
    connected: removal.Connections,
    inputs: tuple[Tensor, ...],
    chosen: Sequence[Group],
    count: int,
) -> None:
    """The chosen groups are valid together; where fewer were taken than asked for, no other could have been.

    Others may have been refused for a doubt, about what cannot be looked into; these are not looked at.
    """
    removal.stays_valid(connected, oto.model, inputs)
    assert oto.is_valid(chosen)
    assert len(chosen) <= count
    for group in oto.groups if len(chosen) < count else ():
        if group not in chosen and not valid_without_doubts(oto, [*chosen, group]):
            more = copy.deepcopy(oto.model)
            removal.set_zero(more, [group])
            with pytest.raises(AssertionError, match="no longer depend"):
                removal.stays_valid(connected, more, inputs)


def valid_without_doubts(oto: autosubnet.AutoSubnet, groups: Sequence[Group]) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suspicion, "_suspected", lambda analysis, node, mask, of_number: mask)
        return oto.is_valid(groups)


def check_birth(oto: autosubnet.AutoSubnet, connected: removal.Connections, inputs: tuple[Tensor, ...]) -> None:
    """The partition depends on the graph alone: with zeros in place, of groups and from birth, it is the same."""
    model, state = oto.model, copy.deepcopy(oto.model.state_dict())
    give_birth(model)
    assert autosubnet.AutoSubnet(model, inputs).groups == oto.groups
    try:
        removal.stays_valid(connected, model, inputs)
    except AssertionError:  # a zero that all ways lead through, as that of a head
        check_cut_off(model, inputs)
        model.load_state_dict(state)


def check_spoiled(oto: autosubnet.AutoSubnet, seed: int) -> None:
    """A weight that is no number is refused by its name, wherever it is."""
    chance = random.Random(seed)
    name, parameter = chance.choice(list(oto.model.named_parameters()))
    place = tuple(chance.randrange(size) for size in parameter.shape)
    value = parameter.data[place].clone()
    parameter.data[place] = chance.choice((float("nan"), float("inf"), -float("inf")))
    with pytest.raises(NonFiniteError, match=f"parameter '{re.escape(name)}'"):
        oto.construct_subnet()
    parameter.data[place] = value


def check_cut_off(model: PlannedModel, inputs: tuple[Tensor, ...]) -> None:
    """An output that zeros from birth cut off from its inputs stays as it is, with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AutoSubnetWarning)
        subnet = autosubnet.remove_zeros(model, inputs)
    removal.same_constants(model, subnet, inputs)


def check_precision(precision: str, model: PlannedModel, subnet: fx.GraphModule, inputs: tuple[Tensor, ...]) -> None:
    """The same is removed in less precision, unless dtypes meet there; what is left rounds no worse than the model."""
    if precision == "float64" or (coarse := in_precision(precision, model, inputs)) is None:
        return
    args = rounded(precision, inputs)
    with lower(precision):
        small = autosubnet.remove_zeros(coarse, args)
    assert {name for name, _ in small.named_parameters()} >= {name for name, _ in subnet.named_parameters()}
    mixed = precision == "autocast" or any(step.op == "mixed_add" for step in model.plan.steps)
    if not mixed:  # a zero may have to hold the dtype of a sum or of a concat
        assert small.meta["autosubnet"].removed_params == subnet.meta["autosubnet"].removed_params
        assert small.meta["autosubnet"].kept == subnet.meta["autosubnet"].kept
        assert len(small.graph.nodes) == len(subnet.graph.nodes)
    chance = bool(small.meta["autosubnet"].training_notes)
    for train in (False,) if chance else (False, True):
        outputs = [probe(model, inputs, train=train)]
        with lower(precision):
            outputs += [probe(each, args, train=train) for each in (coarse, small)]
        rounds_alike(precision, *outputs)
    exact = promises.gradients(model, inputs, train=False)
    with lower(precision):
        found = [promises.gradients(each, args, train=False) for each in (coarse, small)]
    names = list(found[1])
    got = [promises.survivors(found[0][name], name, small.meta["autosubnet"].kept) for name in names]
    wanted = [promises.survivors(exact[name], name, small.meta["autosubnet"].kept) for name in names]
    rounds_alike(precision, wanted, got, [found[1][name] for name in names])


def in_precision(precision: str, model: PlannedModel, inputs: tuple[Tensor, ...]) -> PlannedModel | None:
    """Return a network with less precision; ``None`` where an operator has no kernel for it."""
    coarse, _ = build(model.plan)
    coarse.load_state_dict(model.state_dict())
    coarse.to(torch.float32 if precision == "autocast" else getattr(torch, precision))
    try:
        with lower(precision):
            for train in (False, True):
                probe(coarse, rounded(precision, inputs), train=train)
    except (RuntimeError, TypeError):  # complex numbers above all
        return None
    return coarse


def lower(precision: str) -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast")


def rounded(precision: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    dtype = torch.float32 if precision == "autocast" else getattr(torch, precision)
    return tuple(each.to(dtype) if each.is_floating_point() else each for each in inputs)


def rounds_alike(precision: str, exact: list[Tensor], coarse: list[Tensor], small: list[Tensor]) -> None:
    """What the subnet computes is as near to the network's as the network's rounding lets expect."""
    floor = 1e-2 * max(map(largest, exact), default=0.0)  # what is zero but for rounding, as a bias ahead of a norm
    for a, b, c in zip(exact, coarse, small, strict=True):
        assert (b.shape, b.dtype) == (c.shape, c.dtype)
        finite = b.isfinite()  # what half precision cannot hold is promised nothing of
        a, b, c = (torch.where(finite, each, 0) for each in (a, b, c))
        inside = torch.bfloat16 if precision == "autocast" else b.dtype
        rounding = largest(a - b) + torch.finfo(inside).eps * max(largest(a), floor)
        assert largest(b - c) <= 4 * rounding, (
            f"{largest(b - c):.3g} in {precision}, where the model rounds {rounding:.3g}"
        )


def masks_of(model: PlannedModel, chosen: Sequence[Group]) -> dict[str, Mask]:
    """Return the zero masks of the parameters that ``chosen`` holds, whatever their values."""
    masks = {name: np.zeros(parameter.shape, dtype=bool) for name, parameter in model.named_parameters()}
    for part in (part for group in chosen for part in group.slices):
        if part.dim is None or part.indices is None:
            masks[part.name][...] = True
        else:
            masks[part.name].swapaxes(0, part.dim)[list(part.indices)] = True
    return masks


def check_soundness(
    oto: autosubnet.AutoSubnet, model: PlannedModel, inputs: tuple[Tensor, ...], chosen: Sequence[Group]
) -> None:
    """Claimed zeros are zero, from the values as from the groups; each chosen group's segment gives zero."""
    trace, view = oto._trace, oto._view
    propagations = [Propagation(view, masks) for masks in (values_of(view), masks_of(model, chosen))]
    claims = [{n.name: m for n, m in p.masks.items() if isinstance(m, np.ndarray)} for p in propagations]
    for train in (False, True):
        check_zero_claims(trace.module("train" if train else "eval"), claims, inputs, train)
    for group in chosen:
        for segment in group.segments:
            last = oto.graph.segment[segment].vertices[-1]
            assert claims[1][last].all(), f"group {group.name} is zero, but nothing proves that {last} is"


def check_carried(oto: autosubnet.AutoSubnet, subnet: fx.GraphModule, inputs: tuple[Tensor, ...], seed: int) -> None:
    """The state of a plain optimizer is carried over to the subnet."""
    kind = (torch.optim.SGD, torch.optim.AdamW)[seed % 2]
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind((p for p in oto.model.parameters() if p.requires_grad), lr=0.0, **options)
    promises.objective(run(oto.model, inputs, train=False)).backward()
    optimizer.step()
    carried = oto.carry_optimizer(optimizer, subnet)
    promises.carries_optimizer(oto.model, subnet, optimizer, carried, subnet.meta["autosubnet"].kept)


def check_promises(
    plan: Plan,
    model: PlannedModel,
    subnet: fx.GraphModule,
    inputs: tuple[Tensor, ...],
    chosen: Sequence[Group],
) -> None:
    """Promises 1 to 5; train mode may differ only where the report says that a random layer went."""
    report = subnet.meta["autosubnet"]
    promises.equal_outputs(model, subnet, inputs)
    promises.equal_gradients(model, subnet, inputs, report.kept, train=False)
    if not (report.training_notes and (is_random(plan) or reuses_statistics(plan))):
        promises.equal_train_outputs(model, subnet, inputs, report.kept)
        promises.equal_gradients(model, subnet, inputs, report.kept, train=True)
        promises.equal_training(model, subnet, inputs, report.kept)
    promises.names_kept(model, subnet, report.kept)
    promises.stands_alone(subnet)
    promises.fixed_point(subnet, autosubnet.remove_zeros(subnet, redraw(inputs, 2, 4), verify=False))
    if not is_opaque(plan):
        removal.nothing_dead(subnet, inputs)
    with torch.no_grad():
        zero = {number for number, value in enumerate(copy.deepcopy(model).values(*inputs)) if not value.any()}
    counting = {part.name for group in chosen for part in group.slices if part.name.startswith("watched")}
    gone = [group for group in chosen if not counting & {part.name for part in group.slices}]
    removal.removes(model, subnet, inputs, report.kept, gone, stuck_parameters(plan, zero))
    assert report.num_params == (removal.num_params(model), removal.num_params(subnet))
