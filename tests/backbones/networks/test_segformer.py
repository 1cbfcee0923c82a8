"""SegFormer: its sizes, its head."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.networks import SegFormer
from tests.foreign import backbone, image


def test_the_head_fuses_the_coarsest_feature_first():
    net, seen = backbone("segformer", 2).eval(), []
    net.decoder.fuse.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    out = net(image(net))
    assert seen[0].shape[1] == 4 * 8
    torch.testing.assert_close(seen[0][:, -8:], out.features[-1])
    coarse = torch.nn.functional.interpolate(out.features[0], size=seen[0].shape[2:], mode="bilinear")
    torch.testing.assert_close(seen[0][:, :8], coarse)


def test_its_logits_are_interpolated_by_four():
    net, seen = backbone("segformer", 2).eval(), []
    net.output_layer().conv.register_forward_hook(lambda _, inputs, out: seen.append(out))
    out = net(image(net)).output
    assert [4 * n for n in seen[0].shape[2:]] == list(out.shape[2:])
    with pytest.raises(ValueError, match="interpolated by 4 without a learned layer"):
        net.require("denoise", "DDPM")


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="size is 'b0'; expected one of B0, B1, B2, B3, B4, B5"):
        SegFormer(2, 3, 2, size="b0")


def test_weights_of_the_trunk_are_loaded(tmp_path):
    there = backbone("segformer", 2)
    torch.save(there.encoder.state_dict(), tmp_path / "mit.pth")
    here = backbone("segformer", 2, encoder_weights=str(tmp_path / "mit.pth"))
    x = image(here)
    torch.testing.assert_close(here.eval().encoder(x)[0], there.eval().encoder(x)[0])
