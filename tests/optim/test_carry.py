"""The carried optimizer goes on like the original whose removed entries are frozen at zero."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from autosubnet.errors import InputError, StateError
from autosubnet.optim import H2SPG, carry_optimizer

from .toy import cut, first, group

KEPT = {"0.weight": {0: (0, 2, 3)}, "0.bias": {0: (0, 2, 3)}, "2.weight": {1: (0, 2, 3)}}
DEAD = (cut("0.weight", 0, 1), cut("0.bias", 0, 1), cut("2.weight", 1, 1))
VARIANTS: list[tuple[Any, dict[str, Any]]] = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (torch.optim.Adam, {"lr": 0.01, "amsgrad": True}),
    (torch.optim.AdamW, {"lr": 0.01, "betas": (0.8, 0.99)}),
]


def make_net(width: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)).double()


def shrink(model: nn.Module) -> nn.Sequential:
    """Without the hidden unit 1; the last bias stays the very same Parameter."""
    subnet = make_net(3)
    for name, p in model.named_parameters():
        value = p.detach()
        for dim, indices in KEPT.get(name, {}).items():
            value = value.index_select(dim, torch.tensor(indices))
        dict(subnet.named_parameters())[name].data.copy_(value)
    subnet[2].bias = model.get_parameter("2.bias")
    return subnet


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 3, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        cross_entropy(model(x), (x.sum(1) > 0).long()).backward()
        optimizer.step()


def named(model: nn.Module) -> dict[str, nn.Parameter]:
    return dict(model.named_parameters())


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("plain", "options"), VARIANTS)
def test_training_goes_on_as_before(plain: Any, options: dict[str, Any], wrapped: bool) -> None:
    model = make_net()
    groups = [group("unit", *DEAD)]
    phases = {"warmup_steps": 2, "projection_steps": 3, "target_group_sparsity": 1.0}
    optimizer = plain(model.parameters(), **options)
    if wrapped:
        optimizer = H2SPG(model, groups, first, variant=plain.__name__.lower(), **phases, **options)
    train(model, optimizer, range(8))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1], model[2].weight[:, 1] = 0, 0, 0
    subnet = shrink(copy.deepcopy(model))
    carried = carry_optimizer(optimizer, named(model), subnet, KEPT)
    assert type(carried) is plain
    assert carried.defaults == optimizer.defaults
    for step in range(8, 20):
        train(model, optimizer, range(step, step + 1))
        train(subnet, carried, range(step, step + 1))
        with torch.no_grad():
            model[0].weight[1], model[0].bias[1], model[2].weight[:, 1] = 0, 0, 0
        for p, q in zip(shrink(copy.deepcopy(model)).parameters(), subnet.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


def test_state_is_copied_not_shared() -> None:
    model = make_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    train(model, optimizer, range(2))
    subnet = shrink(model)
    carried = carry_optimizer(optimizer, named(model), subnet, KEPT)
    before = copy.deepcopy(optimizer.state_dict())
    assert carried.state[subnet[0].weight]["exp_avg"].shape == (3, 3)
    assert carried.state[subnet[2].bias]["step"] == 2
    train(subnet, carried, range(2, 4))
    assert str(optimizer.state_dict()) == str(before)


def test_parameter_groups_keep_order_and_options_and_may_become_empty() -> None:
    model, temperature = make_net(), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD(
        [
            {"params": [("0.weight", model[0].weight), ("0.bias", model[0].bias)], "lr": 0.3},
            {"params": [("2.bias", model[2].bias)], "weight_decay": 0.5},
            {"params": [("t", temperature)], "lr": 0.7},
        ],
        lr=0.1,
    )
    torch.optim.lr_scheduler.StepLR(optimizer, 10)
    subnet = shrink(model)
    subnet[2].bias = None
    carried = carry_optimizer(optimizer, named(model), subnet, KEPT)
    assert [g["params"] for g in carried.param_groups] == [[subnet[0].weight, subnet[0].bias], [], [temperature]]
    assert [g["param_names"] for g in carried.param_groups] == [["0.weight", "0.bias"], [], ["t"]]
    assert [g["lr"] for g in carried.param_groups] == [0.3, 0.1, 0.7]
    assert [g["initial_lr"] for g in carried.param_groups] == [0.3, 0.1, 0.7]
    assert carried.param_groups[1]["weight_decay"] == 0.5


def test_what_does_not_fit() -> None:
    model = make_net()
    subnet = shrink(model)
    with pytest.raises(InputError, match=r"cannot carry the state of Adagrad; use H2SPG, SGD, Adam or AdamW"):
        carry_optimizer(torch.optim.Adagrad(model.parameters()), named(model), subnet, KEPT)
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.raises(StateError, match=r"'0.weight' has shape \(3, 3\), its kept indices say \(4, 3\)"):
        carry_optimizer(optimizer, named(model), subnet, {})
    with pytest.raises(StateError, match=r"'0.weight' is not in the model"):
        carry_optimizer(optimizer, {}, subnet, KEPT)


def test_whole_parameters_may_vanish() -> None:
    model = make_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer, range(2))
    subnet = nn.Sequential(model[0])
    carried = carry_optimizer(optimizer, named(model), subnet, {})
    assert carried.param_groups[0]["params"] == list(subnet.parameters())
    assert set(carried.state) == set(subnet.parameters())


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("plain", "options"), VARIANTS)
def test_momenta_lie_in_memory_as_their_parameters_do(plain: Any, options: dict[str, Any], fused: bool) -> None:
    """A fused step pairs entries by their places in memory: of another layout, momenta would go to other entries."""
    torch.manual_seed(0)
    old, new = (nn.Conv2d(6, channels, 3).double().to(memory_format=torch.channels_last) for channels in (4, 3))
    kept = {"weight": {0: (0, 2, 3)}, "bias": {0: (0, 2, 3)}}
    optimizer = plain(old.parameters(), fused=fused, **options)

    def step(layer: nn.Module, taken_by: torch.optim.Optimizer, seed: int) -> None:
        taken_by.zero_grad()
        generator = torch.Generator().manual_seed(seed)
        y = layer(torch.randn(2, 6, 5, 5, generator=generator, dtype=torch.float64))
        (y if layer is new else y[:, [0, 2, 3]]).square().sum().mul(1e-3).backward()
        taken_by.step()

    for seed in range(2):
        step(old, optimizer, seed)
    new.load_state_dict({name: value[[0, 2, 3]] for name, value in old.state_dict().items()})
    carried = carry_optimizer(optimizer, named(old), new, kept)
    for parameter in new.parameters():
        momenta = [each for each in carried.state[parameter].values() if each.ndim]
        assert momenta
        assert all(each.stride() == parameter.stride() for each in momenta)
    for seed in range(2, 5):
        step(old, optimizer, seed)
        step(new, carried, seed)
    torch.testing.assert_close(new.weight, old.weight[[0, 2, 3]], rtol=1e-12, atol=1e-12)
