"""Algorithm 3 against a transcription, and what H2SPG promises."""

import copy
import io
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

from autosubnet.errors import BudgetError, GroupError, InputError, NonFiniteError, StateError
from autosubnet.graph.groups import Group
from autosubnet.optim import H2SPG, redundancy_score
from autosubnet.optim.target import Target

from .toy import (
    GROUPS,
    VARIANTS,
    batch,
    cut,
    entries,
    first,
    group,
    is_zero,
    make,
    make_toy,
    not_all_branches,
    train,
    whole,
)

TORCH = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class Transcription:
    """Algorithm 3 with one loop over groups, written down entry by entry; no code shared but the base optimizer."""

    def __init__(self, model: nn.Module, base: torch.optim.Optimizer, warmup: int, end: int, k: int, epsilon: float):
        self.parameters = dict(model.named_parameters())
        self.masks = [entries(model, [g]) for g in GROUPS]
        self.base, self.warmup, self.end, self.k, self.epsilon = base, warmup, end, k, epsilon
        self.t = 0
        self.scores = torch.zeros(len(GROUPS), dtype=torch.float64)
        self.chosen: list[int] = []
        self.zero: set[int] = set()

    def vector(self, values: dict[str, Tensor], g: int) -> Tensor:
        """The entries of group g that are not zero for good."""
        parts = []
        for name, mask in self.masks[g].items():
            live = mask.clone()
            for z in self.zero:
                live &= ~self.masks[z].get(name, torch.zeros_like(mask))
            parts.append(values[name][live])
        return torch.cat(parts)

    def score(self) -> None:
        x = {n: p.detach() for n, p in self.parameters.items()}
        grad = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in self.parameters.items()}
        rows = []
        for g in range(len(GROUPS)):
            v, d = self.vector(x, g), self.vector(grad, g)
            rows.append(((v * d).sum(), (v * v).sum(), (d * d).sum(), torch.tensor(float(v.numel()))))
        now = redundancy_score(*(torch.stack([row[i].double() for row in rows]) for i in range(4)))
        self.scores = 0.9 * self.scores + (1 - 0.9) * now
        if self.t == self.warmup - 1:
            self.chosen = sorted(range(len(GROUPS)), key=lambda g: -self.scores[g].item())[: self.k]

    def project(self, before: dict[str, Tensor]) -> None:
        after = {n: p.detach() for n, p in self.parameters.items()}
        moved = {n: before[n] - after[n] for n in before}
        lam: dict[int, float] = {}
        for g in set(self.chosen) - self.zero:
            x, d = self.vector(before, g), self.vector(moved, g)
            norm, uphill = x.norm().item(), -(x * d).sum().item()
            wish = norm / (self.end - self.t)
            if uphill <= 0 or norm == 0:
                lam[g] = wish
                continue
            low, high = uphill / norm, (d * d).sum().item() * norm / uphill
            lam[g] = max(wish, 2 * low)
            if lam[g] >= high:
                lam[g] = (low + high) / 2
            if high <= low * (1 + 1e-6):
                lam[g] = low + wish
        trial = {n: p.clone() for n, p in after.items()}
        for g, value in lam.items():
            norm = self.vector(before, g).norm().item()
            for name, mask in self.masks[g].items():
                if norm > 0:
                    trial[name] -= value / norm * torch.where(mask, before[name], 0.0)
        projected = set()
        for g in lam:
            x = self.vector(before, g)
            inside = (self.vector(trial, g) * x).sum() >= self.epsilon * (x * x).sum()
            if self.t == self.end - 1 or x.norm() == 0 or not inside:
                projected.add(g)
        for name, p in self.parameters.items():
            p.data.copy_(trial[name])
        self.zero |= projected

    def step(self) -> None:
        before = {n: p.detach().clone() for n, p in self.parameters.items()}
        if self.t < self.warmup:
            self.score()
        self.base.step()
        if self.warmup <= self.t < self.end:
            self.project(before)
        for g in self.zero:
            for name, mask in self.masks[g].items():
                p = self.parameters[name]
                for tensor in (p.data, *(v for v in self.base.state[p].values() if v.shape == p.shape)):
                    tensor[mask] = 0.0
        self.t += 1


def zero_entries(model: nn.Module, chosen: Group) -> None:
    for name, mask in entries(model, [chosen]).items():
        model.get_parameter(name).data[mask] = 0


