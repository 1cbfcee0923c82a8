"""Multi-resolution blocks: their widths, their flow, and residual paths."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.fuses import ResPath
from flemme_monai.blocks.multires import MultiRes, multires_channels


def test_blocks_have_the_widths_of_the_paper():
    assert multires_channels(32) == [8, 17, 26]
    assert [sum(multires_channels(width)) for width in (32, 64, 128, 256, 512)] == [51, 105, 212, 426, 853]


@pytest.mark.parametrize("dims", [2, 3])
def test_outputs_of_a_chain_stand_side_by_side_before_the_shortcut(dims):
    net, x = MultiRes(dims, 3, 8).eval(), torch.randn(2, 3, *(6, 5, 4)[:dims])
    first, second, third = net.convs
    chain = torch.cat([first(x), second(first(x)), third(second(first(x)))], 1)
    expected = net.norm2((net.norm1(chain) + net.shortcut(x)).relu())
    torch.testing.assert_close(net(x), expected)
    assert net(x).shape[1] == net.out_channels == 2 + 4 + 6
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


def test_a_width_that_leaves_a_convolution_without_channels_is_refused():
    with pytest.raises(ValueError, match=r"channels is 3 and alpha 1.67; expected a product of 6 or more"):
        MultiRes(2, 3, 3)
    MultiRes(2, 3, 4)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_path_is_residual_convolutions_on_the_skip(dims):
    path = ResPath(dims, 5, 4, length=2).eval()
    x, skip = torch.randn(2, 3, *(6, 5, 4)[:dims]), torch.randn(2, 5, *(6, 5, 4)[:dims])
    expected = skip
    for unit in path.units:
        expected = unit.norm((unit.conv(expected) + unit.shortcut(expected)).relu())
    assert len(path.units) == 2
    torch.testing.assert_close(path(x, skip), torch.cat([expected, x], 1))
    torch.testing.assert_close(torch.jit.script(path)(x, skip), path(x, skip))
