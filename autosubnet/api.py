"""The public face: one object over the stages capture -> graph -> optimizer -> subnet."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import fx, nn

from autosubnet.capture import Inputs, Trace, capture
from autosubnet.capture.flops import count_flops
from autosubnet.compiler import example_of, warn_of_constants
from autosubnet.errors import GroupError, InputError
from autosubnet.graph.dependency import DependencyGraph
from autosubnet.graph.explain import explain
from autosubnet.graph.groups import Group, Refusal
from autosubnet.graph.partition import build_partition
from autosubnet.graph.segments import build_dependency_graph
from autosubnet.graph.validity import Anything, Validity, required
from autosubnet.graph.view import GraphView
from autosubnet.optim import H2SPG, HAPG, AdamHAPG, carry_optimizer
from autosubnet.paths import notes_of, with_path_weights
from autosubnet.selection import Latency, Selection
from autosubnet.subnet import Report, construct
from autosubnet.subnet.dead import removed_with
from autosubnet.subnet.node_costs import flops_by_node

if TYPE_CHECKING:
    from autosubnet.viz import Explorer, Live, Picture

WARMUP_STEPS = 100  # of the optimizers of paths


class AutoSubnet:
    """What can be removed from a model, and the way from there to the smaller one.

    Args:
        model: any module, in any mode, dtype and on any device. It is not changed; training it trains what
            is analysed here.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments that the model
            accepts. Without them they are taken from what the model says of itself, or guessed.
        keep: globs of module or parameter names that must never be removed.
        required_inputs: names of inputs that every output must keep depending on; by default every
            floating-point input, or the first one.
        architecture_weights: whether every path into every joint gets a trainable scalar, which makes paths without
            variables removable too: ``model`` is then a network that computes the same, shares everything with the
            given one, and has these weights besides (SparseNAS, Eq. 1).

    Raises:
        InputError: no example inputs could be guessed, a required input does not exist, or architecture weights were
            asked for and no paths meet.
        CaptureError: the model cannot be turned into a graph; the message names the place.
        GroupError: a glob of ``keep`` matches nothing.

    Attributes:
        model: the one to train: the user's model, or the one with architecture weights.
        paths: for each joint the group of its architecture weights, if there are any.
        graph: vertices and segments (OTOv3, Algorithm 2).
        groups: the removable structures (GeZIGs), each proved zero-invariant.
        refused: segments ahead of joints that are no groups, each with its reason.
        complement: names of the trainable parameters no part of which is in a group (the paper's G^C).
        notes: where the example inputs come from, modules that were not followed, what the graph holds fixed, values
            that the model's code read off its tensors, with their source lines, and architecture weights whose penalty
            can be dodged.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any = None,
        *,
        keep: Sequence[str] = (),
        required_inputs: Sequence[str] | None = None,
        architecture_weights: bool = False,
    ) -> None:
        inputs, origin = example_of(model, example_inputs)
        self.model = model
        self.paths: tuple[Group, ...] = ()
        self._trace: Trace = capture(model, inputs)
        seen = self._trace  # what was noted of the model itself
        if architecture_weights:
            self.model, self.paths = with_path_weights(self._trace)
            self._trace = capture(self.model, inputs)
        self._view = GraphView(self._trace)
        self._required = required_inputs
        required(self._view, required_inputs)
        self.graph: DependencyGraph = build_dependency_graph(self._view)
        partition = build_partition(self._view, self.graph, keep)
        self.groups: tuple[Group, ...] = partition.groups
        self.refused: tuple[Refusal, ...] = partition.refused
        self.complement: tuple[str, ...] = partition.complement
        self.notes: tuple[str, ...] = (f"example inputs: {origin}", *seen.notes, *notes_of(self._view, self.paths))
        self._optimizer: H2SPG | None = None
        self._live: Live | None = None

    def __reduce__(self) -> NoReturn:
        raise InputError("an AutoSubnet is neither copied nor pickled: copy its model and call AutoSubnet on the copy")

    @property
    def example_inputs(self) -> tuple[Any, ...]:
        """Positional example inputs."""
        return self._trace.args

    # ------------------------------------------------------------------ groups

    def is_valid(self, groups: Iterable[Group | str]) -> bool:
        """Whether these groups may be removed together: every output stays connected to its inputs.

        Raises:
            GroupError: a group does not exist.
        """
        validity = self._validity()
        return all(validity.try_add(group) for group in self._resolve(groups))

    def explain(self, group: Group | str | Refusal) -> str:
        """Return, for a person, what a group holds, why its output is zero, and what dies with it.

        Raises:
            GroupError: there is no such group, and no segment of that name was refused.
        """
        name = group if isinstance(group, str) else group.name if isinstance(group, Group) else group.segment
        refusal = next((each for each in self.refused if each.segment == name), None)
        if refusal is not None:
            return f"{refusal.segment} is not a group: {refusal.reason}"
        return explain(self._view, self.graph, self._resolve([name])[0], self._score(name))

    def random_set_zero_groups(self, target_group_sparsity: float = 0.5, seed: int = 0) -> tuple[Group, ...]:
        """Set a random valid set of groups to zero and return it.

        Args:
            target_group_sparsity: share of the groups, in [0, 1]; fewer are taken where validity forbids more.
            seed: of the choice.

        Raises:
            InputError: the share is not in [0, 1].
        """
        if not isinstance(target_group_sparsity, (int, float)) or not 0 <= target_group_sparsity <= 1:
            raise InputError(f"target_group_sparsity is {target_group_sparsity}; it is a share, in [0, 1]")
        order = random.Random(seed).sample(self.groups, len(self.groups))
        count = math.floor(target_group_sparsity * len(self.groups) + 1e-9)  # 0.29 * 100 is 29
        validity = self._validity()
        chosen: list[Group] = []
        for group in order:
            if len(chosen) < count and validity.try_add(group):
                chosen.append(group)
        self._set_zero(chosen)
        return tuple(chosen)

    @torch.no_grad()
    def _set_zero(self, groups: Iterable[Group]) -> None:
        parameters = dict(self.model.named_parameters())
        for each in (each for group in groups for each in group.slices):
            parameter = parameters[each.name]
            if each.dim is None or each.indices is None:
                parameter.zero_()
            else:
                parameter.index_fill_(each.dim, torch.tensor(each.indices, device=parameter.device), 0)

    def _resolve(self, groups: Iterable[Group | str]) -> list[Group]:
        by_name = {group.name: group for group in self.groups}
        names = [group.name if isinstance(group, Group) else group for group in groups]
        for name in names:
            if name not in by_name:
                raise GroupError(f"there is no group {name!r}; the groups are {', '.join(by_name) or 'none'}")
        return [by_name[name] for name in names]

    def _validity(self) -> Validity:
        return Validity(self._view, self._required)

    def _score(self, name: str) -> float | None:
        if self._optimizer is None:
            return None
        position = [group.name for group in self.groups].index(name)
        return float(self._optimizer.scores[position])

    # ------------------------------------------------------------------ training

    def h2spg(
        self,
        lr: float | None = None,
        *,
        variant: str = "sgd",
        total_steps: int | None = None,
        warmup_steps: int | None = None,
        projection_steps: int | None = None,
        selection_periods: int = 1,
        target_group_sparsity: float | None = None,
        target_num_params: float | None = None,
        target_flops: float | None = None,
        target_latency: float | None = None,
        latency: Latency = "eager",
        model: nn.Module | None = None,
        **options: Any,
    ) -> H2SPG:
        """Return the H2SPG optimizer over all parameters of the model (OTOv3, Algorithm 3).

        Args:
            lr: learning rate; the variant's usual one by default.
            variant: the base optimizer: ``"sgd"``, ``"adam"`` or ``"adamw"``.
            total_steps: optimizer steps of the whole training.
            warmup_steps: steps that only score; a quarter of ``total_steps`` by default.
            projection_steps: steps in which the chosen groups go to zero; a quarter of ``total_steps`` by default.
            selection_periods: parts of these steps, each with a choice of its own; with one, all groups are chosen when
                the warm-up ends.
            target_group_sparsity: share of the groups that are chosen, rounded down, in [0, 1]; a half where no other
                target is given.
            target_num_params: scalar parameters that the subnet may have, instead.
            target_flops: floating-point operations for one example that it may take (two a multiply-add).
            target_latency: seconds that it may take on the example inputs. Budgets count all that dies with the groups.
            latency: how that is measured: ``"eager"`` for PyTorch on the device of the model, ``"onnx"`` for ONNX
                Runtime on the CPU, or a function of your own from a network to what it costs.
            model: what is trained, where that is not the model that was given but a copy of it with parameters of the
                same names, such as one that ``fully_shard`` has split; what it has learned is loaded back afterwards.
            **options: ``params``, ``score``, ``score_momentum`` and ``epsilon`` as in
                :class:`autosubnet.optim.H2SPG`, and those of the base optimizer (``momentum``, ``weight_decay``, ...).

        Raises:
            InputError: an option is out of range.
            GroupError: ``model`` has other parameters.
            BudgetError: no set of groups was found that reaches the target and can be removed together.
        """
        self._optimizer = H2SPG(
            self.model if model is None else model,
            self.groups,
            Selection(self._view, self.groups, self._validity, latency),
            lr=lr,
            variant=variant,
            total_steps=total_steps,
            warmup_steps=warmup_steps,
            projection_steps=projection_steps,
            selection_periods=selection_periods,
            target_group_sparsity=target_group_sparsity,
            target_num_params=target_num_params,
            target_flops=target_flops,
            target_latency=target_latency,
            **options,
        )
        return self._optimizer

    def dhspg(
        self,
        lr: float | None = None,
        *,
        latency: Latency = "eager",
        model: nn.Module | None = None,
        **options: Any,
    ) -> H2SPG:
        """Return H2SPG without the hierarchy, the baseline of OTOv3's ablation (Section 3.2; DHSPG of OTOv2).

        The most redundant groups are chosen whether or not they can go together, so that what is left may ignore its
        inputs. The steps are H2SPG's.

        Args:
            lr: as for :meth:`h2spg`.
            latency: the same.
            model: the same.
            **options: the same.

        Raises:
            InputError: an option is out of range.
            GroupError: ``model`` has other parameters.
            BudgetError: all groups together do not reach the target.
        """
        select = Selection(self._view, self.groups, lambda: Anything(self._view, self._required), latency)
        self._optimizer = H2SPG(self.model if model is None else model, self.groups, select, lr=lr, **options)
        return self._optimizer

    def hapg(self, *, warmup_steps: int = WARMUP_STEPS, **options: Any) -> HAPG:
        """Return an optimizer that makes architecture weights exactly zero (SparseNAS, Eq. 6 to 8).

        It trains the weights of the paths alone; all else has an optimizer of its own. A joint's paths are a group.
        ``derive()`` at the end writes the zeros, which ``construct_subnet`` then compiles away.

        Args:
            warmup_steps: first steps without a penalty, as in :class:`autosubnet.optim.HAPG`. Branches that are zero at
                birth, or nearly so (a last norm of zeros, a LayerScale of 1e-6), are as large as others after some tens
                of steps; a penalty from the first step on would judge them before. Runs of less than some hundred steps
                want less of it.
            **options: ``lr``, ``lam`` and ``alpha`` of :class:`autosubnet.optim.HAPG`.

        Raises:
            InputError: there are no architecture weights, or an option is out of range.
        """
        return HAPG(self.model, self._weighted_paths(), warmup_steps=warmup_steps, **options)

    def adamhapg(self, *, warmup_steps: int = WARMUP_STEPS, **options: Any) -> AdamHAPG:
        """Return :meth:`hapg` with Adam's step sizes (SparseNAS).

        Args:
            warmup_steps: as for :meth:`hapg`, and of more weight here: the threshold is divided by the size of a path's
                gradients, so that a path without any would go, with the others of its joint, in the very first step.
            **options: those of :class:`autosubnet.optim.AdamHAPG`.

        Raises:
            InputError: there are no architecture weights, or an option is out of range.
        """
        return AdamHAPG(self.model, self._weighted_paths(), warmup_steps=warmup_steps, **options)

    def _weighted_paths(self) -> tuple[Group, ...]:
        if not self.paths:
            raise InputError("there are no architecture weights; ask for AutoSubnet(..., architecture_weights=True)")
        return self.paths

    def carry_optimizer(self, optimizer: torch.optim.Optimizer, subnet: fx.GraphModule) -> torch.optim.Optimizer:
        """Return a plain optimizer for the subnet with the momenta of its surviving entries.

        Args:
            optimizer: that of the model: H2SPG, SGD, Adam or AdamW.
            subnet: what :meth:`construct_subnet` returned.

        Raises:
            InputError: ``subnet`` is something else, or the optimizer of another kind.
        """
        report = getattr(subnet, "meta", {}).get("autosubnet")
        if not isinstance(report, Report):
            raise InputError(f"subnet is a {type(subnet).__name__}; pass what construct_subnet() returned")
        named = dict(self.model.named_parameters(remove_duplicate=False))
        return carry_optimizer(optimizer, named, subnet, report.kept)

    # ------------------------------------------------------------------ construction

    def construct_subnet(self, out_dir: str | Path | None = None, *, verify: bool = True) -> fx.GraphModule:
        """Return the smaller network that returns the same as the model does now.

        Args:
            out_dir: a folder to save it in as well (see :func:`autosubnet.save`).
            verify: whether to run both and compare.

        Raises:
            NonFiniteError: a weight is NaN or infinite.
            VerificationError: the networks differ; nothing is returned.
        """
        subnet = construct(self._trace, check=verify)
        warn_of_constants(subnet)
        if out_dir is not None:
            from autosubnet.export import save

            save(subnet, out_dir)
        return subnet

    def compute_num_params(self) -> int:
        """Return the number of scalar parameters of the model as it stands."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def compute_costs(self, without: Iterable[Group | str] = ()) -> dict[str, float]:
        """Return ``num_params`` and ``flops`` of what would be left without some groups and all that dies with them.

        Raises:
            GroupError: a group does not exist.
        """
        return (
            Selection(self._view, self.groups, self._validity)
            .costs(("num_params", "flops"))
            .without(self._resolve(without))
        )

    def compute_vertex_costs(self) -> dict[str, dict[str, float]]:
        """Return ``num_params`` and ``flops`` of every vertex, by its name, for one example in eval mode.

        A parameter that several vertices use counts for each by its share; FLOPs as in :meth:`compute_flops`.
        """
        parameters, flops = dict(self.model.named_parameters()), flops_by_node(self._view)
        users = Counter(name for vertex in self.graph.vertices for name in vertex.variables)
        return {
            vertex.name: {
                "num_params": sum(parameters[name].numel() / users[name] for name in vertex.variables),
                "flops": flops.get(vertex.name, 0.0),
            }
            for vertex in self.graph.vertices
        }

    def compute_flops(self, module: nn.Module | None = None) -> int:
        """Return the floating-point operations for one example (two a multiply-add), in eval mode.

        Counted by ``torch.utils.flop_counter``: convolutions, matrix products and attention.

        Args:
            module: what takes the same inputs as the model, such as a subnet; by default the model as it stands.
        """
        return count_flops(self.model if module is None else module, Inputs(self._trace.args, self._trace.kwargs))

    # ------------------------------------------------------------------ pictures

    def visualize(self, view: str = "segments") -> Picture:
        """Return a picture that shows itself in Jupyter and saves itself as SVG, PNG or DOT.

        With ``anywidget`` installed Jupyter shows the graph to zoom, search, collapse, colour and click at; where no
        widget can be shown, and in files, it is the picture of the view.

        Args:
            view: ``"trace"`` for vertices by kind, ``"segments"`` for segments with their groups,
                ``"groups"`` for the same with scores and what was chosen, ``"subnet"`` for what is left.

        Raises:
            InputError: there is no such view.
        """
        from autosubnet import viz

        return viz.InteractivePicture(self._draw(view).source, self._explorer())

    def live(self, optimizer: H2SPG) -> Live:
        """Return a view of the search for one's own training loop: call its ``update()`` each so many steps.

        What it records is also the score over time that :meth:`visualize` shows of a group.

        Args:
            optimizer: what :meth:`h2spg` or :meth:`dhspg` returned.

        Raises:
            InputError: ``optimizer`` is something else.
        """
        from autosubnet.viz import Live

        if optimizer is not self._optimizer or self._optimizer is None:
            raise InputError("the live view shows the search of this model: pass what its h2spg() returned last")
        self._live = Live(optimizer)
        return self._live

    def _explorer(self) -> Explorer:
        from autosubnet.viz import Explorer

        return Explorer(
            self.graph,
            self.groups,
            explain=self.explain,
            dies=lambda groups: removed_with(self._view, groups),
            chosen=lambda: self._resolve(self._chosen()),
            scores=lambda: self._scores() or {},
            history=lambda: [] if self._live is None else self._live.history,
        )

    def _draw(self, view: str) -> Picture:
        from autosubnet import viz

        if view == "trace":
            return viz.draw_trace(self.graph)
        if view == "segments":
            return viz.draw_segments(self.graph, self.groups, refused=self.refused)
        if view == "groups":
            return viz.draw_segments(
                self.graph, self.groups, refused=self.refused, chosen=self._chosen(), scores=self._scores()
            )
        if view == "subnet":
            report: Report = construct(self._trace, check=False).meta["autosubnet"]
            return viz.draw_trace(self.graph, removed=frozenset(report.removed_vertices))
        raise InputError(f"view is {view!r}; choose 'trace', 'segments', 'groups' or 'subnet'")

    def _chosen(self) -> tuple[str, ...]:
        """Groups that are zero now."""
        parameters = dict(self.model.named_parameters())
        return tuple(group.name for group in self.groups if all(_is_zero(parameters, each) for each in group.slices))

    def _scores(self) -> Mapping[str, float] | None:
        if self._optimizer is None:
            return None
        return {group.name: float(score) for group, score in zip(self.groups, self._optimizer.scores, strict=True)}

    @cached_property
    def _kinds(self) -> dict[str, int]:
        kinds = [str(vertex.kind) for vertex in self.graph.vertices]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}

    def __repr__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self._kinds.items())
        nothing = "" if self.groups else "; no operator can be removed from this model"
        return (
            f"AutoSubnet({type(self.model).__name__}: {kinds}; {len(self.graph.segments)} segments, "
            f"{len(self.groups)} groups, {len(self.refused)} refused{nothing})"
        )


def _is_zero(parameters: Mapping[str, torch.Tensor], each: Any) -> bool:
    parameter = parameters[each.name]
    if each.indices is not None:
        parameter = parameter.index_select(each.dim, torch.tensor(each.indices, device=parameter.device))
    return not bool(parameter.any())
