"""TransUNet: a ResNet that halves every size exactly, tokens of its feature, weights by JAX's names."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flemme_monai.backbones.encoder_weights import load_encoder_weights
from flemme_monai.backbones.extractors.resnetv2 import ResNetV2
from flemme_monai.backbones.networks import TransUNet
from flemme_monai.blocks.standardized import SamePool, StandardizedConv2d, standardized
from tests.foreign import SMALL, backbone, image

PARTS = {"conv": "kernel", "gn": "scale"}


def by_jaxs_names(encoder: torch.nn.Module) -> dict[str, np.ndarray]:
    """The weights of the ResNet and of a Vision Transformer's first and last layers as Flax has them."""
    found = {}
    for key, tensor in encoder.state_dict().items():
        form = tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.view(1, 1, 1, -1)
        if root := re.match(r"resnet\.stages\.0\.blocks\.0\.(conv|gn)\.(weight|bias)", key):
            part, kind = root.groups()
            found[f"{part}_root/{PARTS[part] if kind == 'weight' else kind}"] = form
        elif unit := re.match(r"resnet\.stages\.(\d)\.blocks\.(\d+)\.((?:conv|gn)\w+)\.(weight|bias)", key):
            block, index, part, kind = unit.groups()
            kind = PARTS[re.match("conv|gn", part)[0]] if kind == "weight" else kind
            found[f"block{block}/unit{int(index) + 1}/{part}/{kind}"] = form
        elif key.startswith("vit.patch_embed"):
            found[f"embedding/{'kernel' if tensor.ndim == 4 else 'bias'}"] = form if tensor.ndim == 4 else tensor
        elif key == "vit.pos_embed.grid":
            found["Transformer/posembed_input/pos_embedding"] = F.pad(tensor.flatten(2).mT, [0, 0, 1, 0])
        elif key.startswith("vit.norm"):
            found[f"Transformer/encoder_norm/{'scale' if key.endswith('weight') else 'bias'}"] = tensor
        elif linear := re.match(r"vit\.stages\.(\d)\.blocks\.0\.mlp\.fc(\d)\.(weight|bias)", key):
            i, layer, kind = linear.groups()
            name = f"Transformer/encoderblock_{i}/MlpBlock_3/Dense_{int(layer) - 1}"
            found[f"{name}/{'kernel' if kind == 'weight' else 'bias'}"] = tensor.mT if tensor.ndim == 2 else tensor
    return {key: tensor.numpy() for key, tensor in found.items()}


def test_weights_by_jaxs_names_are_loaded_into_both(tmp_path):
    torch.manual_seed(0)
    there, here = backbone("transunet", 2, 3).encoder, backbone("transunet", 2, 3).encoder
    for parameter in there.parameters():
        torch.nn.init.normal_(parameter)
    arrays = by_jaxs_names(there)
    np.savez(tmp_path / "R50+ViT-B_16.npz", **arrays)
    load_encoder_weights(here, tmp_path / "R50+ViT-B_16.npz")
    own, theirs = here.state_dict(), there.state_dict()
    loaded = [key for key in own if torch.equal(own[key], theirs[key])]
    assert sorted({key.partition(".stages.")[0] for key in own if key not in loaded}) == ["vit"]
    assert len(loaded) == len(arrays)
    assert {"conv_root/kernel", "block3/unit2/conv2/kernel", "block2/unit1/gn_proj/bias"} <= arrays.keys()


def test_standardized_weights_have_mean_0_and_variance_1():
    weight = standardized(3 + 0.5 * torch.randn(4, 3, 3, 3)).flatten(1)
    torch.testing.assert_close(weight.mean(1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(weight.var(1, correction=0), torch.ones(4))


@pytest.mark.parametrize(("kernel_size", "around"), [(7, (2, 3)), (3, (0, 1)), (1, (0, 0))])
def test_strides_pad_behind_as_the_weights_own_code(kernel_size, around):
    conv = StandardizedConv2d(1, 1, kernel_size, 2)
    assert conv.around == [*around, *around]
    assert conv(torch.randn(1, 1, 16, 32)).shape[2:] == (8, 16)


def test_pooling_has_no_border_in_front():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    torch.testing.assert_close(SamePool(2)(x), torch.tensor([[[[10.0, 11], [14, 15]]]]))


@pytest.mark.parametrize("dims", [2, 3])
def test_skips_have_half_a_quarter_and_an_eighth_of_any_size(dims):
    net = backbone("transunet", dims)
    size = [48, 16, 32][:dims]
    latent, skips = net.encode(torch.randn(1, 1, *size))
    for stride, skip in zip((2, 4, 8), skips):
        assert list(skip.shape[2:]) == [n // stride for n in size]
    assert list(latent.shape[2:]) == [n // 16 for n in size]


def test_groups_of_the_published_resnet():
    with torch.device("meta"):
        net = ResNetV2(2, 3)
    assert {m.num_groups for m in net.modules() if isinstance(m, torch.nn.GroupNorm)} == {32}
    assert net.feature_channels == [64, 256, 512, 1024]
    assert [len(stage.blocks) for stage in net.stages] == [1, 3, 4, 9]


def test_every_skip_reaches_the_output():
    net = backbone("transunet", 2).eval()
    x = image(net)
    latent, skips = net.encode(x)
    for i, skip in enumerate(skips):
        changed = [torch.zeros_like(skip) if j == i else other for j, other in enumerate(skips)]
        assert not torch.equal(net.decode(latent, changed).output, net.decode(latent, skips).output)


def test_other_numbers_of_widths_are_refused():
    with pytest.raises(ValueError, match="decoder_channels has 4 numbers and units 3; expected 5"):
        TransUNet(2, 1, 2, **{**SMALL["transunet"], "decoder_channels": [8] * 4})
