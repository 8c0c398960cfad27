"""Squares that are cut out."""

import torch

from autosubnet.training.cutout import cutout


def test_a_square_of_each_image_is_zero_and_nothing_else() -> None:
    torch.manual_seed(0)
    images = torch.rand(500, 2, 10, 12) + 1
    cut = cutout(images, 4)
    kept = cut == images
    assert ((cut == 0) | kept).all()
    assert torch.equal(kept[:, 0], kept[:, 1])
    holes = ~kept[:, 0]
    rows, columns = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(holes.sum((1, 2)), rows * columns), "a hole is no rectangle"
    assert rows.max() == columns.max() == 4
    assert rows.min() < 4 > columns.min(), "none reaches over the border"
    assert (images > 0).all(), "the images were changed"
    assert len({tuple(hole.nonzero()[0].tolist()) for hole in holes}) > 50


def test_none_of_side_zero() -> None:
    images = torch.rand(3, 1, 4, 4)
    assert cutout(images, 0) is images
