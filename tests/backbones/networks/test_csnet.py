"""What CS-Net does besides the table."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.networks import CSNet
from tests.foreign import backbone, image


def speaking(net: CSNet) -> CSNet:
    """With attention that is not weighed by the zeros that it begins with."""
    attention = net.decoder.center.blocks[0]
    for part in attention.positions, attention.channels:
        torch.nn.init.constant_(part.gamma, 0.7)
    return net.eval()


@pytest.mark.parametrize("dims", [2, 3])
def test_queries_look_along_one_axis_and_keys_along_another(dims):
    attention = backbone("csnet", dims).decoder.center.blocks[0].positions.branch
    assert attention.query.conv.kernel_size == (1, 1, 3)[-dims:]
    assert attention.key.conv.kernel_size == (3, 1, 1)[:dims]


def test_the_bottom_is_the_sum_of_two_attentions():
    net = speaking(backbone("csnet", 2))
    x = torch.randn(2, 8, 4, 6)
    center = net.decoder.center.blocks[0]
    rows = x.flatten(2)
    weights = torch.softmax(-rows @ rows.mT, -1)
    branch = center.positions.branch
    query, key, value = (m(x).flatten(2) for m in (branch.query, branch.key, branch.value))
    positions = value @ torch.softmax(query.mT @ key, -1).mT
    expected = 2 * rows + 0.7 * (positions + weights @ rows)
    torch.testing.assert_close(center(x).flatten(2), expected)


def test_the_logits_of_an_image_do_not_know_the_batch():
    net = speaking(backbone("csnet", 2))
    x = image(net, batch=3)
    torch.testing.assert_close(net(x).output[1:2], net(x[1:2]).output)


def test_the_output_is_logits_and_no_sigmoid():
    net = speaking(backbone("csnet", 2))
    torch.nn.init.constant_(net.decoder.output_layer.bias, -5.0)
    assert net(image(net)).output.min() < -1
