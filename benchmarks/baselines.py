"""What H2SPG is compared with: short rules of our own on the same groups, and a peer's pruner as its users run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from autosubnet.graph.groups import Group
from autosubnet.optim.saliency import magnitude_score


class GroupSGD(torch.optim.SGD):
    """SGD that knows the groups of a partition; where slices overlap, each group is looked at by itself.

    Args:
        model: what is trained.
        groups: the groups.
        **options: of SGD.
    """

    def __init__(self, model: nn.Module, groups: Sequence[Group], **options: Any) -> None:
        super().__init__(model.parameters(), **options)
        named = dict(model.named_parameters())
        self.parts = [[self._part(named, each) for each in group.slices] for group in groups]
        self.sizes = torch.tensor([float(group.num_params) for group in groups], dtype=torch.float64)

    @staticmethod
    def _part(named: dict[str, nn.Parameter], each: Any) -> tuple[nn.Parameter, Tensor]:
        parameter = named[each.name]
        mask = torch.ones_like(parameter)
        if each.indices is not None:
            mask = torch.zeros_like(parameter).index_fill_(each.dim, torch.tensor(each.indices), 1.0)
        return parameter, mask

    @property
    def lr(self) -> float:
        return float(self.param_groups[0]["lr"])

    @torch.no_grad()
    def vectors(self) -> list[Tensor]:
        """The entries of each group in one vector."""
        return [torch.cat([p[mask.bool()] for p, mask in parts]) for parts in self.parts]

    def norms(self) -> Tensor:
        return torch.stack([vector.norm() for vector in self.vectors()]).double()

    @torch.no_grad()
    def scale(self, position: int, factor: float) -> None:
        for parameter, mask in self.parts[position]:
            parameter.mul_(1 - mask + mask * factor)

    def zero(self) -> list[int]:
        """Positions of the groups that are zero."""
        return self.norms().eq(0).nonzero().flatten().tolist()

    def finish(self) -> None:
        """What is done when the training is over."""


class Hesso(GroupSGD):
    """The training rule of HESSO on our groups, re-implemented: chosen groups are scaled down step by step.

    HESSO (the successor of DHSPG in ``only-train-once``) chooses redundant groups and multiplies them by
    (T - t - 1) / (T - t) in step t of T, so that they are zero in the end; everything else takes SGD's steps. There is
    no half-space projection and no coefficient to tune. Its own release needs CUDA; what it groups are channels, where
    ours are operators that can go together.

    Args:
        select: takes scores; returns positions of groups that reach the target and can go together.
        warmup: steps before the choice.
        pruning: steps in which the chosen groups go to zero.
    """

    def __init__(
        self, model: nn.Module, groups: Sequence[Group], select: Callable[[list[float]], list[int]],
        warmup: int, pruning: int, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(model, groups, **options)
        self.select, self.warmup, self.pruning = select, warmup, pruning
        self.count, self.chosen = 0, list[int]()

    def step(self, closure: Any = None) -> Any:
        if self.count == self.warmup:
            squares = self.norms().square()
            self.chosen = self.select(magnitude_score(squares, squares, squares, self.sizes).tolist())
        result = super().step(closure)
        left = max(0, self.warmup + self.pruning - self.count)
        for position in self.chosen:
            self.scale(position, (left - 1) / left if left else 0.0)
        self.count += 1
        return result


class ProxSG(GroupSGD):
    """Proximal stochastic gradient for the group lasso: every group shrinks, and is zero where its norm is used up.

    Args:
        lam: strength of the penalty lam * sqrt(size) * norm.
    """

    def __init__(self, model: nn.Module, groups: Sequence[Group], lam: float, **options: Any) -> None:
        super().__init__(model, groups, **options)
        self.lam = lam

    def step(self, closure: Any = None) -> Any:
        result = super().step(closure)
        for position, norm in enumerate(self.norms().tolist()):
            used = self.lr * self.lam * float(self.sizes[position]) ** 0.5
            self.scale(position, max(0.0, 1 - used / norm) if norm else 0.0)
        return result


class HSPG(GroupSGD):
    """Half-space stochastic projected gradient (Chen et al., 2021): no target, no hierarchy, every group may go.

    After ``warmup`` steps of the proximal kind, a group is projected onto zero where its trial step leaves the
    half-space <x_trial, x> >= epsilon ||x||^2; what is zero stays.

    Args:
        lam: strength of the penalty lam * sqrt(size) * norm.
        warmup: steps before the first projection.
        epsilon: of the half-space.
    """

    def __init__(
        self, model: nn.Module, groups: Sequence[Group], lam: float, warmup: int, epsilon: float = 0.0, **options: Any
    ) -> None:
        super().__init__(model, groups, **options)
        self.lam, self.warmup, self.epsilon, self.count = lam, warmup, epsilon, 0

    def step(self, closure: Any = None) -> Any:
        before = self.vectors()
        result = super().step(closure)
        for position, (x, trial) in enumerate(zip(before, self.vectors(), strict=True)):
            norm = float(x.norm())
            shrunk = trial - self.lr * self.lam * float(self.sizes[position]) ** 0.5 * x / norm if norm else trial * 0
            outside = norm == 0 or float(shrunk @ x) < self.epsilon * norm**2
            after = float(shrunk.norm() / trial.norm().clamp(min=1e-12))
            self.scale(position, 0.0 if outside and self.count >= self.warmup else after)
        self.count += 1
        return result


class Admm(GroupSGD):
    """ADMM-style group sparsity: the weights are pulled towards a copy with the k least groups at zero; then those go.

    Args:
        k: how many groups go.
        every: steps between updates of the copy and of the duals.
        rho: strength of the pull.
    """

    def __init__(
        self, model: nn.Module, groups: Sequence[Group], k: int, every: int, rho: float = 1e-2, **options: Any
    ) -> None:
        super().__init__(model, groups, **options)
        self.k, self.every, self.rho, self.count = k, every, rho, 0
        self.duals = [torch.zeros_like(vector) for vector in self.vectors()]
        self.copies = self.vectors()

    def least(self, vectors: Sequence[Tensor]) -> list[int]:
        means = torch.stack([vector.square().mean() for vector in vectors])
        return means.argsort()[: self.k].tolist()

    def step(self, closure: Any = None) -> Any:
        if self.count % self.every == 0:
            moved = [x + u for x, u in zip(self.vectors(), self.duals, strict=True)]
            least = self.least(moved)
            self.copies = [torch.zeros_like(v) if i in least else v for i, v in enumerate(moved)]
            self.duals = [v - z for v, z in zip(moved, self.copies, strict=True)]
        for parts, x, z, u in zip(self.parts, self.vectors(), self.copies, self.duals, strict=True):
            pull, start = self.rho * (x - z + u), 0
            for parameter, mask in parts:
                count = int(mask.sum())
                if parameter.grad is not None:
                    parameter.grad[mask.bool()] += pull[start : start + count]
                start += count
        self.count += 1
        return super().step(closure)

    def finish(self) -> None:
        for position in self.least(self.vectors()):
            self.scale(position, 0.0)


class GroupNormSGD(torch.optim.SGD):
    """SGD with the regularisation of Torch-Pruning's group-norm pruner, which its users call before each step."""

    def __init__(self, model: nn.Module, pruner: Any, **options: Any) -> None:
        super().__init__(model.parameters(), **options)
        self.model, self.pruner = model, pruner

    def step(self, closure: Any = None) -> Any:
        self.pruner.regularize(self.model)
        return super().step(closure)


def group_norm_pruner(model: nn.Module, images: Tensor) -> Any:
    """Return Torch-Pruning's pruner that takes the least channels of the whole network, in 200 steps."""
    classifiers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return torch_pruning.pruner.GroupNormPruner(
        model,
        images,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=0.95,
        iterative_steps=200,
        ignored_layers=classifiers[-1:],
    )
