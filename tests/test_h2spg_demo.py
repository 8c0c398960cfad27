"""H2SPG on DemoSupNet: exactly K groups end at zero, they are valid, and nothing revives them."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from autosubnet import AutoSubnet, supernets

STEPS, FURTHER = 24, 200


@pytest.mark.parametrize(("variant", "options"), [("sgd", {"momentum": 0.9}), ("adam", {}), ("adamw", {})])
def test_the_chosen_groups_are_zero_for_ever(variant: str, options: dict[str, float]) -> None:
    torch.manual_seed(0)
    model = supernets.create("demo", width=0.125)
    oto = AutoSubnet(model, torch.randn(2, 1, 8, 8))
    opt = oto.h2spg(lr=0.01, variant=variant, total_steps=STEPS + FURTHER, warmup_steps=8, projection_steps=8,
                    weight_decay=1e-2, **options)  # fmt: skip
    parameters = dict(model.named_parameters())
    for step in range(STEPS + FURTHER):
        images, labels = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
        opt.zero_grad()
        cross_entropy(model(images), labels).backward()
        opt.step()
        if step >= 15:
            zero = [g for g in oto.groups if not any(parameters[each.name].any() for each in g.slices)]
            assert len(zero) == len(oto.groups) // 2, f"after step {step + 1}"
            assert [g.name for g in zero] == [g.name for g in oto.groups if g in opt.chosen]
    assert oto.is_valid(opt.chosen)
    subnet = oto.construct_subnet()
    gone = {each.name for group in opt.chosen for each in group.slices}
    assert gone.isdisjoint(name for name, _ in subnet.named_parameters())
