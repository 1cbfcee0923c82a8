"""Pooling to a size keeps its numbers where adaptive pooling would fix the size it was shown; interpolation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flemme_monai.blocks import area_resize, linear_resize


class Pool(nn.Module):
    """Pooling to a grid."""

    def __init__(self, size: list[int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return area_resize(x, self.size)


@pytest.mark.parametrize("size", [[1, 1], [3, 2], [4, 4], [5, 1]])
def test_exported_programs_pool_other_sizes_right(size):
    x = torch.randn(2, 3, 6, 8)
    axes = {2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    program = torch.export.export(Pool(size), (x,), dynamic_shapes={"x": axes}).module()
    for other in (x, torch.randn(2, 3, 9, 5), torch.randn(2, 3, 3, 17)):
        torch.testing.assert_close(program(other), F.interpolate(other, size=size, mode="area"))


def test_traced_programs_pool_other_sizes_right():
    traced = torch.jit.trace(Pool([3, 2, 4]), torch.randn(2, 3, 6, 8, 5))
    other = torch.randn(2, 3, 9, 5, 7)
    torch.testing.assert_close(traced(other), F.interpolate(other, size=[3, 2, 4], mode="area"))


@pytest.mark.parametrize("dims", [2, 3])
def test_linear_interpolation_keeps_a_slope_and_its_borders(dims):
    slope = torch.arange(4.0).view([1, 1, 4] + [1] * (dims - 1)).expand([1, 1, 4] + [2] * (dims - 1))
    twice = linear_resize(slope, [8] + [4] * (dims - 1))
    expected = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])  # pixels are areas: their centres move apart
    torch.testing.assert_close(twice, expected.view([1, 1, 8] + [1] * (dims - 1)).expand_as(twice))
