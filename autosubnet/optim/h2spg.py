"""Hierarchical Half-Space Projected Gradient, H2SPG (OTOv3 Algorithm 3).

Three phases. *Warm-up*: the base optimizer trains everything while redundancy scores are averaged; at its end
the most redundant groups that can be removed together are chosen. *Projection*: the base optimizer goes on;
the chosen groups are pulled towards zero and projected onto it group by group, the last at the phase's end. The
phase may have several periods, with a choice of some of the groups before each, and scores that go on between.
*Training*: the base optimizer trains what is left, and the chosen groups stay zero, bit for bit.

Deviations from the paper: the projection phase ends, with all chosen groups at zero (the paper's may leave
some); lambda follows a schedule within the paper's bounds (see ``half_space``); the chosen groups' trial step
uses what the base optimizer subtracts, momentum and all, where the paper writes the gradient "or its
variant".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, overload

import torch
from torch import Tensor, nn

from autosubnet.errors import BudgetError, InputError, NonFiniteError, StateError
from autosubnet.graph.groups import Group
from autosubnet.optim.agreement import agreed
from autosubnet.optim.base import make_base, prefer_fused
from autosubnet.optim.checkpoint import KEY, Run, Settings, pack, unpack
from autosubnet.optim.group_index import GroupIndex, ZeroSet, first_non_finite
from autosubnet.optim.half_space import choose_lambda, leaves_half_space
from autosubnet.optim.parameters import NamedParameters, laid_out_as, replace_parameters
from autosubnet.optim.saliency import ScoreFunction, redundancy_score
from autosubnet.optim.schedule import Progress, make_schedule
from autosubnet.optim.sharding import is_split
from autosubnet.optim.target import SelectFunction, make_target

_OWN_STATE = (
    *("_parameters", "_index", "_base", "_select", "_score", "_settings", "_run"),
    *("_before", "_zeros", "_num_zero_params", "_active", "_active_cells", "_active_names"),
)  # what torch's __getstate__ would leave out of a copy


class H2SPG(torch.optim.Optimizer):
    """Trains a model once and drives its most redundant groups to exact zeros (OTOv3 Algorithm 3).

    It wraps ``torch.optim.SGD``, ``Adam`` or ``AdamW`` and is used like them: schedulers, closures, clipping,
    parameter groups and state dicts work as there. After ``warmup_steps + projection_steps`` steps the union
    of the chosen groups' slices is zero and stays so.

    Args:
        model: what is trained; parameters that are replaced in it later are found again by name.
        groups: the partition; slices name the model's parameters, and may overlap.
        select: takes the scores, the target and the groups that were chosen before; returns groups that can be removed
            together and reach it, or raises ``BudgetError``. Called once here, with equal scores, and at each choice.
        params: what to optimize, as for any torch optimizer; default: all parameters of the model.
        lr: learning rate; default: that of the torch optimizer.
        variant: ``"sgd"``, ``"adam"`` or ``"adamw"``.
        total_steps: optimizer steps of the whole training.
        warmup_steps: steps that only score; default: a quarter of ``total_steps``.
        projection_steps: steps in which the chosen groups go to zero; default: a quarter of ``total_steps``.
        selection_periods: parts of the projection phase, each with a choice of its own: with one, all groups are
            chosen when the warm-up ends (the paper); with more, an equal number for each, by the scores so far.
        target_group_sparsity: K is this times the number of groups, rounded down; in [0, 1]. A half where no other
            target is given.
        target_num_params: scalar parameters that may be left, instead.
        target_flops: floating-point operations for one example that may be left.
        target_latency: seconds that what is left may take, as ``select`` measures it.
        score: redundancy score of one step, from per-group sums.
        score_momentum: omega of Algorithm 3, weight of the scores so far (which start from 0); in [0, 1).
        epsilon: of the half-space projection, in [0, 1); the larger, the earlier groups become zero.
        **options: of the torch optimizer (``momentum``, ``weight_decay``, ``betas``, ...), without
            ``maximize`` and ``differentiable``. Where neither ``fused`` nor ``foreach`` is given, torch's fused
            kernels are used if they can be.

    Raises:
        InputError: an argument out of range, or parameters that do not fit.
        GroupError: groups that do not fit the model.
        BudgetError: no set of groups was found that reaches the target (raised by ``select``).
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[Group],
        select: SelectFunction,
        *,
        params: Any = None,
        lr: float | Tensor | None = None,
        variant: str = "sgd",
        total_steps: int | None = None,
        warmup_steps: int | None = None,
        projection_steps: int | None = None,
        selection_periods: int = 1,
        target_group_sparsity: float | None = None,
        target_num_params: float | None = None,
        target_flops: float | None = None,
        target_latency: float | None = None,
        score: ScoreFunction = redundancy_score,
        score_momentum: float = 0.9,
        epsilon: float = 0.0,
        **options: Any,
    ) -> None:
        _check_range("score_momentum", score_momentum, 0 <= score_momentum < 1, "[0, 1)")
        _check_range("epsilon", epsilon, 0 <= epsilon < 1, "[0, 1)")
        target = make_target(len(groups), target_group_sparsity, target_num_params, target_flops, target_latency)
        schedule = make_schedule(total_steps, warmup_steps, projection_steps, selection_periods)
        options = options if lr is None else {"lr": lr, **options}
        self._parameters = NamedParameters(model)
        self._index = GroupIndex(groups, {n: p.shape for n, p in self._parameters.current.items()})
        self._base = make_base(variant, model.parameters() if params is None else params, options)
        prefer_fused(self._base, model)
        self._check_coverage()
        if target.num_groups != 0:
            select([0.0] * len(groups), target, ())
        self._select, self._score = select, score
        self._settings = Settings(variant, schedule, target, float(score_momentum), float(epsilon))
        self._run = Run(0, torch.zeros(len(groups), dtype=torch.float64, device="cpu"))
        self._before: dict[str, Tensor] = {}
        self._update_masks()
        super().__init__(self._base.param_groups, self._base.defaults)

    def _check_coverage(self) -> None:
        given = {p for group in self._base.param_groups for p in group["params"]}
        for name in self._index.names:
            if self._parameters.current[name] not in given:
                raise InputError(
                    f"parameter {name!r} belongs to a group but is not in params; "
                    f"pass all parameters, or keep its structure out of the search"
                )

    @property
    def groups(self) -> tuple[Group, ...]:
        """The partition, in the order of ``scores``."""
        return self._index.groups

    @property
    def scores(self) -> Tensor:
        """Averaged redundancy score of each group, float64 on the CPU; the larger the more redundant."""
        return self._run.scores

    @property
    def named_parameters(self) -> Mapping[str, nn.Parameter]:
        """What is trained, by the names in the model."""
        return self._parameters.current

    @property
    def variant(self) -> str:
        """The base optimizer: ``"sgd"``, ``"adam"`` or ``"adamw"``."""
        return self._settings.variant

    @property
    def chosen(self) -> tuple[Group, ...]:
        """The groups chosen to become zero, in the order of choice; empty until the warm-up ends."""
        return tuple(self.groups[i] for i in self._run.chosen)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of Algorithm 3.

        Args:
            closure: re-evaluates the model and returns the loss.

        Returns:
            The closure's loss, if there is a closure.

        Raises:
            NonFiniteError: a NaN or infinite weight or gradient in a group, while groups are scored or
                projected; raised before anything was changed.
            StateError: a parameter was taken out of the model, or another process of a distributed run has other
                scores.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            self._find_parameters()
            schedule = self._settings.schedule
            counts = schedule.scores(self._run.step) and bool(self.groups)
            scores = self._averaged_scores() if counts else self._run.scores
            planned = self._plan(scores) if self._run.step + 1 in schedule.choices else None
            if schedule.phase(self._run.step) == "projection" and bool(self._active.any()):
                self._projected_step()
            else:
                self._base_step()
            self._keep_zeros()
        self._run.step += 1
        self._run.scores = scores
        if planned is not None:
            self._choose(planned)
        return loss

    def progress(self) -> Progress:
        """Phase, steps, and which groups are chosen and zero; reads nothing from the device."""
        run, schedule = self._run, self._settings.schedule
        return Progress(
            phase=schedule.phase(run.step),
            target=self._settings.target,
            step=run.step,
            total=schedule.total,
            num_groups=len(self.groups),
            num_chosen=len(run.chosen),
            num_zero=len(run.zeroed),
            chosen=tuple(group.name for group in self.chosen),
            zero=tuple(self.groups[i].name for i in run.zeroed),
            group_sparsity=len(run.zeroed) / max(1, len(self.groups)),
            num_params=sum(p.numel() for p in self._parameters.current.values()),
            num_zero_params=self._num_zero_params,
        )

    @torch.no_grad()
    def apply_zeros(self, model: nn.Module) -> None:
        """Zero in a copy of the model what is zero in the trained one: for weight averages (EMA, SWA).

        Args:
            model: has the same parameters by name, itself or as its attribute ``module``
                (``torch.optim.swa_utils.AveragedModel`` and other wrappers).

        Raises:
            InputError: a parameter is missing or has another shape; nothing was changed.
        """
        names = self._zeros.names
        wrapped = getattr(model, "module", None)
        inner = wrapped.named_parameters() if isinstance(wrapped, nn.Module) else ()
        copies = {**dict(inner), **dict(model.named_parameters())}
        for name in names:
            shape = self._parameters.current[name].shape
            if name not in copies or copies[name].shape != shape:
                raise InputError(f"the copy has no parameter {name!r} of shape {tuple(shape)}; copy the trained model")
        for name in names:
            self._zeros.clear(name, copies[name])

    def state_dict(self) -> dict[str, Any]:
        """As of any torch optimizer, with one more entry; ``torch.load(..., weights_only=True)`` takes it."""
        return {**super().state_dict(), KEY: pack(self.groups, self._settings, self._run)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the state dict was taken; its phases, target and options replace those given here.

        Raises:
            StateError: damaged, or of another partition, variant or parameter list; nothing was changed.
        """
        settings, run = unpack(state_dict, self.groups, self.variant)
        try:
            super().load_state_dict({key: value for key, value in state_dict.items() if key != KEY})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(f"the state dict does not fit this optimizer's parameters: {error}") from error
        for parameter, state in self.state.items():
            state.update({k: laid_out_as(v, parameter) for k, v in state.items() if _is_like(v, parameter)})
        self._settings, self._run = settings, run
        self._update_masks()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in _OWN_STATE}}

    def _find_parameters(self) -> None:
        replaced = self._parameters.refresh()
        if replaced:
            replace_parameters(self, replaced)

    def _base_step(self) -> None:
        """The base optimizer's step on the shared groups and state, without wholly zero parameters."""
        self._base.state = self.state
        self._base.param_groups = self.param_groups
        if self._zeros.whole:
            frozen = {self._parameters.current[name] for name in self._zeros.whole}
            self._base.param_groups = [
                {**group, "params": [p for p in group["params"] if p not in frozen]} for group in self.param_groups
            ]
        self._base.step()

    def _averaged_scores(self) -> Tensor:
        """Lines 6 and 7 of Algorithm 3."""
        current = self._parameters.current
        sums = self._index.cell_sums({name: (current[name], current[name].grad) for name in self._index.names})
        self._check_sums(sums[:1], "weight")
        self._check_sums(sums[1:], "gradient")
        x_sq, x_dot_g, g_sq = self._index.group_sums(sums)
        now = self._score(x_dot_g, x_sq, g_sq, self._index.sizes)
        if now.shape != x_sq.shape or not bool(now.isfinite().all()):
            raise InputError(f"the score function must return {x_sq.numel()} finite scores, one for each group")
        omega = self._settings.score_momentum
        return omega * self._run.scores + (1 - omega) * now

    def _plan(self, scores: Tensor) -> tuple[int, ...]:
        """Line 8 of Algorithm 3: groups that reach the target, those that are chosen already among them."""
        if not self.groups or self._settings.target.num_groups == 0:
            return ()
        run = self._run
        choose = partial(self._select, scores.tolist(), self._settings.target, run.chosen)
        try:
            return tuple(agreed(choose, scores))
        except BudgetError:
            if not run.planned:
                raise
            return run.planned  # it contains the chosen ones, and reaches the target

    def _choose(self, planned: tuple[int, ...]) -> None:
        """Choose the next part of the planned groups: after the last choice, all are chosen."""
        schedule = self._settings.schedule
        period = schedule.choices.index(self._run.step) + 1
        self._run.planned = planned
        count = math.ceil(len(planned) * period / schedule.periods)
        self._run.chosen = planned[: max(count, len(self._run.chosen))]
        self._update_masks()

    def _projected_step(self) -> None:
        """Lines 12 to 16 of Algorithm 3: base step, then lambda, subgradient and half-space projection."""
        index = self._index
        current = {name: self._parameters.current[name] for name in self._active_names}
        self._check_gradients(current)
        before = {name: self._remember(name, p) for name, p in current.items()}
        self._base_step()
        sums = index.cell_sums({name: (x, current[name]) for name, x in before.items()}, difference=True)
        sums = torch.where(self._active_cells, sums, 0.0)
        x_sq, x_dot_g, g_sq = index.group_sums(sums)
        steps_left = self._settings.schedule.steps_left(self._run.step)
        lam = choose_lambda(x_dot_g, x_sq, g_sq, steps_left)
        alive = self._active & (x_sq > 0)
        rates = index.spread(torch.where(alive, lam / torch.where(alive, x_sq, 1.0).sqrt(), 0.0))
        for name, x in before.items():
            index.subtract(name, current[name], rates, x)
        trial_dot_x = index.group_sums((1 - rates) * sums[0] - sums[1])
        zero = leaves_half_space(trial_dot_x, x_sq, self._settings.epsilon)
        self._zero_groups(self._active if steps_left == 1 else self._active & zero)

    def _remember(self, name: str, parameter: Tensor) -> Tensor:
        """A copy of the parameter; its memory is used again in the next step."""
        copy = self._before.get(name)
        alike = copy is not None and is_split(copy) == is_split(parameter)
        if copy is None or not alike or copy.device != parameter.device or copy.dtype != parameter.dtype:
            copy = self._before[name] = torch.empty_like(parameter)
        return copy.copy_(parameter)

    def _check_sums(self, sums: Tensor, what: str) -> None:
        name = self._index.first_non_finite(sums)
        if name is not None:
            raise self._non_finite(what, name)

    def _check_gradients(self, parameters: Mapping[str, Tensor]) -> None:
        gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
        name = first_non_finite(gradients)
        if name is not None:
            raise self._non_finite("gradient", name)

    def _non_finite(self, what: str, name: str) -> NonFiniteError:
        return NonFiniteError(
            f"the {what} of parameter {name!r} is NaN, infinite or too large to square in step "
            f"{self._run.step + 1}; lower the learning rate, clip gradients, or skip such batches"
        )

    def _zero_groups(self, mask: Tensor) -> None:
        """Set groups to zero for good, and what the base optimizer remembers of them."""
        new = set(mask.nonzero().flatten().tolist())
        if not new:
            return
        done = new | set(self._run.zeroed)
        self._run.zeroed = tuple(i for i in self._run.chosen if i in done)
        self._update_masks()
        for name in self._zeros.whole:
            self._clear(name)

    def _keep_zeros(self) -> None:
        """Undo what the base step, weight decay, or someone else's writing did to zeroed slices."""
        for name in self._zeros.names:
            if name in self._zeros.whole:  # its state is zero already: the base optimizer does not see it
                self._parameters.current[name].zero_()
            else:
                self._clear(name)

    def _clear(self, name: str) -> None:
        parameter = self._parameters.current[name]
        self._zeros.clear(name, parameter)
        for value in self.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                self._zeros.clear(name, value)

    def _update_masks(self) -> None:
        """What follows from the chosen and the zeroed groups: cells at zero, cells on their way."""
        chosen, zeroed = torch.zeros(2, len(self.groups), dtype=torch.bool, device="cpu")
        chosen[list(self._run.chosen)] = True
        zeroed[list(self._run.zeroed)] = True
        zero_cells = self._index.union(zeroed)
        self._active = chosen & ~zeroed
        self._active_cells = self._index.union(self._active) & ~zero_cells
        self._active_names = self._index.names_of(self._active_cells)
        self._before = {name: copy for name, copy in self._before.items() if name in self._active_names}
        self._zeros: ZeroSet = self._index.zero_set(zero_cells)
        self._num_zero_params = self._index.num_entries(zero_cells)


def _is_like(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape


def _check_range(name: str, value: float, inside: bool, interval: str) -> None:
    if not inside:
        raise InputError(f"{name} is {value}; it must lie in {interval}")
