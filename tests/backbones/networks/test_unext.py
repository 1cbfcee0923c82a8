"""What UNeXt does besides the table."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.architectures import DDPM
from flemme_monai.backbones.networks import UNeXt
from flemme_monai.blocks.shift import ShiftedBlock, ShiftedMLP
from tests.foreign import TIME_AND_CLASS, backbone


def test_the_last_two_levels_and_the_first_two_of_the_way_up_are_mlps():
    net = backbone("unext", 2)
    for half, expected in ((net.encoder, [3, 4]), (net.decoder, [0, 1])):
        found = [i for i, stage in enumerate(half.stages) if isinstance(stage.blocks[0], ShiftedBlock)]
        assert found == expected


@pytest.mark.parametrize("dims", [2, 3])
def test_the_shifts_of_an_mlp_share_no_axis(dims):
    for mlp in backbone("unext", dims).modules():
        if isinstance(mlp, ShiftedMLP):
            assert [mlp.shift1.axis, *(shift.axis for shift in mlp.shift2)] == [2, 3, 4][:dims]


def test_it_serves_no_denoiser():
    with pytest.raises(ValueError, match="UNeXt does not give: its last step doubles the size by interpolation"):
        DDPM(backbone("unext", 2, out_channels=1, conditioning=TIME_AND_CLASS))


def test_it_needs_levels_of_both_kinds():
    with pytest.raises(ValueError, match=r"channels is \[8, 8\]; expected three or more"):
        UNeXt(2, 1, 2, channels=[8, 8])
    assert UNeXt(2, 1, 2, channels=[8, 8, 8]).eval()(torch.randn(1, 1, 16, 8)).output.shape == (1, 2, 16, 8)
