"""SegNet: values return to where the encoder's pools found them, and the decoder mirrors the encoder."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from flemme_monai.backbones.fuses import Unpool
from tests.foreign import backbone, image


@pytest.mark.parametrize("dims", [2, 3])
def test_values_return_to_where_the_maxima_were(dims):
    x = torch.rand(2, 3, *[4, 8, 6][:dims]) + 1
    pooled, indices = (F.max_pool2d if dims == 2 else F.max_pool3d)(x, 2, return_indices=True)
    back = Unpool()(pooled, indices)
    assert back.shape == x.shape
    assert (back > 0).sum() == pooled.numel()
    assert torch.equal(back[back > 0], x[back > 0])


def test_the_decoder_has_the_encoders_convolutions_in_reverse():
    net = backbone("segnet", 2)
    down = [[block.conv.out_channels for block in stage.blocks] for stage in net.encoder.stages]
    up = [[block.conv.in_channels for block in stage.blocks] for stage in net.decoder.stages]
    assert [len(stage) for stage in down] == [2, 2, 3, 3, 3]
    assert [len(stage) for stage in up] == [3, 3, 3, 2, 1]  # the output layer is the first stage's other
    assert [stage[0] for stage in up] == [stage[-1] for stage in down[::-1]]


def test_where_a_maximum_was_changes_the_output_and_not_the_latent():
    net = backbone("segnet", 2).eval()
    latent, skips = net.encode(image(net))
    moved = [skip.flip(1) for skip in skips]
    assert not torch.allclose(net.decode(latent, skips).output, net.decode(latent, moved).output)
