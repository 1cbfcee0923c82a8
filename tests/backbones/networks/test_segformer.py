"""SegFormer: its sizes, its head."""

from __future__ import annotations

import re

import pytest
import torch

from flemme_monai.backbones.networks import SegFormer
from tests.foreign import SMALL, backbone, image


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
    with pytest.raises(ValueError, match="size is 'B6'; expected one of B0, B1, B2, B3, B4, B5"):
        SegFormer(2, 3, 2, size="B6")


def test_sizes_may_be_written_small():
    with torch.device("meta"):
        counts = [sum(p.numel() for p in SegFormer(2, 3, 150, size=size).parameters()) for size in ("b2", "B2")]
    assert counts == [27_461_974] * 2


def test_weights_of_the_trunk_are_loaded(tmp_path):
    there = backbone("segformer", 2)
    torch.save(there.encoder.state_dict(), tmp_path / "mit.pth")
    here = backbone("segformer", 2, encoder_weights=str(tmp_path / "mit.pth"))
    x = image(here)
    torch.testing.assert_close(here.eval().encoder(x)[0], there.eval().encoder(x)[0])


def test_published_checkpoints_give_trunk_and_head(tmp_path, caplog):
    there, state = backbone("segformer", 2), {}
    for key, tensor in there.decoder.state_dict().items():
        name = re.sub(r"stages\.(\d)\.blocks\.0\.", lambda m: f"linear_c.{3 - int(m[1])}.proj.", key)
        name = name.replace("fuse.blocks.0.conv", "linear_fuse").replace("fuse.blocks.0.norm", "batch_norm")
        name = name.replace("output_layer.conv", "classifier")
        state[f"decode_head.{name}"] = tensor[:, :, 0, 0] if "linear_c." in name and tensor.ndim == 4 else tensor
    torch.save({**there.encoder.state_dict(), **state}, tmp_path / "segformer.pth")
    here = backbone("segformer", 2, weights=str(tmp_path / "segformer.pth"))
    assert all(torch.equal(a, b) for a, b in zip(here.state_dict().values(), there.state_dict().values()))
    with caplog.at_level("INFO"):
        SegFormer(2, 1, 5, **SMALL["segformer"], weights=str(tmp_path / "segformer.pth"))
    assert "output_layer.conv.weight is not loaded: (2, 8, 1, 1) in the file and (5, 8, 1, 1) here" in caplog.text


@pytest.mark.parametrize("form", ["in memory", "file"])
def test_transformers_gives_the_same_logits(form, tmp_path):
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    torch.manual_seed(0)
    sizes = {"hidden_sizes": [4, 8, 10, 16], "depths": [1, 2, 1, 1], "num_attention_heads": [1, 2, 5, 8]}
    config = transformers.SegformerConfig(**sizes, decoder_hidden_size=8, num_labels=3)
    theirs = transformers.SegformerForSemanticSegmentation(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    if form == "file":
        theirs.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
    else:
        path = tmp_path / "memory.pth"
        torch.save(theirs.state_dict(), path)
    ours = SegFormer(2, 3, 3, channels=[4, 8, 10, 16], depths=[1, 2, 1, 1], head_channels=8, weights=str(path)).eval()
    x, seen = torch.randn(2, 3, 64, 32), []
    ours.output_layer().conv.register_forward_hook(lambda _, inputs, out: seen.append(out))
    ours(x)
    torch.testing.assert_close(seen[0], theirs(x).logits, rtol=1e-4, atol=1e-4)
