"""HAPG and AdamHAPG where a torch optimizer is expected: state dicts, schedulers, closures, copies, groups; lambda."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

from autosubnet.errors import InputError, StateError
from autosubnet.optim import HAPG, AdamHAPG, LambdaPath

from .nodes import GROUPS, Nodes, train
from .test_hapg import BOTH, unchanged
from .toy import cut, group, whole


def same(ours: nn.Module, theirs: nn.Module) -> bool:
    return all(map(torch.equal, ours.parameters(), theirs.parameters()))


@pytest.mark.parametrize("at", [0, 1, 2, 17])
@pytest.mark.parametrize(("kind", "options"), [*BOTH, (AdamHAPG, {"metric": "diagonal"})])
def test_a_resumed_run_continues_bit_for_bit(kind: type[HAPG], options: dict[str, Any], at: int) -> None:
    def run(model: Nodes, optimizer: HAPG, path: LambdaPath, rates: Any, steps: range) -> None:
        for step in steps:
            train(model, optimizer, range(step, step + 1))
            path.step()
            rates.step()

    def make(seed: int, **options: Any) -> tuple[Nodes, HAPG, LambdaPath, Any]:
        model = Nodes(seed)
        optimizer = kind(model, GROUPS, params=model.parameters(), **options)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
        return model, optimizer, LambdaPath(optimizer, 0.02), rates

    first = make(0, **options, lam=0.1, alpha=0.3)
    run(*first, range(at))
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    second = make(1, lr=0.3)
    for part, saved in zip(second, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(saved)
    for parts in (first, second):
        run(*parts, range(at, 30))
    assert same(first[0], second[0])
    assert first[1].param_groups[0]["lam"] == second[1].param_groups[0]["lam"] == 0.1 + 30 * 0.02
    for p, q in zip(first[0].parameters(), second[0].parameters(), strict=True):
        ours, theirs = first[1].state[p], second[1].state[q]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[k], theirs[k]) if k != "step" else ours[k] == theirs[k] for k in ours)
    assert first[1].derive() == second[1].derive()
    assert same(first[0], second[0])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ((GROUPS[0], group("other", *GROUPS[1].slices), GROUPS[2]), "group 1 is 'b' there and 'other' here"),
        (GROUPS[:2], "3 groups there, 2 here"),
        ((group("a", cut("edges", 0, 0)), *GROUPS[1:]), "group 'a' has other parameter slices there than here"),
    ],
)
def test_a_state_dict_of_other_groups(groups: Any, message: str) -> None:
    model = Nodes()
    saved = HAPG(model, GROUPS)
    train(model, saved, range(3))
    other = HAPG(model, groups, params=model.parameters(), lr=0.5)
    with unchanged(model, other), pytest.raises(StateError, match=f"another partition: {message}"):
        other.load_state_dict(saved.state_dict())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.pop("hapg"), "was not written by HAPG.state_dict"),
        (lambda s: s["hapg"].update(optimizer="HAPG"), "is of HAPG, this optimizer is AdamHAPG"),
        (lambda s: s["hapg"].pop("group_names"), "KeyError\\('group_names'\\)"),
        (lambda s: s["state"][1].pop("prox"), "KeyError\\('prox'\\)"),
        (lambda s: s["state"][0].update(v=torch.ones(2)), "'v' of parameter 0 has another shape"),
        (lambda s: s["param_groups"][0].pop("lam"), "KeyError\\('lam'\\)"),
        (lambda s: s["param_groups"][0].update(lam=-1.0), "lam is -1.0"),
        (lambda s: s["param_groups"].append({}), "KeyError\\('lr'\\)"),
        (lambda s: s["param_groups"][0]["params"].pop(), "shorter"),
        (lambda s: s.pop("state"), "KeyError\\('state'\\)"),
    ],
)
def test_a_damaged_state_dict_changes_nothing(damage: Any, message: str) -> None:
    model = Nodes()
    optimizer = AdamHAPG(model, GROUPS)
    train(model, optimizer, range(3))
    state = copy.deepcopy(optimizer.state_dict())
    damage(state)
    with unchanged(model, optimizer), pytest.raises(StateError, match=message):
        optimizer.load_state_dict(state)


def test_model_and_optimizer_can_be_copied_together() -> None:
    model = Nodes()
    optimizer = AdamHAPG(model, GROUPS, lr=0.02)
    train(model, optimizer, range(5))
    twin_model, twin = copy.deepcopy((model, optimizer))
    for m, o in ((model, optimizer), (twin_model, twin)):
        train(m, o, range(5, 12))
    assert same(model, twin_model)
    assert optimizer.derive() == twin.derive()


def test_two_optimizers_share_no_state() -> None:
    models = Nodes(), Nodes(), Nodes()
    first, second, alone = (AdamHAPG(model, GROUPS, lr=0.02) for model in models)
    for model, optimizer in ((models[0], first), (models[2], alone)):
        train(model, optimizer, range(4))
    second.load_state_dict(first.state_dict())
    train(models[1], second, range(4, 7))
    second.derive()
    for model, optimizer in ((models[0], first), (models[2], alone)):
        train(model, optimizer, range(4, 9))
    assert same(models[0], models[2])


def test_parameters_replaced_in_the_model_are_found_again() -> None:
    models = Nodes(), Nodes()
    optimizers = [AdamHAPG(model, GROUPS, lr=0.02) for model in models]
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, range(4))
    models[1].load_state_dict(copy.deepcopy(models[1].state_dict()), assign=True)
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, range(4, 9))
    assert same(*models)


def test_a_closure_is_called_once_with_gradients_enabled() -> None:
    models = Nodes(), Nodes()
    optimizers = [HAPG(model, GROUPS) for model in models]
    calls = 0

    def closure() -> float:
        nonlocal calls
        calls += 1
        optimizers[0].zero_grad()
        loss = models[0].loss()
        loss.backward()
        return loss.item()

    with torch.no_grad():
        assert optimizers[0].step(closure) > 0
    train(models[1], optimizers[1], range(1))
    assert calls == 1
    assert same(*models)


def test_parameter_groups_keep_their_own_options() -> None:
    model = Nodes()
    groups = (GROUPS[0], group("first", *whole("first")))
    params = [{"params": [model.edges], "lr": 0.01, "lam": 0.5}, {"params": [model.first], "alpha": 1.0}]
    optimizer = HAPG(model, groups, params=params, lr=0.03, lam=0.2, alpha=0.0)
    optimizer.add_param_group({"params": [model.bias]})
    alone = []
    for number, name in enumerate(("edges", "first", "bias")):
        other = Nodes()
        own = {k: optimizer.param_groups[number][k] for k in ("lr", "lam", "alpha")}
        mine = [each for each in groups if each.slices[0].name == name]
        alone.append((name, other, HAPG(other, mine, params=[getattr(other, name)], **own)))
    for _ in range(5):
        gradients = [torch.ones_like(p) for p in model.parameters()]
        for m, o in [(model, optimizer), *((m, o) for _, m, o in alone)]:
            for p, g in zip(m.parameters(), gradients, strict=True):
                p.grad = g
            o.step()
    for name, other, _ in alone:
        assert torch.equal(getattr(model, name), getattr(other, name))
    with pytest.raises(InputError, match="lam is -1"):
        optimizer.add_param_group({"params": [model.second], "lam": -1})
    optimizer.step()
    assert len(optimizer.param_groups) == 3


def test_lambda_grows_in_equal_steps() -> None:
    model = Nodes()
    optimizer = HAPG(model, GROUPS, lam=0.0)
    path = LambdaPath(optimizer)
    seen = []
    for _ in range(50):
        seen.append(optimizer.param_groups[0]["lam"])
        path.step()
    assert seen == [0.01 * epoch for epoch in range(50)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: LambdaPath(torch.optim.SGD(m.parameters(), 0.1)), "SGD has no lambda"),
        (lambda m: LambdaPath(HAPG(m, GROUPS), -0.01), "increment is -0.01"),
        (lambda m: LambdaPath(HAPG(m, GROUPS), float("inf")), "increment is inf; it must be finite"),
    ],
)
def test_bad_paths(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(Nodes())
    path = LambdaPath(HAPG(Nodes(), GROUPS))
    with pytest.raises(StateError, match="not a state dict of LambdaPath: KeyError"):
        path.load_state_dict({"last_epoch": 3})


def test_another_default_device_does_no_harm() -> None:
    model = Nodes()
    with torch.device("meta"):
        optimizer = AdamHAPG(model, GROUPS, lr=0.02, metric="diagonal")
    model.loss().backward()
    with torch.device("meta"):
        optimizer.step()
        optimizer.derive()
    assert all(p.device.type == "cpu" for p in model.parameters())
