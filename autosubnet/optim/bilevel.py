"""Gradients of the validation loss with respect to architecture weights (SparseNAS, Eq. 11 to 13; DARTS, Section 2.3).

Architecture weights A minimise L_val(w*(A), A), network weights w*(A) minimise L_train(w, A). First order takes
w*(A) = w. Second order takes w' = w - gamma grad_w L_train(w, A) instead (Eq. 12):

    g = grad_A L_val(w', A) - gamma grad^2_{A,w} L_train(w, A) v,   v = grad_{w'} L_val(w', A),

with the product by differentiating grad_w L_train(w, A) . v once more, which is exact.

Eq. 13 has a difference quotient for the product. As it is printed it lacks gamma and steps along grad_w L_train(w, A),
so that it does not approximate Eq. 12; put right, as in DARTS, it does where the loss is smooth along the step. It is
not where a ReLU or a maximum changes sides within the step, as in every cell of DARTS: there it is further off than the
first order. It takes two runs of the model, and the product takes none.

Nothing of the model changes. It runs by ``torch.func.functional_call`` on other weights: no copy of it is made,
``.grad`` is neither read nor written, and modes stay. Buffers, such as BatchNorm's running statistics, are copies in
every run, all starting from the model's: what the runs do to them is forgotten, and only the training of w moves them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from autosubnet.errors import InputError, NonFiniteError

Batch = TypeVar("Batch")
Loss = Callable[[Callable[..., Any], Batch], Tensor]
"""``loss(network, batch)``: a scalar. ``network`` is called as the model is."""


def first_order_gradient(
    model: nn.Module, loss: Loss[Batch], architecture: Collection[str], valid_batch: Batch
) -> dict[str, Tensor]:
    """Return grad_A L_val(w, A): Eq. 11 with w*(A) = w.

    Args:
        model: holds w and A.
        loss: what is minimised, for instance ``lambda network, batch: cross_entropy(network(batch[0]), batch[1])``.
        architecture: names of A, as in ``model.named_parameters()``.
        valid_batch: handed to ``loss``.

    Returns:
        The gradient of each of ``architecture``, by name, in its shape; zero where the loss does not depend on it. For
        an optimizer's step, assign them to the parameters' ``.grad``.

    Raises:
        InputError: no name in ``architecture``, or one that is no trainable parameter, or a loss that is no scalar
            with a gradient.
    """
    a, w = _split(model, architecture)
    return _gradients([_value(model, loss, {**w, **a}, valid_batch)], a)


def second_order_gradient(
    model: nn.Module,
    loss: Loss[Batch],
    architecture: Collection[str],
    train_batch: Batch,
    valid_batch: Batch,
    *,
    gamma: float,
) -> dict[str, Tensor]:
    """Return the gradient of Eq. 12, by automatic differentiation.

    Two runs of the model and three backward passes, one of them through another, where the first order takes one each.

    Args:
        model: holds w and A.
        loss: what is minimised on both batches.
        architecture: names of A, as in ``model.named_parameters()``; the other trainable parameters are w.
        train_batch: handed to ``loss`` for L_train.
        valid_batch: handed to ``loss`` for L_val.
        gamma: step size of w', at least 0; usually the learning rate of w. The paper's step has neither momentum nor
            weight decay, and neither has this one.

    Returns:
        As :func:`first_order_gradient`.

    Raises:
        InputError: as there, a negative ``gamma``, or a model that torch cannot differentiate twice.
        NonFiniteError: a gradient of the validation loss is NaN or infinite.
    """
    if not gamma >= 0:
        raise InputError(f"gamma is {gamma}; it must be at least 0")
    a, w = _split(model, architecture)
    if not w:
        return first_order_gradient(model, loss, architecture, valid_batch)
    descent = _gradients([_value(model, loss, {**w, **a}, train_batch)], w, create_graph=True)
    ahead = {name: (p - gamma * descent[name]).detach().requires_grad_() for name, p in w.items()}
    gradients = _gradients([_value(model, loss, {**ahead, **a}, valid_batch)], {**ahead, **a})
    v = {name: gradients.pop(name) for name in w}
    norm = float(nn.utils.get_total_norm(list(v.values())))
    if not math.isfinite(norm):
        raise NonFiniteError(f"the gradient of the validation loss by the weights has norm {norm}; lower gamma")
    product = _product(descent, v, a)
    return {name: g - gamma * product[name] for name, g in gradients.items()}


def _product(descent: Mapping[str, Tensor], v: Mapping[str, Tensor], a: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return grad^2_{A,w} L_train v."""
    slopes = [name for name in v if descent[name].requires_grad]
    if not slopes:  # the loss is linear in w, and A is not in its slope
        return {name: torch.zeros_like(each) for name, each in a.items()}
    try:
        return _gradients([descent[name] for name in slopes], a, along=[v[name] for name in slopes])
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise InputError(f"the model cannot be differentiated twice ({error}); take the first order") from error


def _split(model: nn.Module, architecture: Collection[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return A and w by name."""
    trainable: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not architecture:
        raise InputError("architecture is empty; pass the names of the architecture weights")
    for name in architecture:
        if name not in trainable:
            raise InputError(f"architecture holds {name!r}, which is no trainable parameter of the model")
    a = {name: trainable[name] for name in architecture}
    return a, {name: p for name, p in trainable.items() if name not in a}


def _value(model: nn.Module, loss: Loss[Batch], weights: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Return the loss of the model with these weights, and with buffers of its own."""
    replaced = {**{name: buffer.clone() for name, buffer in model.named_buffers()}, **weights}

    def network(*args: Any, **kwargs: Any) -> Any:
        return functional_call(model, replaced, args, kwargs)

    with torch.enable_grad():
        value = loss(network, batch)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        raise InputError(f"the loss must be a scalar with a gradient, and is {value!r}")
    return value


def _gradients(
    values: Sequence[Tensor],
    weights: Mapping[str, Tensor],
    along: Sequence[Tensor] | None = None,
    *,
    create_graph: bool = False,
) -> dict[str, Tensor]:
    gradients = torch.autograd.grad(
        values, list(weights.values()), along, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return dict(zip(weights, gradients, strict=True))
