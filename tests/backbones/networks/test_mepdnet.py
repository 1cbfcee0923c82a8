"""MEPDNet: three slices through one encoder, the middle one beside their fusion."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.networks import MEPDNet
from tests.foreign import backbone


def test_a_third_dimension_is_refused():
    with pytest.raises(ValueError, match="spatial_dims is 3; expected 2: MEPDNet segments a slice beside its two"):
        MEPDNet(3, 3, 2)


def test_channels_of_other_than_three_slices_are_refused():
    with pytest.raises(ValueError, match="in_channels is 4; expected a multiple of 3"):
        MEPDNet(2, 4, 2)


def test_every_slice_reaches_the_output_through_the_same_encoder():
    net = backbone("mepdnet", 2, in_channels=2).eval()
    assert net.encoder.first.blocks[0].conv.in_channels == 2
    x = torch.randn(1, 6, 16, 32, requires_grad=True)
    net(x).output.square().sum().backward()
    assert all(part.any() for part in x.grad.chunk(3, 1))


def test_the_middle_slice_stands_beside_the_fusion():
    net, seen = backbone("mepdnet", 2).eval(), []
    net.encoder.compress.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 3, 16, 32)
    net(x)
    middle = net.encoder.first(x[:, 1:2])
    for stage in net.encoder.stages:
        middle = stage(net.encoder.pool(middle))
    torch.testing.assert_close(seen[0].chunk(2, 1)[0], middle)


def test_one_image_under_batch_norm_is_refused():
    with pytest.raises(ValueError, match="expected two images a batch or another norm"):
        backbone("mepdnet", 2, norm="batch")(torch.randn(1, 3, 16, 32))