@pytest.mark.parametrize(("epsilon", "k"), [(0.0, 4), (0.8, 4), (0.0, 6)])
@pytest.mark.parametrize(("variant", "options"), VARIANTS)
def test_every_step_follows_the_transcription(variant: str, options: dict[str, Any], epsilon: float, k: int) -> None:
    options = {"lr": 0.05, "foreach": False, **options}
    ours, theirs = make_toy(), make_toy()
    optimizer = make(ours, variant=variant, target_group_sparsity=k / 6, epsilon=epsilon, **options)
    base = TORCH[variant](theirs.parameters(), **options)
    oracle = Transcription(theirs, base, warmup=5, end=13, k=k, epsilon=epsilon)
    for step in range(20):
        for model, stepper in ((ours, optimizer), (theirs, oracle)):
            if step == 5 and k == 6:  # one group is zero long before those that it overlaps
                zero_entries(model, GROUPS[4])
            x, y = batch(step)
            model.zero_grad()
            cross_entropy(model(x), y).backward()
            stepper.step()
        torch.testing.assert_close(optimizer.scores, oracle.scores, rtol=1e-12, atol=1e-12)
        assert [g.name for g in optimizer.chosen] == [GROUPS[i].name for i in oracle.chosen]
        assert optimizer.progress().num_zero == len(oracle.zero)
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
            # The next step starts from equal states: Adam blows rounding up where gradients are all but zero.
            q.data.copy_(p.data)
            base.state[q] = copy.deepcopy(optimizer.state[p])
    assert len(oracle.chosen) == k


@pytest.mark.parametrize("target", [0.5, 1.0])
@pytest.mark.parametrize(("variant", "options"), VARIANTS)
def test_chosen_groups_become_and_stay_exactly_zero(variant: str, options: dict[str, Any], target: float) -> None:
    model = make_toy()
    optimizer = make(model, variant=variant, target_group_sparsity=target, **options)
    train(model, optimizer, range(13))
    assert len(optimizer.chosen) == int(6 * target)
    assert is_zero(model, optimizer.chosen)
    chosen = optimizer.chosen
    for start in range(13, 213, 20):
        train(model, optimizer, range(start, start + 20))
        assert is_zero(model, chosen)
    assert optimizer.chosen == chosen
    zeros = entries(model, chosen)
    for name, p in model.named_parameters():
        kept = ~zeros.get(name, torch.zeros(p.shape, dtype=torch.bool))
        assert p.detach()[kept].all(), f"{name} lost an entry that is in no chosen group"
        for key, value in optimizer.state.get(p, {}).items():
            if value.shape == p.shape:
                assert not value[~kept].any(), f"{key} of {name} remembers zeroed entries"


def test_the_rest_trains_as_if_the_zeros_were_frozen() -> None:
    model = make_toy()
    optimizer = make(model, momentum=0.9, foreach=False)
    train(model, optimizer, range(13))
    twin = copy.deepcopy(model)
    plain = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9, foreach=False)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        plain.state[q] = copy.deepcopy(optimizer.state[p])
    zeros = entries(twin, optimizer.chosen)
    for step in range(13, 25):
        train(model, optimizer, range(step, step + 1))
        train(twin, plain, range(step, step + 1))
        for name, q in twin.named_parameters():
            if name in zeros:
                q.data[zeros[name]] = 0
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            assert torch.equal(p, q)


def test_warm_up_is_the_base_optimizer_bit_for_bit() -> None:
    ours, theirs = make_toy(), make_toy()
    train(ours, make(ours, momentum=0.9, weight_decay=0.01, foreach=True), range(5))
    train(theirs, torch.optim.SGD(theirs.parameters(), 0.05, 0.9, weight_decay=0.01, foreach=True), range(5))
    assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_without_groups_it_is_the_base_optimizer() -> None:
    ours, theirs = make_toy(), make_toy()
    optimizer = H2SPG(ours, (), first, lr=0.05, total_steps=4, foreach=False)
    train(ours, optimizer, range(10))
    train(theirs, torch.optim.SGD(theirs.parameters(), 0.05, foreach=False), range(10))
    assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert str(optimizer.progress()) == "training, step 10 of 4: no removable groups, plain training"


def test_same_seed_same_groups_and_gradients_are_left_alone() -> None:
    chosen = []
    for _ in range(2):
        model = make_toy()
        optimizer = make(model)
        train(model, optimizer, range(13))
        chosen.append(optimizer.chosen)
        grads = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
        optimizer.step()
        for name, p in model.named_parameters():
            assert (p.grad is None) == (grads[name] is None)
            assert p.grad is None or torch.equal(p.grad, grads[name])
    assert chosen[0] == chosen[1]


