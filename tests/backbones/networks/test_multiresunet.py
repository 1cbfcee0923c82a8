"""What MultiResUNet does besides the table."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.architectures import DDPM
from flemme_monai.backbones.networks import MultiResUNet
from tests.foreign import TIME_AND_CLASS, backbone


def test_paths_are_longer_the_finer_the_skip():
    assert [len(fuse.units) for fuse in backbone("multiresunet", 2).decoder.fuses] == [1, 2, 3, 4]


def test_a_denoiser_begins_at_zero():
    net = DDPM(backbone("multiresunet", 2, out_channels=1, conditioning=TIME_AND_CLASS))
    assert not net(torch.randn(1, 1, 32, 32), torch.tensor([3.0]), torch.tensor([0])).any()


def test_groups_that_divide_no_width_are_refused():
    with pytest.raises(ValueError, match="expected a divisor of the 17 channels"):
        MultiResUNet(2, 3, 2, norm="group")
