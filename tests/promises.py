"""What every construction promises, as checks that raise ``AssertionError`` with what was seen.

``model`` is always the original with its groups set to zero, ``subnet`` what was constructed from it, and
``kept`` the surviving indices of its report. The checks change neither: they work on deep copies. Differences
are measured against how much an output varies over inputs: a network that ignores its input cannot pass.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from probes import Inputs, Kept, largest, parameters, probe, redraw, restored, run, structure, survivors, variation
from removal import num_params
from torch import Tensor, fx, nn
from torch.optim import Optimizer

OUTPUT_TOLERANCE = 1e-9
GRADIENT_TOLERANCE = 1e-9
TRAINING_TOLERANCE = 1e-8


def same_outputs(
    model: nn.Module,
    subnet: nn.Module,
    inputs: Inputs,
    *,
    train: bool,
    varies: Sequence[float],
    tolerance: float,
) -> float:
    """Compare all outputs for one batch and return the largest difference over the variation."""
    expected = run(model, inputs, train=train)
    got = run(subnet, inputs, train=train)
    assert len(got) == len(expected), f"{len(got)} outputs instead of {len(expected)}"
    worst = 0.0
    for number, (a, b, scale) in enumerate(zip(expected, got, varies, strict=True)):
        place = f"output {number}, batch {a.shape[0]}, {'train' if train else 'eval'} mode"
        assert b.shape == a.shape, f"{place}: shape {tuple(b.shape)} instead of {tuple(a.shape)}"
        assert b.dtype == a.dtype, f"{place}: {b.dtype} instead of {a.dtype}"
        relative = largest(a - b) / scale
        assert relative <= tolerance, f"{place}: differs by {relative:.3g} of its variation {scale:.3g}"
        worst = max(worst, relative)
    return worst


def variations(model: nn.Module, example_inputs: Inputs, *, train: bool = False) -> list[float]:
    """Return the variation of each output over eight random examples; every one must be above rounding."""
    outputs = probe(model, redraw(example_inputs, 8, 99), train=train)
    found = [variation(output.detach()) for output in outputs]
    for number, (output, value) in enumerate(zip(outputs, found, strict=True)):
        assert value > 1e-9 * largest(output), f"output {number} ignores the input: variation {value:.3g}"
    return found


def equal_outputs(
    model: nn.Module, subnet: nn.Module, example_inputs: Inputs, tolerance: float = OUTPUT_TOLERANCE
) -> float:
    """Promise 1: equal outputs in eval mode, at the examples' batch size and others, and at other sizes."""
    model = copy.deepcopy(model)
    varies = variations(model, example_inputs)
    batches = [tuple(example_inputs), redraw(example_inputs, 5, 1), redraw(example_inputs, 1, 2)]
    others = [redraw(example_inputs, 2, 6, larger=by) for by in (1, 4)]
    others += [redraw(example_inputs, 0, 3)]  # the last: statistics of nothing are no numbers
    batches += [inputs for inputs in others if takes(model, inputs, train=False)]
    with torch.no_grad(), restored(subnet):
        nesting = [structure(module.eval()(*example_inputs)) for module in (model, subnet)]
        assert nesting[0] == nesting[1], f"the outputs are nested as {nesting[1]} instead of {nesting[0]}"
        return max(
            same_outputs(model, subnet, inputs, train=False, tolerance=tolerance, varies=varies) for inputs in batches
        )


def takes(model: nn.Module, inputs: Inputs, *, train: bool) -> bool:
    """Whether the model runs on ``inputs``: most that end in a linear layer take one resolution only."""
    try:
        probe(model, inputs, train=train)
    except (RuntimeError, AssertionError, ValueError, IndexError):  # timm and torchvision assert the size of an image
        return False
    return True


def equal_train_outputs(
    model: nn.Module,
    subnet: nn.Module,
    example_inputs: Inputs,
    kept: Kept,
    tolerance: float = OUTPUT_TOLERANCE,
) -> float:
    """Promise 2: equal outputs in train mode from the same random state, and equal buffers afterwards."""
    model = copy.deepcopy(model)
    outputs = probe(model, redraw(example_inputs, 8, 99), train=True)
    varies = [variation(output.detach()) or largest(output) for output in outputs]  # train mode may make one constant
    in_eval = variations(model, example_inputs)
    if len(in_eval) == len(varies):  # no auxiliary heads
        varies = [max(pair) for pair in zip(varies, in_eval, strict=True)]
    batches = [tuple(example_inputs), redraw(example_inputs, 5, 3), redraw(example_inputs, 1, 2)]
    batches = [inputs for inputs in batches if takes(model, inputs, train=True)]  # a norm may need two of each
    with torch.no_grad(), restored(subnet):
        worst = max(
            same_outputs(model, subnet, inputs, train=True, tolerance=tolerance, varies=varies) for inputs in batches
        )
        same_buffers(model, subnet, kept, tolerance)
        if takes(model, nothing := redraw(example_inputs, 0, 3), train=True):  # whose statistics are no numbers
            same_outputs(model, subnet, nothing, train=True, tolerance=tolerance, varies=varies)
    return worst


