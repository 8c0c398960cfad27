"""H2SPG where a torch optimizer is expected: schedulers, closures, groups, clipping, state dicts, copies."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from autosubnet.errors import StateError
from autosubnet.optim import H2SPG

from .toy import GROUPS, VARIANTS, batch, cut, first, group, is_zero, make, make_toy, norm_slices, train, whole


def same(ours: nn.Module, theirs: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_schedulers_change_the_base_optimizer() -> None:
    models = make_toy(), make_toy()
    optimizers = (
        make(models[0], warmup_steps=20, momentum=0.9, foreach=False),
        torch.optim.SGD(models[1].parameters(), 0.05, 0.9, foreach=False),
    )
    cycles = [torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.2, total_steps=20) for o in optimizers]
    for step in range(15):
        for model, optimizer, cycle in zip(models, optimizers, cycles, strict=True):
            train(model, optimizer, range(step, step + 1))
            cycle.step()
    assert optimizers[0].param_groups[0]["lr"] == optimizers[1].param_groups[0]["lr"] != 0.05
    assert same(*models)


def test_a_learning_rate_of_zero_does_no_harm() -> None:
    model = make_toy()
    optimizer = make(model, lr=0.0)
    train(model, optimizer, range(14))
    assert is_zero(model, optimizer.chosen)
    assert all(p.isfinite().all() for p in model.parameters())


def test_closures_are_called_once_with_gradients_enabled() -> None:
    models = make_toy(), make_toy()
    optimizers = make(models[0]), make(models[1])
    calls = 0
    for step in range(15):
        x, y = batch(step)

        def closure() -> float:
            nonlocal calls
            calls += 1
            optimizers[0].zero_grad()
            loss = cross_entropy(models[0](x), y)  # noqa: B023  # called before the loop goes on
            loss.backward()
            return loss.item()

        with torch.no_grad():
            assert optimizers[0].step(closure) > 0
        train(models[1], optimizers[1], range(step, step + 1))
    assert calls == 15
    assert same(*models)


def test_parameter_groups_keep_their_own_options() -> None:
    def split(model: nn.Module) -> list[dict[str, Any]]:
        head = set(model.head.parameters())
        rest = [p for p in model.parameters() if p not in head]
        return [{"params": list(model.head.parameters()), "lr": 0.5, "weight_decay": 0.0}, {"params": rest}]

    models = make_toy(), make_toy()
    options = {"lr": 0.01, "weight_decay": 0.1, "foreach": False}
    optimizer = make(models[0], params=split(models[0]), **options)
    train(models[0], optimizer, range(5))
    train(models[1], torch.optim.SGD(split(models[1]), **options), range(5))
    assert same(*models)
    train(models[0], optimizer, range(5, 20))
    assert is_zero(models[0], optimizer.chosen)


def test_a_parameter_group_can_be_added() -> None:
    model, extra = make_toy(), nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = make(model)
    optimizer.add_param_group({"params": [extra], "lr": 0.25})
    extra.grad = torch.ones(2, dtype=torch.float64)
    optimizer.step()
    assert extra.tolist() == [0.75, 0.75]


def test_gradient_clipping_is_seen() -> None:
    models = make_toy(), make_toy()
    optimizers = make(models[0], foreach=False), torch.optim.SGD(models[1].parameters(), 0.05, foreach=False)
    for step in range(5):
        for model, optimizer in zip(models, optimizers, strict=True):
            x, y = batch(step)
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            assert nn.utils.clip_grad_norm_(model.parameters(), 0.1) > 0.1
            optimizer.step()
    assert same(*models)


def test_step_hooks_are_called_once() -> None:
    model, calls = make_toy(), []
    optimizer = make(model)
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    train(model, optimizer, range(2))
    assert calls == ["pre", "post"] * 2


@pytest.mark.parametrize("at", [0, 3, 5, 9, 13, 17])
@pytest.mark.parametrize(("variant", "options"), [*VARIANTS, ("sgd", {"selection_periods": 4})])
def test_a_resumed_run_continues_bit_for_bit(variant: str, options: dict[str, Any], at: int) -> None:
    model = make_toy()
    optimizer = make(model, variant=variant, **options)
    train(model, optimizer, range(at))
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    resumed_model = make_toy(seed=1)
    resumed = make(resumed_model, variant=variant, warmup_steps=1, projection_steps=1, target_group_sparsity=0.2)
    resumed_model.load_state_dict(loaded["model"])
    resumed.load_state_dict(loaded["optimizer"])
    assert resumed.progress() == optimizer.progress()
    train(model, optimizer, range(at, 25))
    train(resumed_model, resumed, range(at, 25))
    assert same(model, resumed_model)
    assert torch.equal(optimizer.scores, resumed.scores)
    assert resumed.progress() == optimizer.progress()
    for p, q in zip(model.parameters(), resumed_model.parameters(), strict=True):
        state, other = optimizer.state.get(p, {}), resumed.state.get(q, {})
        assert state.keys() == other.keys()
        assert all(torch.equal(state[key], other[key]) for key in state)


def renamed(i: int, name: str) -> tuple[Any, ...]:
    return (*GROUPS[:i], group(name, *GROUPS[i].slices), *GROUPS[i + 1 :])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (renamed(2, "other"), "another partition: group 2 is 'right' there and 'other' here"),
        (GROUPS[:4], "another partition: 6 groups there, 4 here"),
        (
            (*GROUPS[:3], group("seam", *norm_slices(4, 6), cut("head.weight", 1, 4, 5, 6)), *GROUPS[4:]),
            "another partition: group 'seam' has other parameter slices there than here",
        ),
    ],
)
def test_a_state_dict_of_another_partition(groups: tuple[Any, ...], message: str) -> None:
    model = make_toy()
    saved = make(model)
    train(model, saved, range(7))
    other = H2SPG(model, groups, first, lr=0.3, total_steps=40)
    before = str(other.state_dict())
    with pytest.raises(StateError, match=message):
        other.load_state_dict(saved.state_dict())
    assert str(other.state_dict()) == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.pop("h2spg"), "was not written by H2SPG.state_dict"),
        (lambda s: s["h2spg"].pop("scores"), "is damaged: KeyError\\('scores'\\)"),
        (lambda s: s["h2spg"].update(chosen=[17]), "scores or choice do not fit"),
        (lambda s: s["h2spg"].update(variant="adam"), "of variant 'adam', this optimizer of 'sgd'"),
        (lambda s: s["param_groups"].append({"params": []}), "does not fit this optimizer's parameters"),
        (lambda s: s.pop("state"), "does not fit this optimizer's parameters"),
    ],
)
def test_a_damaged_state_dict_changes_nothing(damage: Any, message: str) -> None:
    model = make_toy()
    optimizer = make(model, momentum=0.9)
    train(model, optimizer, range(7))
    state = copy.deepcopy(optimizer.state_dict())
    damage(state)
    before = str(optimizer.state_dict())
    with pytest.raises(StateError, match=message):
        optimizer.load_state_dict(state)
    assert str(optimizer.state_dict()) == before


def test_older_weights_loaded_late_do_not_revive_zeros() -> None:
    model = make_toy()
    optimizer = make(model)
    train(model, optimizer, range(3))
    early = copy.deepcopy(model.state_dict())
    train(model, optimizer, range(3, 15))
    model.load_state_dict(early)
    train(model, optimizer, range(15, 16))
    assert is_zero(model, optimizer.chosen)


@pytest.mark.parametrize("at", [2, 8, 15])
def test_model_and_optimizer_can_be_copied_together(at: int) -> None:
    model = make_toy()
    optimizer = make(model, momentum=0.9)
    train(model, optimizer, range(at))
    twin_model, twin = copy.deepcopy((model, optimizer))
    train(model, optimizer, range(at, 20))
    train(twin_model, twin, range(at, 20))
    assert same(model, twin_model)
    assert twin.progress() == optimizer.progress()


def test_frozen_and_unused_parameters_are_carried_through() -> None:
    model = make_toy()
    model.right.requires_grad_(False)
    optimizer = make(model, target_group_sparsity=1.0, momentum=0.9)
    train(model, optimizer, range(13))
    assert is_zero(model, optimizer.chosen)
    assert model.unused.grad is None


def test_sparse_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(6, 3, sparse=True), nn.Linear(3, 2))
    groups = [group("table", *whole("0.weight")), group("bias", *whole("1.bias"))]
    optimizer = H2SPG(model, groups, first, lr=0.1, warmup_steps=2, projection_steps=3, target_group_sparsity=1.0)
    for step in range(8):
        optimizer.zero_grad()
        model(torch.tensor([step % 6, 1])).square().sum().backward()
        assert model[0].weight.grad.is_sparse
        optimizer.step()
    assert not model[0].weight.any()
    assert not model[1].bias.any()
    assert optimizer.scores[0] > 0


def test_half_precision() -> None:
    torch.manual_seed(0)
    model = nn.Linear(8, 4).bfloat16()
    phases = {"warmup_steps": 2, "projection_steps": 2, "target_group_sparsity": 1.0}
    optimizer = H2SPG(model, [group("g", cut("weight", 0, 1))], first, momentum=0.9, **phases)
    for _ in range(6):
        optimizer.zero_grad()
        model(torch.ones(2, 8, dtype=torch.bfloat16)).square().sum().backward()
        optimizer.step()
    assert not model.weight[1].any()
    assert model.weight[0].all()


def test_fused_kernels_are_used_unless_told_otherwise() -> None:
    assert make(make_toy()).param_groups[0]["fused"] is True
    assert make(make_toy(), foreach=False).param_groups[0]["fused"] is None
    assert make(make_toy(), fused=False).param_groups[0]["fused"] is False


def test_another_default_device_does_no_harm() -> None:
    model = make_toy()
    with torch.device("meta"):
        optimizer = make(model)
    for step in range(14):
        x, y = batch(step)
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        with torch.device("meta"):
            optimizer.step()
    assert is_zero(model, optimizer.chosen)
