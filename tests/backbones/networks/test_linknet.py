"""D-LinkNet and CE-Net: what their centres are, and that their outputs are logits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai.blocks.dilated_context import DenseAtrousConv, DilatedCascade, ResidualMultiPooling
from tests.foreign import backbone, image


def test_the_cascade_is_the_sum_of_its_input_and_of_all_its_convolutions():
    block, x = DilatedCascade(2, 4, (1, 2, 4)), torch.randn(1, 4, 12, 16)
    assert [conv.dilation for conv in block.convs] == [(1, 1), (2, 2), (4, 4)]
    one = block.convs[0](x).relu()
    two = block.convs[1](one).relu()
    torch.testing.assert_close(block(x), x + one + two + block.convs[2](two).relu())


def test_dense_atrous_convolution_has_four_branches_over_shared_convolutions():
    block, x = DenseAtrousConv(2, 4), torch.randn(1, 4, 12, 16)
    d1, d3, d5, p = block.dilate1, block.dilate3, block.dilate5, block.proj
    branches = [d1(x), p(d3(x)), p(d3(d1(x))), p(d5(d3(d1(x))))]
    torch.testing.assert_close(block(x), x + sum(branch.relu() for branch in branches))
    assert [conv.dilation[0] for conv in (d1, d3, d5)] == [1, 3, 5]


@pytest.mark.parametrize("size", [(1, 2), (4, 7), (30, 30)])
def test_pooling_of_several_kernels_takes_features_smaller_than_its_kernels(size):
    block, x = ResidualMultiPooling(2, 4), torch.randn(1, 4, *size)
    out = block(x)
    assert out.shape == (1, 8, *size)
    assert torch.equal(out[:, 4:], x)
    pooled = nn.functional.max_pool2d(x, 5, 5, ceil_mode=True)
    expected = nn.functional.interpolate(block.proj(pooled), size=size, mode="bilinear")
    torch.testing.assert_close(out[:, 2:3], expected)


@pytest.mark.parametrize("key", ["dlinknet", "cenet"])
def test_outputs_are_logits_which_nothing_squashes(key):
    net = backbone(key, 2).eval()
    x, layer = image(net), net.decoder.output_layer
    before = net(x).output
    for parameter in layer.parameters():
        parameter.data.mul_(-50)
    torch.testing.assert_close(net(x).output, -50 * before)


def test_a_skip_is_added():
    net = backbone("dlinknet", 2).eval()
    latent, skips = net.encode(image(net))
    assert [skip.shape[2] for skip in skips] == [16, 8, 4]
    up = net.decoder.ups[0](net.decoder.center(latent))
    torch.testing.assert_close(net.decode(latent, skips).features[0], up + skips[-1])