def same_buffers(model: nn.Module, subnet: nn.Module, kept: Kept, tolerance: float) -> None:
    """Compare what both remember of training."""
    original = dict(model.named_buffers())
    for name, buffer in subnet.named_buffers():
        if name not in original:
            continue  # a constant that the construction folded; its effect is in the outputs
        wide = torch.complex128 if buffer.is_complex() else torch.float64
        difference = largest(survivors(original[name], name, kept).to(wide) - buffer.to(wide))
        limit = tolerance * (1 + largest(buffer.to(wide)))
        assert difference <= limit, f"buffer {name} differs by {difference:.3g} after training batches"


def survival_mask(tensor: Tensor, name: str, kept: Kept) -> Tensor:
    """Return ``True`` where an entry of ``tensor`` survives."""
    mask = torch.ones_like(tensor, dtype=torch.bool)
    for dim, indices in kept.get(name, {}).items():
        alive = torch.zeros(tensor.shape[dim], dtype=torch.bool)
        alive[list(indices)] = True
        mask &= alive.view(-1, *[1] * (tensor.dim() - dim - 1))
    return mask


def objective(outputs: Sequence[Tensor]) -> Tensor:
    """Return a loss in which every output entry has its own weight."""
    generator = torch.Generator().manual_seed(5)
    weights = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in outputs]
    return torch.stack([(o * w).sum() for o, w in zip(outputs, weights, strict=True)]).sum()


def gradients(module: nn.Module, inputs: Inputs, *, train: bool) -> dict[str, Tensor]:
    """Return the gradient of each trainable parameter, zero where it has none, by all its names."""
    module = module if isinstance(module, fx.GraphModule) else copy.deepcopy(module)
    with restored(module):
        objective(run(module, inputs, train=train)).backward()
        return {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in parameters(module).items()
            if p.requires_grad
        }


def equal_gradients(
    model: nn.Module,
    subnet: nn.Module,
    example_inputs: Inputs,
    kept: Kept,
    *,
    train: bool,
    tolerance: float = GRADIENT_TOLERANCE,
) -> None:
    """Promise 3: every surviving entry has the original's gradient, and no live entry was dropped.

    A dropped entry is live if it is not zero and has a gradient: the original would go on training it.
    """
    inputs = redraw(example_inputs, 4, 7)
    mode = "train" if train else "eval"
    expected = gradients(model, inputs, train=train)
    got = gradients(subnet, inputs, train=train)
    assert set(got) <= set(expected), f"trainable only in the subnet: {sorted(set(got) - set(expected))}"
    floor = 1e-3 * max((largest(g) for g in expected.values()), default=0.0)
    limits = {name: tolerance * (largest(whole) + floor) for name, whole in expected.items()}
    for name, gradient in got.items():
        difference = largest(survivors(expected[name], name, kept) - gradient)
        if difference > limits[name]:  # a gradient of nothing but rounding, as ahead of several norms of a constant
            limits[name] = 4 * rounding(model, inputs, train, expected)[name]
        seen = f"{difference:.3g} > {limits[name]:.3g}"
        assert difference <= limits[name], f"{mode}: gradient of {name} differs by {seen}"
    values = parameters(model)
    for name, lost in dropped(model, got, kept).items():
        live = largest(expected[name][lost & (values[name] != 0)]) if name in expected else 0.0
        message = f"{mode}: live entries of {name} were dropped: gradient {live:.3g}"
        assert live <= limits.get(name, 0.0), message


def rounding(model: nn.Module, inputs: Inputs, train: bool, expected: dict[str, Tensor]) -> dict[str, float]:
    """Return how far the model's own gradients move where its weights change in their last place."""
    generator = torch.Generator().manual_seed(11)
    found = dict.fromkeys(expected, 0.0)
    for _ in range(3):
        near = copy.deepcopy(model)
        for parameter in near.parameters():
            up = torch.randint(2, parameter.shape, generator=generator).to(parameter.dtype)
            parameter.data *= 1 + torch.finfo(parameter.dtype).eps * up
        moved = gradients(near, inputs, train=train)
        found = {name: max(found[name], largest(moved[name] - whole)) for name, whole in expected.items()}
    return found


def dropped(model: nn.Module, left: Iterable[str], kept: Kept) -> dict[str, Tensor]:
    """Return which entries of each parameter survive under none of its names."""
    alive: dict[nn.Parameter, Tensor] = {}
    for name, parameter in parameters(model).items():
        mask = alive.setdefault(parameter, torch.zeros_like(parameter, dtype=torch.bool))
        if name in left:
            mask |= survival_mask(parameter, name, kept)
    return {name: ~alive[parameter] for name, parameter in model.named_parameters()}


