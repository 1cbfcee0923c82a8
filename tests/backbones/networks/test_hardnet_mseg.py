"""HarDNet-MSEG: receptive field blocks without inner activations, and products of features."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai.blocks.receptive_field import PartialDecoder, ReceptiveFieldBlock
from tests.foreign import backbone, image

KERNELS = {2: [(1, 3), (3, 1), (3, 3)], 3: [(1, 1, 3), (1, 3, 1), (3, 1, 1), (3, 3, 3)]}


@pytest.mark.parametrize("dims", [2, 3])
def test_a_branch_has_a_kernel_along_each_axis_and_then_a_dilated_one(dims):
    block = ReceptiveFieldBlock(dims, 4, 2)
    branch = [layer.conv for layer in block.branches[1]]
    assert [conv.kernel_size for conv in branch[1:]] == KERNELS[dims]
    assert [block.branches[i][-1].conv.dilation[0] for i in (1, 2, 3)] == [3, 5, 7]
    assert block(torch.randn(2, 4, *[16, 9, 5][:dims])).shape == (2, 2, *[16, 9, 5][:dims])


def test_convolutions_of_the_head_have_norms_and_no_activation_but_the_blocks_last():
    block = ReceptiveFieldBlock(2, 4, 2)
    assert [name for name, m in block.named_modules() if isinstance(m, nn.ReLU)] == ["act"]
    assert not any(isinstance(m, nn.ReLU) for m in PartialDecoder(2, 2, (1, 2)).modules())


def test_coarser_features_are_multiplied_with_finer_ones():
    join = PartialDecoder(2, 2, (1, 2), norm=None)
    inputs = [torch.randn(1, 2, 2 * 2**i, 2 * 2**i) for i in range(3)]
    own = []
    for i, product in enumerate(join.products):
        zeroed = [torch.zeros_like(x) for x in inputs[: i + 1]]
        for factor in product.factors:
            nn.init.zeros_(factor.conv.bias)
        own.append(product(inputs[i + 1], zeroed))
    assert all(torch.equal(x, torch.zeros_like(x)) for x in own)  # nothing coarse, nothing fine
    assert [tuple(x.shape[1:]) for x in join(inputs)] == [(2, 2, 2), (4, 4, 4), (6, 8, 8)]


@pytest.mark.parametrize(("key", "strides"), [("hardnet", [32, 16, 8]), ("hardnetalter", [32, 16, 8, 4])])
def test_features_are_joined_down_to_their_stride_and_denoisers_are_refused(key, strides):
    net = backbone(key, 2)
    assert [64 // f.shape[2] for f in net(image(net)).features] == strides
    with pytest.raises(ValueError, match=f"interpolated by {strides[-1]}"):
        net.require("denoise", "DDPM")


def test_the_fourth_feature_of_the_other_form_is_multiplied_with_none():
    products = backbone("hardnetalter", 2).decoder.join.products
    assert [len(product.factors) for product in products] == [1, 2, 0]