def test_selection_gets_scores_and_target_and_decides() -> None:
    calls: list[tuple[list[float], Target]] = []

    def select(scores: Sequence[float], target: Target, taken: Sequence[int]) -> list[int]:
        calls.append((list(scores), target))
        return not_all_branches(scores, target)

    model = make_toy()
    optimizer = make(model, select, target_group_sparsity=0.9)
    assert calls == [([0.0] * 6, Target(num_groups=5))]
    train(model, optimizer, range(5))
    assert calls[1:] == [(optimizer.scores.tolist(), Target(num_groups=5))]
    assert [GROUPS.index(g) for g in optimizer.chosen] == not_all_branches(*calls[1])
    train(model, optimizer, range(5, 30))
    assert len(calls) == 2


def test_an_impossible_target_fails_at_once() -> None:
    with pytest.raises(BudgetError, match="6 groups cannot be removed together; at most 5 can"):
        make(make_toy(), not_all_branches, target_group_sparsity=1.0)


@pytest.mark.parametrize(
    ("target", "count", "k"), [(0.5, 6, 3), (0.49, 6, 2), (0.29, 100, 29), (0.0, 6, 0), (1.0, 6, 6)]
)
def test_number_of_groups_is_rounded_down(target: float, count: int, k: int) -> None:
    groups = [group(f"g{i}", *whole("head.bias")) for i in range(count)]
    asked: list[int | None] = []

    def select(scores: Sequence[float], target: Target, taken: Sequence[int]) -> list[int]:
        asked.append(target.num_groups)
        return first(scores, target)

    H2SPG(make_toy(), groups, select, total_steps=10, target_group_sparsity=target)
    assert asked == ([k] if k else [])


def test_a_group_that_is_zero_at_birth_is_not_chosen() -> None:
    model = make_toy()
    with torch.no_grad():
        model.table.zero_()
    optimizer = make(model, warmup_steps=1)
    train(model, optimizer, range(1))
    assert optimizer.scores[4] == 0
    assert optimizer.scores.argmin() == 4
    assert "cross" not in optimizer.progress().chosen


def test_a_chosen_group_that_is_zero_already_stays_zero_from_the_start() -> None:
    model = make_toy()
    model.table.requires_grad_(False).zero_()

    def pick_the_table(scores: Sequence[float], target: Target, taken: Sequence[int] = ()) -> list[int]:
        return [4, *(i for i in range(len(scores)) if i != 4)][: target.num_groups]

    optimizer = make(model, pick_the_table)
    train(model, optimizer, range(5))
    model.table.requires_grad_(True)
    train(model, optimizer, range(5, 6))
    assert optimizer.progress().num_zero >= 1
    assert is_zero(model, [GROUPS[4]])


def test_entries_at_zero_for_good_have_no_say_in_lambda() -> None:
    model = nn.ParameterDict({"p": nn.Parameter(torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64))})
    groups = [group("zero", cut("p", 0, 0, 1)), group("overlapping", cut("p", 0, 1, 2, 3))]
    optimizer = H2SPG(model, groups, first, lr=1.0, warmup_steps=1, projection_steps=3, target_group_sparsity=1.0)
    for _ in range(2):
        model.p.grad = torch.zeros(4, dtype=torch.float64)
        optimizer.step()
    assert optimizer.progress().num_zero == 1
    x, g = torch.tensor([1.0, 1.0], dtype=torch.float64), torch.tensor([-0.1, -0.02], dtype=torch.float64)
    model.p.data[2:] = x
    model.p.grad = torch.cat([torch.tensor([0.0, 9.0], dtype=torch.float64), g])
    optimizer.step()
    low, high = 0.12 / math.sqrt(2), (g @ g).item() * math.sqrt(2) / 0.12
    assert high < math.sqrt(2) / 2 < (81 + g @ g) * math.sqrt(2) / 0.12  # the wish fits only if the 9 counts
    torch.testing.assert_close(model.p[2:], x - g - (low + high) / 2 * x / math.sqrt(2), rtol=1e-12, atol=1e-12)


def test_a_group_inside_another_is_zero_with_it() -> None:
    model = nn.ParameterDict({"p": nn.Parameter(torch.ones(3, dtype=torch.float64))})
    groups = [group("outer", *whole("p")), group("inner", cut("p", 0, 0))]
    optimizer = H2SPG(model, groups, first, lr=1.0, warmup_steps=1, projection_steps=9, target_group_sparsity=1.0)
    zero = []
    for gradient in ([0.0, 0.0, 0.0], [0.0, 3.0, 3.0], [0.0, 0.0, 0.0]):
        model.p.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        zero.append(optimizer.progress().num_zero)
    assert zero == [0, 1, 2]
    assert not model.p.any()