def equal_training(
    model: nn.Module,
    subnet: nn.Module,
    example_inputs: Inputs,
    kept: Kept,
    tolerance: float = TRAINING_TOLERANCE,
) -> None:
    """Promise 3: three steps of training give those of the original with its dropped zeros frozen.

    No gradient counts as a zero one: what is left for its sizes or its layout alone has none.
    """
    model = copy.deepcopy(model)
    lost, values = dropped(model, parameters(subnet), kept), parameters(model)
    zeros = {name: lost[name] & (values[name] == 0) for name in lost}
    with restored(subnet):
        for module in (model, subnet):
            optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-2)
            for step in range(3):
                optimizer.zero_grad()
                objective(run(module, redraw(example_inputs, 4, 20 + step), train=True, seed=step)).backward()
                for name, parameter in module.named_parameters():
                    if parameter.grad is None and parameter.requires_grad:
                        parameter.grad = torch.zeros_like(parameter)
                    if parameter.grad is not None and module is model:
                        parameter.grad[zeros[name]] = 0.0
                optimizer.step()
        same_parameters(model, subnet, kept, tolerance)


def same_parameters(model: nn.Module, subnet: nn.Module, kept: Kept, tolerance: float) -> None:
    """Compare what both have become by training."""
    original = parameters(model)
    for name, parameter in subnet.named_parameters():
        difference = largest(survivors(original[name], name, kept) - parameter)
        limit = tolerance * (1 + largest(parameter))
        assert difference <= limit, f"{name} differs by {difference:.3g} after training"


def carries_optimizer(
    model: nn.Module, subnet: nn.Module, optimizer: Optimizer, carried: Optimizer, kept: Kept
) -> None:
    """Promise 3: the subnet's optimizer holds the original's state of every surviving entry."""
    original = parameters(model)
    assert optimizer.state, "nothing to carry"
    for name, parameter in subnet.named_parameters():
        expected, got = optimizer.state[original[name]], carried.state[parameter]
        assert set(expected) == set(got), f"{name}: state {sorted(got)} instead of {sorted(expected)}"
        for key, value in expected.items():
            if isinstance(value, Tensor) and value.shape == original[name].shape:
                value = survivors(value, name, kept)
            same = torch.equal(torch.as_tensor(value), torch.as_tensor(got[key]))
            assert same, f"{name}: {key} was not carried over"


def names_kept(model: nn.Module, subnet: nn.Module, kept: Kept) -> None:
    """Promise 4: parameters keep their names, and are the original's surviving entries, bit for bit."""
    original = parameters(model)
    state = model.state_dict()
    for name, parameter in subnet.named_parameters():
        assert name in original, f"the subnet's parameter {name} is none of the model's"
        expected = survivors(original[name], name, kept)
        seen = f"{tuple(parameter.shape)} instead of {tuple(expected.shape)}"
        assert parameter.shape == expected.shape, f"{name} has shape {seen}, by the report's kept indices"
        assert torch.equal(parameter, expected), f"{name} does not hold the original's surviving entries"
        assert parameter.requires_grad == original[name].requires_grad, f"{name}: requires_grad changed"
    strangers = set(subnet.state_dict()) - set(state)
    assert not strangers, f"in the subnet's state dict only: {sorted(strangers)}"
    own = parameters(subnet)
    ties: dict[int, list[str]] = defaultdict(list)
    for name in own:
        ties[id(original[name])].append(name)
    untied = [names for names in ties.values() if len({id(own[name]) for name in names}) > 1]
    assert not untied, f"no longer one parameter: {untied}"
    unknown = set(kept) - set(state)
    assert not unknown, f"the report keeps indices of unknown names: {sorted(unknown)}"


def stands_alone(subnet: fx.GraphModule, package: str = "autosubnet") -> None:
    """Promise 4: nothing of the package is needed to run the result."""
    for name, module in subnet.named_modules():
        home = type(module).__module__
        assert home.partition(".")[0] != package, f"module {name} is a {home}.{type(module).__name__}"
    for node in subnet.graph.nodes:
        home = getattr(node.target, "__module__", None) or ""
        assert home.partition(".")[0] != package, f"vertex {node.name} calls {node.target} of {home}"


def fixed_point(subnet: fx.GraphModule, again: fx.GraphModule) -> None:
    """Promise 5: ``again``, what removing zeros from ``subnet`` gave, is no smaller."""
    before, after = num_params(subnet), num_params(again)
    assert after == before, f"a second pass went from {before} to {after} parameters"
    nodes = [len(module.graph.nodes) for module in (subnet, again)]
    assert nodes[0] == nodes[1], f"a second pass went from {nodes[0]} to {nodes[1]} vertices"
