"""Shifts of groups of channels against their formula, and the axes of UNeXt's MLP."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai.blocks.shift import PositionShift, ShiftedBlock, ShiftedMLP

AXES = [(dims, axis) for dims in (2, 3) for axis in range(dims)]


@pytest.mark.parametrize(("dims", "axis"), AXES)
def test_a_group_moves_by_its_shift_and_zeros_come_in(dims, axis):
    x, shift = torch.randn(2, 12, *(7, 6, 5)[:dims]), PositionShift(dims, axis)
    expected = torch.zeros_like(x)
    for channel in range(12):
        by = channel // 3 - 2  # groups of ceil(12 / 5) channels
        for i in range(x.shape[2 + axis]):
            if 0 <= i - by < x.shape[2 + axis]:
                expected.select(2 + axis, i)[:, channel] = x.select(2 + axis, i - by)[:, channel]
    assert torch.equal(shift(x), expected)
    assert torch.equal(torch.jit.script(shift)(x), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_an_impulse_is_moved_along_every_axis(dims):
    """The two shifts have different axes; along one axis twice, the other would be reached by the kernel alone."""
    mlp = ShiftedMLP(dims, 20)
    for conv in mlp.fc1, mlp.fc2:  # all channels to all
        nn.init.constant_(conv.weight, 1.0)
        nn.init.zeros_(conv.bias)
    nn.init.zeros_(mlp.depthwise.weight)
    mlp.depthwise.weight.data[(slice(None), 0) + (1,) * dims] = 1.0  # without reach of its own
    nn.init.zeros_(mlp.depthwise.bias)
    x = torch.zeros(1, 20, *(9,) * dims)
    x[(slice(None), slice(None)) + (4,) * dims] = 1.0
    reached = mlp(x)[0].abs().sum(0) > 1e-6
    spans = [(reached.nonzero()[:, axis].min().item(), reached.nonzero()[:, axis].max().item()) for axis in range(dims)]
    assert spans == [(2, 6)] * dims


@pytest.mark.parametrize("dims", [2, 3])
def test_a_block_adds_its_mlp_to_its_input(dims):
    block, x = ShiftedBlock(dims, 10), torch.randn(2, 10, *(5, 4, 3)[:dims])
    torch.testing.assert_close(block(x), x + block.mlp(block.norm(x)))
    torch.testing.assert_close(torch.jit.script(block)(x), block(x))
    nn.init.zeros_(block.mlp.fc2.weight)
    nn.init.zeros_(block.mlp.fc2.bias)
    assert torch.equal(block(x), x)