def test_a_score_function_can_be_exchanged() -> None:
    def by_size(x_dot_g: Tensor, x_sq: Tensor, g_sq: Tensor, sizes: Tensor) -> Tensor:
        return sizes

    model = make_toy()
    optimizer = make(model, score=by_size, score_momentum=0.5)
    train(model, optimizer, range(5))
    sizes = {g.name: sum(int(m.sum()) for m in entries(model, [g]).values()) for g in GROUPS}
    assert list(optimizer.progress().chosen) == sorted(sizes, key=lambda n: -sizes[n])[:3]
    assert optimizer.scores[0] == sizes["left"] * (1 - 0.5**5)


def test_progress_tells_each_phase() -> None:
    model = make_toy()
    optimizer = make(model, total_steps=20)
    assert str(optimizer.progress()) == "warm-up, step 0 of 20: scoring 6 groups"
    train(model, optimizer, range(5))
    progress = optimizer.progress()
    assert (progress.phase, progress.step, progress.num_chosen, progress.num_zero) == ("projection", 5, 3, 0)
    assert progress.chosen == tuple(g.name for g in optimizer.chosen)
    train(model, optimizer, range(5, 13))
    progress = optimizer.progress()
    assert progress.group_sparsity == 0.5
    assert progress.num_params == sum(p.numel() for p in model.parameters())
    assert progress.num_zero_params == sum(int(mask.sum()) for mask in entries(model, optimizer.chosen).values())
    assert str(progress) == "training, step 13 of 20: 3 of 3 chosen groups are zero, group sparsity 50%"


def test_progress_as_a_table() -> None:
    model = make_toy()
    optimizer = make(model, total_steps=20)
    screen = io.StringIO()
    console = Console(file=screen, width=100)
    console.print(optimizer.progress())
    train(model, optimizer, range(13))
    console.print(optimizer.progress())
    shown = screen.getvalue()
    before, after = shown[: len(shown) // 2], shown[len(shown) // 2 :]
    assert "warm-up, step 0 of 20" in before
    assert "3 groups at zero" in before
    assert "6, 3 chosen, 3 at zero" in after
    assert f"{optimizer.progress().num_zero_params:,} at zero" in after
    assert all(name in after for name in optimizer.progress().zero)
    assert len(optimizer.progress().zero) == 3


@pytest.mark.parametrize(
    ("given_steps", "warmup", "projection"),
    [
        ({"total_steps": 100}, 25, 25),
        ({"total_steps": 3}, 1, 1),
        ({"total_steps": 100, "warmup_steps": 10}, 10, 25),
        ({"warmup_steps": 2, "projection_steps": 3}, 2, 3),
    ],
)
def test_default_phases_leave_the_last_third(given_steps: dict[str, int], warmup: int, projection: int) -> None:
    optimizer = H2SPG(make_toy(), GROUPS, first, **given_steps)
    for step in range(warmup + projection):
        assert optimizer.progress().phase == ("warm-up" if step < warmup else "projection")
        optimizer.step()
    assert optimizer.progress().phase == "training"
    total = given_steps.get("total_steps")
    assert total is None or warmup + projection <= 2 * total / 3


def test_averaged_copies_get_the_same_zeros() -> None:
    model = make_toy()
    optimizer = make(model)
    averaged, plain = AveragedModel(model), copy.deepcopy(model)
    train(model, optimizer, range(13))
    before = {n: p.detach().clone() for n, p in plain.named_parameters()}
    optimizer.apply_zeros(averaged)
    optimizer.apply_zeros(plain)
    assert is_zero(plain, optimizer.chosen)
    assert is_zero(averaged.module, optimizer.chosen)
    zeros = entries(plain, optimizer.chosen)
    for name, p in plain.named_parameters():
        assert torch.equal(p, before[name].masked_fill(zeros.get(name, torch.tensor(False)), 0))
    with pytest.raises(InputError, match=r"the copy has no parameter '.*' of shape .*; copy the trained model"):
        optimizer.apply_zeros(nn.Linear(2, 2))


def test_replaced_parameters_are_found_again() -> None:
    ours, theirs = make_toy(), make_toy()
    first_run, second_run = make(ours, momentum=0.9), make(theirs, momentum=0.9)
    for step in range(30):
        if step in (2, 7, 20):
            theirs.load_state_dict({k: v.clone() for k, v in theirs.state_dict().items()}, assign=True)
        train(ours, first_run, range(step, step + 1))
        train(theirs, second_run, range(step, step + 1))
        assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))
    held = {p for g in second_run.param_groups for p in g["params"]}
    assert held == set(theirs.parameters())
    assert set(second_run.state) <= held
    assert is_zero(theirs, second_run.chosen)


