"""Budgets: what a set of groups costs, and sets that meet a limit, beside every set that there is."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
import removal
import torch
from graph.models import EXAMPLES
from torch import Tensor, nn

from autosubnet import AutoSubnet
from autosubnet.errors import BudgetError, InputError
from autosubnet.graph.groups import Group
from autosubnet.optim.target import Target
from autosubnet.selection import Selection
from autosubnet.subnet.node_costs import flops_by_node, num_params_by_node, seconds_by_node
from autosubnet.subnet.savings import savings

NAMES = ["demo", "resnet", "densenet", "inception", "squeeze_excite", "transformer"]


def searched(name: str) -> AutoSubnet:
    torch.manual_seed(0)
    return AutoSubnet(*EXAMPLES[name]())


def selection(oto: AutoSubnet) -> Selection:
    return Selection(oto._view, oto.groups, oto._validity)


def valid_sets(oto: AutoSubnet) -> list[tuple[int, ...]]:
    """Every set of groups that may go together."""
    positions = range(len(oto.groups))
    sets = (each for size in range(len(positions) + 1) for each in itertools.combinations(positions, size))
    return [each for each in sets if oto.is_valid(oto.groups[i] for i in each)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_left_costs_what_the_subnet_costs(name: str, seed: int) -> None:
    oto = searched(name)
    chosen = oto.random_set_zero_groups(0.5 if oto.groups[1:] else 1.0, seed=seed)
    counted = oto.compute_costs(without=chosen)
    subnet = oto.construct_subnet()
    assert counted["num_params"] == removal.num_params(subnet) < oto.compute_num_params()
    assert counted["flops"] == oto.compute_flops(subnet) < oto.compute_flops()


def test_costs_do_not_depend_on_the_weights() -> None:
    oto = searched("resnet")
    before = oto.compute_costs(without=oto.groups[:1])
    oto.random_set_zero_groups(1.0)
    assert oto.compute_costs(without=oto.groups[:1]) == before
    assert oto.compute_costs()["num_params"] == oto.compute_num_params()


class Behind(nn.Module):
    """A branch with a layer ahead of the one that decides, and a layer behind a product."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead, self.gate, self.behind = nn.Linear(6, 20), nn.Linear(20, 6), nn.Linear(6, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.ahead(x))
        return x + self.behind(self.gate(y + 1) * (y.mean(1, keepdim=True) + 1))


def test_dead_code_counts() -> None:
    oto = AutoSubnet(Behind(), torch.randn(3, 6))
    group = next(each for each in oto.groups if each.name == "gate")
    assert oto.compute_costs(without=[group])["num_params"] == 0, "all that is left is the shortcut"
    saved = savings(oto._view, [group], {"num_params": num_params_by_node(oto._view)})
    assert saved == {"num_params": [6 * 20 + 20 + 20 * 6 + 6 + 6 * 6]}


@pytest.mark.parametrize("name", NAMES)
def test_estimates_of_single_groups_are_near_what_they_save(name: str) -> None:
    oto = searched(name)
    view = oto._view
    found = savings(view, oto.groups, {"num_params": num_params_by_node(view), "flops": flops_by_node(view)})
    full = oto.compute_costs()
    for position, group in enumerate(oto.groups):
        left = oto.compute_costs(without=[group])
        for cost, values in found.items():
            assert values[position] == pytest.approx(full[cost] - left[cost], rel=0.1), f"{group.name}: {cost}"


