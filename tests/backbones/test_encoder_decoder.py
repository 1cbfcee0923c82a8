"""The encoder-decoder: sizes, settings, and what it refuses."""

from __future__ import annotations

import json
import re

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.layers.drop_path import DropPath
from torch import nn

from flemme_monai import backbones
from flemme_monai.architectures import HSeM
from flemme_monai.backbones import CNN, ConvFamily, DNet, MambaFamily, Swin, SwinFamily, SwinU, UNet, ViTU, VMambaU
from flemme_monai.blocks import Stage
from tests.networks import ENCODERS, PLAIN, backbone, image


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


FLEMMES = {"channels": (64, 128), "middle_channels": (256, 256)}  # the widths of its configs


def test_flemmes_unet_has_its_size():
    assert count(UNet(2, 1, 1, **FLEMMES, final_channels=(64, 64))) == pytest.approx(4_064_257, rel=0.03)


def test_flemmes_swinu_has_its_size():
    assert count(SwinU(2, 1, 1, **FLEMMES, family=SwinFamily(window_size=8))) == pytest.approx(3_607_279, rel=0.03)


def test_flemmes_vitu_and_vmambau_have_their_sizes():
    assert count(ViTU(2, 1, 1, **FLEMMES)) == pytest.approx(3_599_179, rel=0.03)
    assert count(VMambaU(2, 1, 1, **FLEMMES)) == pytest.approx(4_540_000, rel=0.03)


@pytest.mark.parametrize("encoder", ["ViT", "Swin", "VMamba"])
@pytest.mark.parametrize("kind", ["", "double_", "res_"])
def test_sequence_blocks_come_alone_or_in_pairs(encoder, kind):
    cls = getattr(backbones, encoder)
    for name in cls.family_type.block_names:
        settings = {"num_heads": 2} if encoder != "VMamba" else {"head_width": 4, "state_size": 2}
        net = backbone(encoder, 2, family=cls.family_type(block=kind + name, **settings))
        blocks = net.encoder.stages[1].blocks  # 8 channels in, 16 out: a linear map stands after the first
        assert len(blocks) == (5 if kind == "double_" else 3)
        net(image(2)).output.sum().backward()
        assert all(p.grad is not None for p in net.parameters())


def test_transformers_without_windows_know_where_they_are():
    """A transformer sees a set of tokens: without a position embedding a turned image gives a turned output."""
    turned = image(2).flip(2)
    for given, knows in ((None, True), (False, False)):
        net = backbone("ViT", 2, patch_size=1, channels=(8,), middle_channels=(8,), strides=1, position_embedding=given)
        if knows:
            nn.init.normal_(next(net.encoder.position_embedding.parameters()))
        net.eval()
        same = torch.allclose(net(turned).output.flip(2), net(turned.flip(2)).output, atol=1e-5)
        assert same != knows


def test_one_position_is_too_few_for_instance_norm():
    net = UNet(2, 1, 1, family=ConvFamily(norm="instance"))
    with pytest.raises(ValueError, match=r"image size \(8, 8\) is the network's total stride.*use \(16, 16\) or more"):
        net(torch.rand(2, 1, 8, 8))
    assert net(torch.rand(2, 1, 16, 8)).output.shape == (2, 1, 16, 8)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_features_and_latent_have_the_widths_it_tells(encoder):
    net = backbone(encoder, 2)
    out = net(image(2))
    assert [f.shape[1] for f in out.features] == net.feature_channels == [16, 8]
    assert out.latent.shape[1] == net.latent_channels == 16


@pytest.mark.parametrize("encoder", PLAIN)
def test_a_plain_network_sees_the_image_through_its_latent_alone(encoder):
    net = backbone(encoder, 2).eval()
    latent, skips = net.encode(image(2))
    output = net.decode(latent, skips).output
    torch.testing.assert_close(output, net.decode(latent, [torch.zeros_like(s) for s in skips]).output)
    torch.testing.assert_close(output, net.decode(latent, []).output)


@pytest.mark.parametrize("encoder", [e for e in ENCODERS if e not in PLAIN])
def test_a_connected_network_sees_the_skips_too(encoder):
    net = backbone(encoder, 2).eval()
    latent, skips = net.encode(image(2))
    for i in range(len(skips)):
        other = [torch.zeros_like(s) if i == j else s for j, s in enumerate(skips)]
        assert not torch.allclose(net.decode(latent, skips).output, net.decode(latent, other).output)


def test_an_indivisible_size_names_the_sizes_that_fit():
    with pytest.raises(ValueError, match=re.escape("sizes that fit are (16, 24) or (24, 24)")):
        backbone("UNet", 2)(torch.randn(1, 1, 20, 24))


