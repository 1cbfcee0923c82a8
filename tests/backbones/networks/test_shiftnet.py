"""OneNet and LightNet: groups meet by rolling channels; features are taken where they are said to be."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.networks import LightNet, OneNet
from flemme_monai.blocks.shift_group import ShiftGroupConv
from tests.foreign import backbone

NETS = pytest.mark.parametrize("key", ["onenet", "lightnet"])


@pytest.mark.parametrize("dims", [2, 3])
def test_a_group_reaches_two_groups_after_the_roll(dims):
    first, second = (ShiftGroupConv(dims, 12, 12, 4, shift=2, norm=None, act="elu") for _ in range(2))
    x = torch.randn(1, 12, *[4] * dims, requires_grad=True)
    second.conv(first(x))[:, 4:8].sum().backward()
    reached = x.grad.abs().flatten(2).sum((0, 2)).view(3, 4).any(1)
    assert reached.tolist() == [True, True, False]
    x.grad = None
    first(x)[:, 4:6].sum().backward()
    assert x.grad.abs().flatten(2).sum((0, 2)).view(3, 4).any(1).tolist() == [True, False, False]


def test_lightnet_sees_the_sum_of_the_channels():
    net, x = backbone("lightnet", 2, in_channels=3).eval(), torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(net(x).output, net(x[:, [2, 0, 1]]).output)
    torch.testing.assert_close(net(x).output, net(torch.cat([x.sum(1, keepdim=True), 0 * x[:, 1:]], 1)).output)


def test_lightnet_multiplies_from_the_last_feature_to_the_first():
    net = backbone("lightnet", 2).eval()
    a, b = torch.randn(2, 16, 3, 3), torch.randn(2, 16, 3, 3)
    first, second = net.encoder.fuse.stages
    torch.testing.assert_close(net.encoder.fuse([a, b, b]), second(first(b * b) * a))


@NETS
def test_the_published_dilations_and_taps(key):
    with torch.device("meta"):
        net = {"onenet": OneNet, "lightnet": LightNet}[key](2, 3, 2)
    layers = [layer for stage in net.encoder.stages for layer in stage.blocks]
    assert [layer.conv.conv.dilation[0] for layer in layers] == [*[1] * 3, *[2] * 4, *[4] * 6, 8, 16, 32]
    lengths = torch.tensor([len(stage.blocks) for stage in net.encoder.stages]).cumsum(0)
    assert [int(lengths[tap]) for tap in net.encoder.taps] == [3, 7, 12, 13, 13, 14, 15, 16]
    assert {layer.conv.conv.groups for layer in layers} == {layer.conv.norm.num_groups for layer in layers} == {64}


@NETS
def test_a_stage_that_nothing_is_taken_after_is_refused(key):
    with pytest.raises(ValueError, match=r"taps is \[0, 0\]; expected every one of the 2 stages"):
        backbone(key, 2, taps=[0, 0])


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="group_width is 5; expected a divisor of the 12 channels"):
        ShiftGroupConv(2, 12, 12, 5, shift=2)
