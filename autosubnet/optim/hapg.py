"""Hierarchical accelerated proximal gradient, HAPG and AdamHAPG (SparseNAS, Eq. 6 to 10).

With Prox the operator of Eq. 5, t = 1, 2, ... and v_0 = 0:

    z_t = A_{t-1} - eta_t g_{t-1}                       (6)
    v_t = Prox(z_t) - A_{t-1} + u_{t-1} v_{t-1}         (7)
    A_t = Prox(z_t) + u_t v_t,   u_t = (t-2) / (t+1)    (8)

Where the paper is silent: u_1 would be -1/2 and is taken as 0, as u_2 is. Entries in no group are in no penalty: Eq. 2
has every weight in a group, and its own pruning of whole networks has biases. Prox leaves them, so that they take the
plain accelerated step.

v_t is the difference of successive Prox(z_t), so this is FISTA, and the A_t are the points where gradients are taken.
Momentum makes zeros of A_t non-zero; the zeros are those of Prox(z_t), which ``derive()`` writes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, overload

import torch
from torch import Tensor, nn

from autosubnet.errors import AutoSubnetWarning, GroupError, InputError, NonFiniteError, StateError
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.optim.entry_groups import EntryGroups, clear
from autosubnet.optim.fingerprint import check_partition, digest
from autosubnet.optim.group_index import check_slice, first_non_finite
from autosubnet.optim.parameters import NamedParameters, replace_parameters
from autosubnet.optim.prox import check_balance, check_strength
from autosubnet.optim.sharding import is_split

KEY = "hapg"
_OWN_STATE = ("_parameters", "_groups", "_entries")  # what torch's __getstate__ would leave out of a copy


class HAPG(torch.optim.Optimizer):
    """Accelerated proximal gradient steps under the sparse group lasso (SparseNAS, Eq. 6 to 10).

    Used like any torch optimizer: schedulers of ``lr``, closures and state dicts work as there. A parameter in a group
    that has no gradient has a gradient of zero: its penalty goes on. Others without a gradient are left alone.
    Parameters in half precision are stepped in single precision, in which their state is kept.

    Args:
        model: holds the parameters; those that are replaced in it later are found again by name.
        groups: disjoint groups of entries, for instance the incoming weights of each node; lists of slices that name
            the model's parameters.
        params: what to optimize, as for any torch optimizer; default: the parameters that the groups use (the paper
            trains the others, w, with an optimizer of their own). All parameters of a group must lie in one of torch's
            parameter groups, each of which may have its own ``lr``, ``lam`` and ``alpha``.
        lr: eta_t, at least 0.
        lam: strength of the penalty (lambda of Eq. 2), at least 0; :class:`LambdaPath` lets it grow.
        alpha: its balance between single entries (1) and whole groups (0).
        warmup_steps: number of first steps without a penalty, at least 0; ``lam`` counts from the next one on.

    Raises:
        InputError: an argument out of range, or parameters that do not fit.
        GroupError: groups that do not fit the model, or share an entry.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[Group],
        *,
        params: Any = None,
        lr: float = 0.025,
        lam: float = 0.01,
        alpha: float = 0.5,
        warmup_steps: int = 0,
    ) -> None:
        self._start(model, groups, params, {"lr": lr, "lam": lam, "alpha": alpha, "warmup_steps": warmup_steps})

    def _start(self, model: nn.Module, groups: Sequence[Group], params: Any, options: dict[str, Any]) -> None:
        self._parameters = NamedParameters(model)
        self._groups = tuple(groups)
        if len({group.name for group in self._groups}) < len(self._groups):
            raise GroupError("two groups have one name; derive() could not tell them apart")
        self._entries: list[EntryGroups] = []
        current = self._parameters.current
        used = EntryGroups(self._groups, self._shapes()).names
        for name in used:
            _check_penalised(name, current[name])
        if params is None:
            if not used:
                raise InputError("there are no groups, so nothing to optimize; pass groups, or params")
            params = [current[name] for name in used]
        try:
            super().__init__(params, options)
        except (TypeError, ValueError) as error:
            raise InputError(f"params do not fit: {error}") from error
        covered = {name for entries in self._entries for name in entries.names}
        for name in used:
            if name not in covered:
                raise InputError(f"parameter {name!r} belongs to a group but is not in params; pass it too")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As of any torch optimizer.

        Raises:
            InputError: an option out of range, or a group that has some parameters in it and others not; nothing was
                changed.
        """
        super().add_param_group(param_group)
        try:
            self._check_options(self.param_groups[-1])
            self._entries.append(self._entries_of(self.param_groups[-1]["params"]))
        except InputError:
            self.param_groups.pop()
            raise

    def _entries_of(self, params: Sequence[Tensor]) -> EntryGroups:
        held = set(params)
        names = {name for name, p in self._parameters.current.items() if p in held}
        mine = []
        for group in self._groups:
            inside = {piece.name in names for piece in group.slices}
            if len(inside) > 1:
                raise InputError(f"group {group.name!r} has parameters in two of torch's parameter groups, or outside")
            if inside == {True}:
                mine.append(group)
        return EntryGroups(mine, self._shapes())

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of entries."""
        return self._groups

    @property
    def warming_up(self) -> bool:
        """Whether steps were taken, and all of them without a penalty, since the warm-up goes on."""
        taken = [
            (self.state[p]["step"], group["warmup_steps"])
            for group in self.param_groups
            for p in group["params"]
            if p in self.state
        ]
        return bool(taken) and all(step <= warmup for step, warmup in taken)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of Eq. 6 to 8.

        Args:
            closure: re-evaluates the model and returns the loss.

        Returns:
            The closure's loss, if there is a closure.

        Raises:
            InputError: an option that was set since is out of range; nothing was changed.
            NonFiniteError: a NaN or infinite weight or gradient; raised before anything was changed.
            StateError: a parameter was taken out of the model.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            self._find_parameters()
            for group in self.param_groups:
                self._check_options(group)
            self._check_finite()
            for group, entries in zip(self.param_groups, self._entries, strict=True):
                self._step_group(group, entries)
        return loss

    def proximal(self) -> dict[str, Tensor]:
        """Return Prox(z_t) of each penalised parameter by name: what :meth:`derive` writes after the last step."""
        current = self._parameters.current
        names = (name for entries in self._entries for name in entries.names)
        found = {name: (p := current[name], self.state.get(p, {}).get("prox", p)) for name in names}
        return {name: prox.detach().clone().to(p.dtype) for name, (p, prox) in found.items()}

    @torch.no_grad()
    def derive(self, outgoing: Mapping[str, Sequence[ParameterSlice]] | None = None) -> tuple[str, ...]:
        """Write Prox(z_t), which holds the exact zeros, into the parameters; before the network is constructed.

        The momentum becomes zero, so that going on from here is a restart. During the warm-up there are no zeros of the
        penalty's, and a warning says so.

        Args:
            outgoing: for a group by name the slices that read its node: its outgoing weights. Where a group is zero
                they become zero too, and so on for groups that are zero thereby. Slices of this optimizer's parameters.

        Returns:
            Names of the groups that are zero.

        Raises:
            GroupError: a name or slice in ``outgoing`` that does not exist; nothing was changed.
            StateError: a parameter is not what the last step left, as after loading other weights into the model, to
                which the zeros of that step do not belong; nothing was changed.
        """
        self._find_parameters()
        outgoing = outgoing or {}
        self._check_outgoing(outgoing)
        self._check_untouched()
        if self.warming_up:
            warnings.warn(
                "derive() finds no zeros of the penalty's: all steps were among the warmup_steps, which have none; "
                "take more steps, or pass a smaller warmup_steps",
                AutoSubnetWarning,
                stacklevel=3,  # 2 is no_grad's
            )
        for p, state in self.state.items():
            p.copy_(state["prox"])
            state["v"].zero_()
        zero: set[str] = set()
        while new := self._zero_groups() - zero:
            zero |= new
            for piece in (piece for name in new for piece in outgoing.get(name, ())):
                p = self._parameters.current[piece.name]
                for tensor in (p, self.state[p]["prox"]) if p in self.state else (p,):
                    clear(tensor, piece)
        return tuple(group.name for group in self._groups if group.name in zero)

    def state_dict(self) -> dict[str, Any]:
        """As of any torch optimizer, with one more entry; ``torch.load(..., weights_only=True)`` takes it."""
        own = {
            "optimizer": type(self).__name__,
            "group_names": [group.name for group in self._groups],
            "group_slices": [digest(group) for group in self._groups],
        }
        return {**super().state_dict(), KEY: own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the state dict was taken, bit for bit; its options replace those given here.

        Raises:
            StateError: damaged, or of other groups, another optimizer or parameter list; nothing was changed.
        """
        own = state_dict.get(KEY) if isinstance(state_dict, Mapping) else None
        if not isinstance(own, dict):
            raise StateError(f"the state dict has no entry {KEY!r}: it was not written by HAPG.state_dict()")
        try:
            if own["optimizer"] != type(self).__name__:
                raise StateError(f"the state dict is of {own['optimizer']}, this optimizer is {type(self).__name__}")
            check_partition(own["group_names"], own["group_slices"], self._groups)
            self._check_state(state_dict)
            # A copy: torch would go on with the very tensors, and with it the optimizer that they came from.
            copied = deepcopy({key: value for key, value in state_dict.items() if key != KEY})
            super().load_state_dict(copied)
            for p, state in self._with_state(copied):
                for key, value in state.items():
                    if isinstance(value, Tensor):  # torch has taken it to the parameter's type
                        self.state[p][key] = value.to(p.device, wide(p).dtype)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, InputError) as error:
            raise StateError(f"the state dict is damaged, or of other parameters: {error!r}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in _OWN_STATE}}

    def _check_options(self, options: Mapping[str, Any]) -> None:
        if not 0 <= float(options["lr"]) < math.inf:
            raise InputError(f"lr is {options['lr']}; it must be finite and at least 0")
        check_strength(options["lam"])
        check_balance(options["alpha"])
        warmup = options["warmup_steps"]
        if isinstance(warmup, bool) or not isinstance(warmup, int) or warmup < 0:
            raise InputError(f"warmup_steps is {warmup!r}; it must be a whole number of at least 0")

    def _descend(
        self, p: Tensor, gradient: Tensor, state: dict[str, Any], group: Mapping[str, Any]
    ) -> tuple[Tensor, float | Tensor]:
        """Return z_t of Eq. 6, and the step size: one number, or one for each entry; p and gradient are wide."""
        step = float(group["lr"])
        return p - step * gradient, step

    def _initial_state(self, p: Tensor) -> dict[str, Any]:
        return {"step": 0, "v": torch.zeros_like(wide(p)), "prox": wide(p).clone()}

    def _step_group(self, group: Mapping[str, Any], entries: EntryGroups) -> None:
        names = {self._parameters.current[name]: name for name in entries.names}
        moving = [p for p in group["params"] if p.grad is not None or p in names]
        z: dict[Tensor, Tensor] = {}
        steps: dict[Tensor, float | Tensor] = {}
        for p in moving:
            state = self.state[p]
            if not state:
                state.update(self._initial_state(p))
            state["step"] += 1
            z[p], steps[p] = self._descend(wide(p), wide(_dense_gradient(p)), state, group)
        proximal = entries.prox(
            {name: z[p] for p, name in names.items()},
            {name: steps[p] for p, name in names.items()},
            lam=0.0 if any(self.state[p]["step"] <= group["warmup_steps"] for p in names) else group["lam"],
            alpha=group["alpha"],
            metric=group.get("metric", "median"),  # HAPG has one step size, for which all metrics are one
        )
        for p in moving:
            state, x = self.state[p], proximal[names[p]] if p in names else z[p]
            t = state["step"]
            state["v"] = x - wide(p) + _momentum(t - 1) * state["v"]
            state["prox"] = x
            p.copy_(x + _momentum(t) * state["v"])

    def _shapes(self) -> dict[str, torch.Size]:
        return {name: p.shape for name, p in self._parameters.current.items()}

    def _find_parameters(self) -> None:
        replaced = self._parameters.refresh()
        if replaced:
            replace_parameters(self, replaced)
            for state in (self.state[p] for p in replaced.values() if p in self.state):
                state.update({key: wide(value) for key, value in state.items() if isinstance(value, Tensor)})

    def _named(self) -> dict[Tensor, str]:
        """Return all parameters, each with what a message calls it."""
        names = {p: repr(name) for name, p in self._parameters.current.items()}
        all_ = enumerate(p for group in self.param_groups for p in group["params"])
        return {p: names.get(p, f"number {number} of params") for number, p in all_}

    def _check_untouched(self) -> None:
        """Refuse parameters that are not A_t of Eq. 8 any more, which the state tells to the last bit."""
        names = self._named()
        for p, state in self.state.items():
            left = state["prox"] + _momentum(state["step"]) * state["v"]
            if not torch.equal(left.to(p), p):
                raise StateError(
                    f"parameter {names[p]} is no longer what the last step left: weights were loaded, averaged or set "
                    f"since, to which the zeros of that step do not belong; derive() ahead of that, load the state of "
                    f"the optimizer that was saved with them, or take a step from them"
                )

    def _check_finite(self) -> None:
        tensors = {}
        for p, name in self._named().items():
            tensors[f"weight of parameter {name}"] = p
            if p.grad is not None:
                tensors[f"gradient of parameter {name}"] = p.grad
        found = first_non_finite(tensors)
        if found is not None:
            raise NonFiniteError(
                f"the {found} is NaN, infinite or too large to sum; nothing was changed; lower the learning rate, clip "
                f"gradients, or skip such batches"
            )

    def _zero_groups(self) -> set[str]:
        current = self._parameters.current
        return {name for entries in self._entries for name in entries.zero_groups(current)}

    def _check_outgoing(self, outgoing: Mapping[str, Sequence[ParameterSlice]]) -> None:
        by_name = {group.name: group for group in self._groups}
        held = {p for group in self.param_groups for p in group["params"]}
        for name, pieces in outgoing.items():
            if name not in by_name:
                raise GroupError(f"outgoing names a group {name!r} that does not exist")
            for piece in pieces:
                check_slice(by_name[name], piece, self._shapes())
                if self._parameters.current[piece.name] not in held:
                    raise GroupError(f"outgoing of {name!r} holds {piece.name!r}, which this optimizer does not train")

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        """Raise any error if the state is not one of these parameters."""
        for group in state_dict["param_groups"]:
            self._check_options(group)
        for number, (p, state) in enumerate(self._with_state(state_dict)):
            for key, value in self._initial_state(p).items() if state else ():
                if isinstance(value, Tensor) and state[key].shape != value.shape:
                    raise ValueError(f"{key!r} of parameter {number} has another shape")
                state[key]

    def _with_state(self, state_dict: Mapping[str, Any]) -> list[tuple[Tensor, Mapping[str, Any]]]:
        """Return each parameter with what a state dict holds of it."""
        ours = [p for group in self.param_groups for p in group["params"]]
        theirs = [number for group in state_dict["param_groups"] for number in group["params"]]
        return [(p, state_dict["state"].get(number, {})) for p, number in zip(ours, theirs, strict=True)]


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor in single precision at least: half precision holds no eps of 1e-8 and few squared gradients."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _momentum(t: int) -> float:
    """u_t of Eq. 8; what would be negative is 0."""
    return max(0.0, (t - 2) / (t + 1))


def _dense_gradient(p: Tensor) -> Tensor:
    if p.grad is None:
        return torch.zeros_like(p)
    return p.grad.to_dense() if p.grad.is_sparse else p.grad


def _check_penalised(name: str, p: Tensor) -> None:
    if not p.is_floating_point() or not p.requires_grad or is_split(p):
        raise GroupError(
            f"parameter {name!r} belongs to a group, but is not floating point, is frozen, or is split over processes"
        )
