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


LABEL_TYPES = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.float16]


@pytest.mark.parametrize("size", [(8, 12), (7, 9)])
@pytest.mark.parametrize("dtype", LABEL_TYPES)
def test_labels_of_any_type_have_the_loss_of_float_labels(dtype, size):
    levels = [torch.randn(2, 2, *size), torch.randn(2, 2, 4, 6), torch.randn(2, 2, 2, 3)]
    label = torch.randint(0, 2, (2, 1, *size))
    loss = pyramid_loss(DiceCELoss(to_onehot_y=True, softmax=True), 2)
    torch.testing.assert_close(loss(levels, label.to(dtype)), loss(levels, label.float()))


@pytest.mark.parametrize("dims", [2, 3])
def test_cross_entropy_takes_classes_without_an_axis_of_channels(dims):
    levels = [torch.randn([2, 5] + [n] * dims) for n in (8, 4)]
    label = torch.randint(0, 5, [2] + [8] * dims)
    small = label[(slice(None), *[slice(1, None, 2)] * dims)]  # the centre of two is nearest to the second
    cross_entropy = torch.nn.CrossEntropyLoss()
    expected = cross_entropy(levels[0], label) + cross_entropy(levels[1], small)
    torch.testing.assert_close(pyramid_loss(cross_entropy, 1)(levels, label), expected)


def test_large_integers_stay_whole():
    number = 2**24 + 1  # float32 has no such number
    seen = []
    loss = pyramid_loss(lambda output, target: seen.append(target) or output.sum(), 1)
    loss([torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)], torch.full((1, 1, 4, 4), number))
    assert seen[1].shape == (1, 1, 2, 2)
    assert (seen[1] == number).all()


def test_integer_images_are_resized_by_area():
    image = torch.tensor([[0, 1], [2, 4]], dtype=torch.uint8)[None, None]
    loss = pyramid_loss(torch.nn.L1Loss(), 1, "area")
    assert loss([image.float(), torch.zeros(1, 1, 1, 1)], image) == 7 / 4


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