def test_a_wrong_number_of_channels_is_named():
    with pytest.raises(ValueError, match=re.escape("shape (1, 3, 16, 16); expected (batch, 1, H, W) for this 2D")):
        backbone("UNet", 2)(torch.randn(1, 3, 16, 16))


def test_a_volume_in_a_2d_network_is_named():
    with pytest.raises(ValueError, match="set spatial_dims and in_channels"):
        backbone("SwinU", 2)(torch.randn(1, 1, 16, 16, 16))


@pytest.mark.parametrize("name", ["timesteps", "context"])
def test_a_condition_is_refused_that_the_network_was_not_built_for(name):
    with pytest.raises(ValueError, match=f"{name} given, but this backbone was built without"):
        backbone("UNet", 2)(image(2), **{name: torch.zeros(2)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims is 1; expected 2 or 3"),
        ({"middle_channels": ()}, "expected at least one width"),
        ({"patch_size": [2, 2, 2]}, "patch_size is [2, 2, 2]; expected a positive number, or 2 of them"),
        ({"strides": [2, 2, 2]}, "one entry for each of the 2 stages"),
        ({"strides": [[2, 2, 1], 2]}, "strides is [2, 2, 1]; expected a positive number, or 2 of them"),
        ({"num_blocks": [1, 1]}, "num_blocks has 2 values ([1, 1]) and none for level 2; expected"),
        ({"num_blocks": [1, 0, 1]}, "num_blocks is [1, 0, 1]; expected at least one block"),
        ({"latent_size": 8}, "latent_size=8 with skip connections"),
        ({"family": SwinFamily()}, "UNet is made of ConvFamily blocks, but family is a SwinFamily"),
        ({"decoder_family": "swin"}, "decoder_family is 'swin'; expected the settings of a family, such as"),
        ({"drop_path": 0.1}, "drop_path is 0.1; expected 0 for ConvFamily blocks"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        UNet(**{"spatial_dims": 2, "in_channels": 1, "out_channels": 1, **settings})


def test_a_misspelt_setting_in_json_is_refused():
    config = {"net": {"_target_": "flemme_monai.backbones.UNet", "spatial_dims": 2, "in_channels": 1, "out_chanels": 1}}
    with pytest.raises(RuntimeError) as error:
        ConfigParser(json.loads(json.dumps(config))).get_parsed_content("net")
    assert "out_chanels" in str(error.value.__cause__)


def test_blocks_a_stage_can_differ():
    net = backbone("UNet", 2, num_blocks=[1, 2, 3])
    assert [len(s.blocks) for s in net.encoder.stages] == [1, 2]
    assert [len(s.blocks) for s in net.encoder.middle] == [3]
    assert [len(s.blocks) for s in net.decoder.stages] == [2, 1]


def test_drop_path_rises_along_the_encoder_and_falls_along_the_decoder():
    net = backbone("SwinU", 2, drop_path=0.3, channels=(8, 8), middle_channels=(8,))

    def rates(stages):
        return [getattr(b.drop_path, "drop_prob", 0.0) for s in stages for b in s.blocks if hasattr(b, "drop_path")]

    encoder, decoder = rates([*net.encoder.stages, *net.encoder.middle]), rates(net.decoder.stages)
    assert encoder == sorted(encoder)
    assert encoder[-1] == pytest.approx(0.3)
    assert decoder == sorted(decoder, reverse=True)
    assert decoder[-1] == pytest.approx(0.0)


@pytest.mark.parametrize("encoder", ["UNet", "ViTU", "SwinU", "VMambaU"])
def test_checkpointing_changes_no_gradient(encoder):
    plain, saving = backbone(encoder, 2), backbone(encoder, 2, checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    x = image(2)
    for net in (plain, saving):
        net(x).output.square().mean().backward()
    for p, q in zip(plain.parameters(), saving.parameters()):
        torch.testing.assert_close(p.grad, q.grad)
    torch.testing.assert_close(saving.state_dict(), plain.state_dict())  # the running statistics of norms too


@pytest.mark.parametrize("encoder", ["UNet", "SwinU", "DNet"])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_memory_format_changes_no_number(encoder, dims):
    a, b = (backbone(encoder, dims, channels_last=flag).eval() for flag in (False, True))
    b.load_state_dict(a.state_dict())
    x = image(dims)
    torch.testing.assert_close(a(x).output, b(x).output, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("dims", "memory_format"), [(2, torch.channels_last), (3, torch.channels_last_3d)], ids=["2D", "3D"]
)
def test_the_encoder_works_in_the_memory_format_that_is_set(dims, memory_format, channels_last):
    net = backbone("UNet", dims, in_channels=3, channels_last=channels_last)
    seen = []
    net.encoder.patch_embedding.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].is_contiguous(memory_format=memory_format))
    )
    net(image(dims, channels=3))
    assert seen == [channels_last]


@pytest.mark.parametrize(("cls", "dims"), [(CNN, 2), (CNN, 3), (Swin, 2)])
def test_a_latent_vector_takes_images_of_any_size(cls, dims):
    family = SwinFamily(window_size=2) if cls is Swin else None
    net = cls(dims, 1, 1, family=family, patch_channels=8, channels=(8,), middle_channels=(8,), latent_size=5)
    for size in (16, 24):
        x = torch.randn(1, 1, *[size] * dims)
        assert net(x).output.shape == x.shape


def test_a_latent_vector_is_all_that_passes():
    net = CNN(2, 1, 1, patch_channels=8, channels=(8,), middle_channels=(8,), latent_size=1).eval()
    latents = torch.stack([net(torch.randn(1, 1, 16, 16)).latent.flatten() for _ in range(4)])
    # four latents on a line: a vector of length 1 and a linear map
    assert torch.linalg.matrix_rank(latents - latents[0], rtol=1e-4) == 1


def test_a_position_embedding_fits_any_size():
    net = backbone("UNet", 2, position_embedding=True)
    for size in ((16, 16), (32, 8)):
        assert net(torch.randn(1, 1, *size)).output.shape[2:] == size


def test_dense_connections_with_thin_volumes():
    net = DNet(3, 1, 1, patch_size=[2, 2, 1], patch_channels=8, channels=(8, 8, 8), middle_channels=(8,),
               strides=[[2, 2, 1], 2, 2], family=ConvFamily(norm="instance"))  # fmt: skip
    x = torch.randn(1, 1, 32, 32, 8)
    assert net(x).output.shape == x.shape


def test_an_output_of_the_last_stages_width_is_still_projected():
    net = backbone("CNN", 2, out_channels=8, family=ConvFamily(up_mode="interpolate"))
    assert net.eval()(image(2)).output.min() < 0


DECODERS = [("UNet", SwinFamily(window_size=2)), ("SwinU", ConvFamily(block="res_conv", norm="group", num_groups=4)),
            ("VMambaD", ConvFamily()), ("ViT", MambaFamily(state_size=2)), ("CNN", ConvFamily(norm=None))]  # fmt: skip


@pytest.mark.parametrize(("encoder", "family"), DECODERS)
@pytest.mark.parametrize("dims", [2, 3])
def test_the_decoder_may_be_of_another_family(encoder, family, dims):
    net = HSeM(backbone(encoder, dims, decoder_family=family)).train()
    usual = backbone(encoder, dims)

    def kinds(module: nn.Module) -> set[type]:
        return {type(block) for stage in module.modules() if isinstance(stage, Stage) for block in stage.blocks}

    assert kinds(net.backbone.encoder) == kinds(usual.encoder)
    own = kinds(family.stage(dims, 8, 8, 0, [0.0]))
    assert own <= kinds(net.backbone.decoder)
    assert kinds(net.pyramid) == kinds(family.pyramid_block(dims, 8, 0))
    assert type(net.backbone.decoder.up[0]) is type(family.up(dims, 8, 8, [2] * dims))
    out = net(image(dims))
    sum(level.square().mean() for level in out).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_only_the_half_that_has_residual_branches_drops_them():
    net = backbone("SwinU", 2, decoder_family=ConvFamily(), drop_path=0.3)
    assert any(isinstance(module, DropPath) for module in net.encoder.modules())
    assert not any(isinstance(module, DropPath) for module in net.decoder.modules())
    other = backbone("UNet", 2, decoder_family=SwinFamily(window_size=2), drop_path=0.3)
    assert any(isinstance(module, DropPath) for module in other.decoder.modules())


def test_a_decoder_whose_norm_needs_two_positions_is_given_them():
    net = backbone("ViTU", 2, decoder_family=ConvFamily(norm="instance"))
    with pytest.raises(ValueError, match="its latent has one position"):
        net(torch.randn(2, 1, 8, 8))


def test_the_first_half_alone_has_the_same_weights():
    net = backbone("CNN", 2, latent_size=4).eval()
    half, x = net.without_decoder(), image(2)
    names = {name for name in net.state_dict() if not name.startswith("decoder.")}
    assert half.state_dict().keys() == names
    assert all(a is b for a, b in zip(half.parameters(), net.parameters()))
    assert torch.equal(half(x), net(x).latent)
