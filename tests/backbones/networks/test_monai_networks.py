"""SegResNet and UNETR: the numbers of MONAI's networks by their weights."""

from __future__ import annotations

import re

import pytest
import torch
from monai.networks import nets

from flemme_monai.backbones.networks import UNETR, SegResNet

UNETR_SIZE = {"feature_size": 4, "hidden_size": 24, "mlp_dim": 48, "num_heads": 3}


@pytest.mark.parametrize("dims", [2, 3])
def test_the_numbers_of_segresnet_are_those_of_monai(dims):
    other, net = nets.SegResNet(dims, 8, 2, 3).eval(), SegResNet(dims, 2, 3).eval()
    weights = {}
    for key, value in other.state_dict().items():
        if key.startswith("act_mod"):
            continue
        key = re.sub(r"down_layers\.(\d)\.0\.", r"encoder.downs.\1.", key)
        key = re.sub(r"down_layers\.(\d)\.(\d)", lambda m: f"encoder.stages.{m[1]}.blocks.{int(m[2]) - 1}", key)
        for pattern, name in (
            (r"convInit\.", "encoder.downs.0.0."),
            (r"up_layers\.(\d)\.", r"decoder.stages.\1.blocks."),
            (r"up_samples\.(\d)\.0\.", r"decoder.ups.\1.0."),
            (r"conv_final\.", "decoder.output_layer."),
        ):
            key = re.sub(pattern, name, key)
        weights[key] = value
    net.load_state_dict(weights)
    x = torch.randn(1, 2, *([16] * dims))
    torch.testing.assert_close(net(x).output, other(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_numbers_of_unetr_are_those_of_monai(dims):
    other = nets.UNETR(2, 3, 32, spatial_dims=dims, **UNETR_SIZE).eval()
    net = UNETR(dims, 2, 3, position_grid=2, **UNETR_SIZE).eval()
    weights = {k: torch.zeros_like(v) for k, v in net.state_dict().items() if re.search(r"(query|key_value)\.bias", k)}
    for key, value in other.state_dict().items():
        if "norm_cross_attn" in key:  # which nothing uses
            continue
        if key.endswith("position_embeddings"):
            value = value.transpose(1, 2).unflatten(2, [2] * dims)
        block = re.match(r"vit\.blocks\.(\d+)\.", key)
        if block is not None:
            index, stage = int(block[1]), 0
            for depth in (4, 3, 3):
                if index >= depth:
                    index, stage = index - depth, stage + 1
                else:
                    break
            key = key.replace(block[0], f"encoder.transformer.{stage}.blocks.{index}.")
        if key.endswith("attn.qkv.weight"):
            weights[key.replace("attn.qkv", "token_mixer.query")], value = value[:24], value[24:]
        for pattern, name in (
            (r"attn\.qkv", "token_mixer.key_value"),
            (r"attn\.out_proj", "token_mixer.proj"),
            (r"mlp\.linear", "mlp.fc"),
            (r"vit\.norm", "encoder.norm"),
            (r"vit\.patch_embedding\.patch_embeddings", "encoder.patch_embedding.conv"),
            (r"vit\.patch_embedding\.position_embeddings", "encoder.position_embedding.grid"),
            (r"^encoder1\.", "decoder.fuses.3.block."),
            (r"^encoder([234])", lambda m: f"decoder.fuses.{4 - int(m[1])}.block"),
            (r"^decoder([2345])\.transp_conv", lambda m: f"decoder.ups.{5 - int(m[1])}.conv"),
            (r"(decoder\.ups\.\d\.conv)\.conv", r"\1"),
            (r"^decoder([2345])\.conv_block", lambda m: f"decoder.stages.{5 - int(m[1])}.blocks.0"),
            (r"^out\.", "decoder.output_layer."),
        ):
            key = re.sub(pattern, name, key)
        weights[key] = value
    net.load_state_dict(weights)
    x = torch.randn(1, 2, *([32] * dims))
    torch.testing.assert_close(net(x).output, other(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SegResNet(2, 1, 2, norm="layer"), "norm is 'layer'; expected one of group"),
        (lambda: SegResNet(2, 1, 2, blocks_up=(1, 1)), "expected 3 entries"),
        (lambda: UNETR(2, 1, 2, norm="group"), "norm is 'group'; expected one of instance"),
        (lambda: UNETR(2, 1, 2, depths=(4, 4, 4)), "expected four numbers"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
