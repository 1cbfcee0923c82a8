"""A convolution block with strides, dilation, and a kernel of another size per axis."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.blocks import ConvBlock


@pytest.mark.parametrize("settings", [{"kernel_size": (1, 7)}, {"dilation": 4}, {"kernel_size": (3, 5), "dilation": 2}])
def test_a_feature_keeps_its_size(settings):
    assert ConvBlock(2, 3, 4, **settings)(torch.randn(2, 3, 9, 12)).shape == (2, 4, 9, 12)


@pytest.mark.parametrize("depthwise", [False, True])
def test_a_stride_makes_it_smaller(depthwise):
    assert ConvBlock(2, 3, 4, stride=2, depthwise=depthwise)(torch.randn(2, 3, 8, 12)).shape == (2, 4, 4, 6)


@pytest.mark.parametrize("kernel_size", [2, (3, 4)])
def test_even_kernels_are_refused(kernel_size):
    with pytest.raises(ValueError, match=r"kernel_size is .*; expected an odd number"):
        ConvBlock(2, 3, 4, kernel_size=kernel_size)