@pytest.mark.parametrize("resumed", [False, True])
def test_training_goes_on_in_another_memory_layout(resumed: bool) -> None:
    """Steps are fused unless somebody chooses otherwise, and these pair momenta and weights by place in memory."""
    ours, theirs = make_toy(), make_toy()
    first_run, second_run = make(ours, momentum=0.9), make(theirs, momentum=0.9)
    for model, run in ((ours, first_run), (theirs, second_run)):
        train(model, run, range(4))
    if resumed:
        state, saved = second_run.state_dict(), theirs.state_dict()
        theirs = make_toy().to(memory_format=torch.channels_last)
        theirs.load_state_dict(saved)
        second_run = make(theirs, momentum=0.9)
        second_run.load_state_dict(state)
    else:
        last = copy.deepcopy(theirs).to(memory_format=torch.channels_last)
        theirs.load_state_dict(last.state_dict(), assign=True)
    assert second_run.param_groups[0]["fused"]
    assert theirs.get_parameter("left.0.weight").stride() != ours.get_parameter("left.0.weight").stride()
    for model, run in ((ours, first_run), (theirs, second_run)):
        train(model, run, range(4, 12))
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-9)


def test_a_removed_parameter_is_an_error() -> None:
    model = make_toy()
    optimizer = make(model)
    del model.unused
    with pytest.raises(StateError, match=r"parameter 'unused' is gone from the model"):
        optimizer.step()
    model.unused = nn.Parameter(torch.ones(2))
    with pytest.raises(StateError, match=r"parameter 'unused' had shape \(3,\) and now has \(2,\)"):
        optimizer.step()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("steps", [0, 4, 6])
def test_a_non_finite_gradient_is_reported_before_anything_changes(steps: int, value: float) -> None:
    model = make_toy()
    optimizer = make(model, momentum=0.9, target_group_sparsity=1.0)
    train(model, optimizer, range(steps))
    train(model, torch.optim.SGD(model.parameters(), lr=0.0), range(steps, steps + 1))
    model.middle[0].weight.grad[0, 0] = value
    model.table.grad[1, 1] = value
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(NonFiniteError, match=f"the gradient of parameter 'table' is NaN.* in step {steps + 1}"):
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert str(state) == str(optimizer.state_dict())


def test_a_non_finite_weight_is_reported() -> None:
    model = make_toy()
    optimizer = make(model)
    with torch.no_grad():
        model.head.weight[0, 5] = math.nan
    with pytest.raises(NonFiniteError, match=r"the weight of parameter 'head.weight'"):
        optimizer.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup_steps": None}, "pass total_steps .* or both warmup_steps and projection_steps"),
        ({"warmup_steps": 0}, "warmup_steps is 0; it must be a whole number of at least 1"),
        ({"projection_steps": 2.5}, "projection_steps is 2.5"),
        ({"total_steps": 12}, "warm-up \\(5 steps\\) and projection \\(8 steps\\) do not fit into total_steps=12"),
        ({"target_group_sparsity": 1.2}, "target_group_sparsity is 1.2; it must lie in \\[0, 1\\]"),
        ({"target_group_sparsity": math.nan}, "target_group_sparsity is nan"),
        ({"score_momentum": 1.0}, "score_momentum is 1.0; it must lie in \\[0, 1\\)"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"variant": "lion"}, "variant is 'lion'; it must be one of 'sgd', 'adam', 'adamw'"),
        ({"momentun": 0.9}, "refuses its arguments: .*'momentun'"),
        ({"lr": -1.0}, "refuses its arguments: Invalid learning rate: -1.0"),
        ({"maximize": True}, "maximize=True is not supported"),
        ({"params": []}, "refuses its arguments: optimizer got an empty parameter list"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(make_toy(), **options)


def test_groups_that_do_not_fit() -> None:
    model = make_toy()
    with pytest.raises(InputError, match=r"parameter 'table' belongs to a group but is not in params"):
        make(model, params=model.head.parameters())
    with pytest.raises(GroupError, match=r"group 'ghost' holds 'no.such'"):
        H2SPG(model, [group("ghost", *whole("no.such"))], first, total_steps=10)


def test_a_score_function_that_returns_nonsense() -> None:
    model = make_toy()
    with pytest.raises(InputError, match="must return 6 finite scores"):
        make(model, score=lambda x_dot_g, x_sq, g_sq, sizes: sizes * math.nan).step()
