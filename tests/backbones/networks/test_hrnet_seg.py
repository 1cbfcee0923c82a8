"""HRNet for segmentation: all branches make the output, at the finest one's resolution."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.blocks import linear_resize
from tests.foreign import backbone, image


def test_all_branches_are_joined_at_a_quarter_of_the_image():
    net = backbone("hrnet", 2).eval()
    x = image(net)
    branches = net.encoder.branches(x)
    size = list(branches[0].shape[2:])
    joined = torch.cat([linear_resize(branch, size) for branch in branches], 1)
    logits = net.decoder.output_layer(net.decoder.head(joined))
    torch.testing.assert_close(net(x).output, linear_resize(logits, list(x.shape[2:])))


def test_features_are_the_branches_joined_up_to_each():
    net = backbone("hrnet", 2).eval()
    out = net(image(net))
    assert net.feature_channels == [24, 28, 30]
    assert [64 // f.shape[2] for f in out.features] == [16, 8, 4]


def test_denoisers_are_refused():
    with pytest.raises(ValueError, match="interpolated by 4"):
        backbone("hrnet", 2).require("denoise", "DDPM")
