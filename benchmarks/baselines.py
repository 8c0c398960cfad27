"""What H2SPG is compared with: short rules of our own for the comparison, and a peer's pruner as its users run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from autosubnet.graph.groups import Group
from autosubnet.optim.saliency import magnitude_score


class Hesso(torch.optim.SGD):
    """The training rule of HESSO on our groups, re-implemented: chosen groups are scaled down step by step.

    HESSO (the successor of DHSPG in ``only-train-once``) chooses redundant groups in periods and multiplies them by
    (T - t - 1) / (T - t) in step t of a period of T, so that they are zero at its end; everything else takes SGD's
    steps. There is no half-space projection and no coefficient to tune. Its own release needs CUDA; what it groups are
    channels, where ours are operators that can go together.

    Args:
        model: what is trained.
        groups: the groups.
        select: takes scores; returns positions of groups that reach the target and can go together.
        warmup: steps before the choice.
        pruning: steps in which the chosen groups go to zero.
        **options: of SGD.
    """

    def __init__(
        self, model: nn.Module, groups: Sequence[Group], select: Any, warmup: int, pruning: int, **options: Any
    ) -> None:
        super().__init__(model.parameters(), **options)
        self.model, self.groups, self.select = model, groups, select
        self.warmup, self.pruning = warmup, pruning
        self.count = 0
        self.masks: dict[nn.Parameter, Tensor] = {}

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        if self.count == self.warmup:
            self._choose()
        result = super().step(closure)
        if self.count >= self.warmup:
            left = max(0, self.warmup + self.pruning - self.count)
            factor = (left - 1) / left if left else 0.0
            for parameter, mask in self.masks.items():
                parameter.mul_(torch.where(mask, factor, 1.0))
        self.count += 1
        return result

    def _choose(self) -> None:
        named = dict(self.model.named_parameters())
        norms = [sum(float(named[part.name].square().sum()) for part in group.slices) for group in self.groups]
        sizes = torch.tensor([float(group.num_params) for group in self.groups], dtype=torch.float64)
        squares = torch.tensor(norms, dtype=torch.float64)
        for position in self.select(magnitude_score(squares, squares, squares, sizes).tolist()):
            for part in self.groups[position].slices:
                mask = self.masks.setdefault(named[part.name], torch.zeros_like(named[part.name], dtype=torch.bool))
                if part.indices is None:
                    mask.fill_(True)
                else:
                    mask.index_fill_(part.dim, torch.tensor(part.indices), True)


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
