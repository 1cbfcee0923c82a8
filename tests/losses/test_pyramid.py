"""The pyramid loss equals its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss

from flemme_monai.losses import pyramid_loss
from tests.networks import image, network


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_the_final_loss_plus_the_mean_over_the_levels(dims):
    net = network("HSeM", "UNet", dims).train()
    final, *levels = net(image(dims))
    label = torch.randint(0, 2, (2, 1, *final.shape[2:])).float()
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    expected = loss(final, label)
    for level in levels:
        expected = expected + loss(level, F.interpolate(label, level.shape[2:], mode="nearest-exact")) / len(levels)
    torch.testing.assert_close(pyramid_loss(loss, net.num_levels)([final, *levels], label), expected)


def test_images_are_resized_by_area():
    final, level = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 4, 4)
    target = torch.rand(1, 1, 8, 8)
    loss = torch.nn.L1Loss()
    expected = loss(final, target) + loss(level, F.avg_pool2d(target, 2))
    torch.testing.assert_close(pyramid_loss(loss, 1, "area")([final, level], target), expected)


def test_a_plain_output_is_the_plain_loss():
    output, target = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(pyramid_loss(torch.nn.L1Loss(), 3)(output, target), F.l1_loss(output, target))


def test_a_network_without_levels_has_the_plain_loss():
    output, target = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(pyramid_loss(torch.nn.L1Loss(), 0)(output, target), F.l1_loss(output, target))


def test_a_negative_number_of_levels_is_refused():
    with pytest.raises(ValueError, match="num_levels is -1; expected the network's num_levels"):
        pyramid_loss(torch.nn.L1Loss(), -1)