@pytest.mark.parametrize("name", NAMES)
def test_nodes_cost_together_what_the_model_costs(name: str) -> None:
    oto = searched(name)
    assert sum(num_params_by_node(oto._view).values()) == oto.compute_num_params()
    assert sum(flops_by_node(oto._view).values()) == oto.compute_flops()
    assert all(seconds > 0 for seconds in seconds_by_node(oto._view).values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cost", ["num_params", "flops"])
def test_the_search_beside_every_set(name: str, cost: str) -> None:
    """It meets every budget that some set meets, and loses little more redundancy than the best set does."""
    oto = searched(name)
    choose, sets = selection(oto), valid_sets(oto)
    costs = {each: choose.costs([cost]).without(oto.groups[i] for i in each)[cost] for each in sets}
    excess = []
    for seed, share in itertools.product(range(3), (0.95, 0.8, 0.6, 0.4)):
        scores = [random.Random(f"{seed} {i}").random() for i in range(len(oto.groups))]
        limit = share * costs[()] + (1 - share) * min(costs.values())
        chosen = choose(scores, Target(**{cost: limit}))
        assert costs[tuple(sorted(chosen))] <= limit
        assert chosen == sorted(chosen, key=lambda i: -scores[i])
        best = min(lost(each, scores) for each in sets if costs[each] <= limit)
        excess.append(lost(chosen, scores) - best)
    assert sum(excess) / len(excess) <= 0.1, excess


def lost(chosen: Sequence[int], scores: Sequence[float]) -> float:
    return sum(max(scores) - scores[i] for i in chosen)


@pytest.mark.parametrize("cost", ["num_params", "flops"])
def test_what_cannot_be_met_is_refused_with_the_nearest(cost: str) -> None:
    oto = searched("resnet")
    least = min(selection(oto).costs([cost]).without(oto.groups[i] for i in each)[cost] for each in valid_sets(oto))
    choose = selection(oto)
    scores = [0.0] * len(oto.groups)
    choose(scores, Target(**{cost: least}))
    with pytest.raises(BudgetError, match=f"nearest leaves {cost} {least:.6g} where {least - 1:.6g} is asked for"):
        choose(scores, Target(**{cost: least - 1}))


def test_a_budget_that_is_met_already_removes_nothing() -> None:
    oto = searched("resnet")
    assert selection(oto)([0.0] * len(oto.groups), Target(num_params=1e9)) == []


def test_a_search_ends_within_its_budget() -> None:
    model, inputs = EXAMPLES["resnet"]()
    oto = AutoSubnet(model, inputs)
    limit = 0.6 * oto.compute_flops()
    optimizer = oto.h2spg(lr=0.01, total_steps=8, target_flops=limit)
    for _ in range(8):
        optimizer.zero_grad()
        model(*inputs).square().mean().backward()
        optimizer.step()
    assert len(optimizer.chosen) == optimizer.progress().num_zero > 0
    subnet = oto.construct_subnet()
    assert oto.compute_flops(subnet) <= limit
    state = optimizer.state_dict()
    other = oto.h2spg(lr=0.01, total_steps=8)
    other.load_state_dict(state)
    assert other.state_dict()["h2spg"]["target"]["flops"] == limit


def test_a_budget_that_cannot_be_met_fails_at_once() -> None:
    oto = searched("resnet")
    with pytest.raises(BudgetError, match="no set of groups was found that meets the budget"):
        oto.h2spg(total_steps=8, target_num_params=1)


def test_a_budget_without_groups() -> None:
    oto = AutoSubnet(nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 4))
    assert oto.h2spg(total_steps=8, target_num_params=20).groups == ()
    with pytest.raises(BudgetError, match="nearest leaves num_params 20 where 19 is asked for"):
        oto.h2spg(total_steps=8, target_num_params=19)


def test_latency_by_a_function_of_ones_own() -> None:
    oto = searched("resnet")
    seen: list[int] = []

    def cost(network: nn.Module) -> float:
        seen.append(removal.num_params(network))
        return len(list(network.modules()))

    optimizer = oto.h2spg(
        total_steps=8, target_latency=len(list(oto.construct_subnet(verify=False).modules())) - 4, latency=cost
    )
    assert optimizer.groups == oto.groups
    assert min(seen) < oto.compute_num_params()


@pytest.mark.parametrize("latency", ["eager", "onnx"])
def test_latency_on_this_machine(latency: str) -> None:
    torch.manual_seed(0)
    model, inputs = EXAMPLES["demo"]()
    oto = AutoSubnet(model.float(), tuple(each.float() for each in inputs))
    choose = Selection(oto._view, oto.groups, oto._validity, latency)
    assert choose([0.0] * len(oto.groups), Target(latency=100.0)) == []
    with pytest.raises(BudgetError, match="latency"):
        choose([0.0] * len(oto.groups), Target(latency=1e-9))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_num_params": 0}, "target_num_params is 0; it must be a number above 0"),
        ({"target_flops": -1.5}, "target_flops is -1.5; it must be a number above 0"),
        ({"target_latency": float("nan")}, "target_latency is nan"),
        ({"target_flops": True}, "target_flops is True"),
        ({"target_flops": "1e6"}, "target_flops is '1e6'"),
        (
            {"target_group_sparsity": 0.5, "target_flops": 1e6},
            "target_group_sparsity and target_flops are given; choose",
        ),
        ({"target_latency": 1.0, "latency": "gpu"}, "latency is 'gpu'; pass 'eager', 'onnx' or a function"),
    ],
)
def test_what_is_no_budget(options: dict[str, object], message: str) -> None:
    oto = searched("resnet")
    with pytest.raises(InputError) as caught:
        oto.h2spg(total_steps=8, **options)  # type: ignore[arg-type]  # what is refused
    assert message in str(caught.value)


def test_groups_are_named() -> None:
    oto = searched("resnet")
    name: Group = oto.groups[0]
    assert oto.compute_costs(without=[name.name]) == oto.compute_costs(without=[name])
