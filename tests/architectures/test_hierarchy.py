"""The pyramid of the hierarchical architectures."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.architectures import AE, HAE, HSeM
from flemme_monai.backbones import SwinFamily, UNet, ViTFamily
from tests.networks import CORE, HIERARCHICAL, SIZES, TABLE, backbone, image, network, table


@pytest.mark.parametrize(
    ("architecture", "encoder", "dims"),
    table([row for row in TABLE if row[0] in HIERARCHICAL], [row for row in CORE if row[0] in HIERARCHICAL]),
)
def test_a_level_has_its_native_resolution(architecture, encoder, dims):
    final, *levels = network(architecture, encoder, dims).train()(image(dims))
    assert final.shape == (2, 2, *SIZES[dims])
    # the latent, then the decoder's stages from coarse to fine
    assert [tuple(level.shape) for level in levels] == [
        (2, 2, *(n // stride for n in SIZES[dims])) for stride in (8, 4, 2)
    ]


@pytest.mark.parametrize(
    ("encoder", "family"),
    [("ViTU", ViTFamily(num_heads=(1, 2, 4))), ("SwinU", SwinFamily(num_heads=(1, 2, 4), window_size=2))],
)
def test_a_level_has_the_blocks_of_its_depth_in_the_backbone(encoder, family):
    """The latent comes first, so its block has the settings of the deepest level."""
    net = HSeM(backbone(encoder, 2, family=family))
    heads = [next(m.num_heads for m in block.modules() if hasattr(m, "num_heads")) for block in net.pyramid.levels]
    assert heads == [4, 2, 1]


def test_the_number_of_levels_is_known():
    net = network("HSeM", "UNet", 2)
    assert net.num_levels == len(net.train()(image(2))) - 1 == 3


@pytest.mark.parametrize("fusion", ["cat", "add"])
def test_both_fusions_train(fusion):
    net = HSeM(backbone("UNet", 2), fusion=fusion)
    net.train()(image(2))[0].mean().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("fusion", ["cat", "add"])
def test_the_final_output_is_fused_of_all_levels_and_the_backbones_output(fusion):
    net, seen = HSeM(backbone("UNet", 2), fusion=fusion).train(), {}
    for position in net.pyramid.positions:
        torch.nn.init.zeros_(position.grid)
    net.backbone.register_forward_hook(lambda module, _, out: seen.update(output=out.output))
    net.pyramid.fuse.register_forward_hook(lambda module, taken, out: seen.update(taken=taken[0]))
    _, *levels = net(image(2))
    maps = [torch.nn.functional.interpolate(level, SIZES[2], mode="bilinear") for level in levels] + [seen["output"]]
    torch.testing.assert_close(seen["taken"], torch.cat(maps, 1) if fusion == "cat" else sum(maps))


@pytest.mark.parametrize("architecture", [HSeM, HAE])
def test_levels_that_are_coarse_along_the_first_axis_alone_reach_full_size(architecture):
    net = architecture(backbone("UNet", 2, 1, 1, patch_size=[2, 1], strides=[[2, 1], [2, 1]])).train()
    final, *levels = net(image(2))
    assert final.shape[2:] == SIZES[2]
    assert [tuple(level.shape[2:]) for level in levels] == [(SIZES[2][0] // n, SIZES[2][1]) for n in (8, 4, 2)]
    assert net.num_levels == 3


def test_another_fusion_is_refused():
    with pytest.raises(ValueError, match="fusion is 'sum'; expected one of cat, add"):
        HSeM(backbone("UNet", 2), fusion="sum")


def test_thin_volumes_have_thin_levels():
    net = network("HSeM", "SwinU", 3, patch_size=[2, 2, 1], strides=[[2, 2, 1], 2]).train()
    _, *levels = net(torch.randn(1, 1, 16, 16, 6))
    assert [tuple(level.shape[2:]) for level in levels] == [(2, 2, 3), (4, 4, 6), (8, 8, 6)]


@pytest.mark.parametrize("architecture", [AE, HAE])
def test_a_residual_network_adds_its_scaled_output_to_its_input(architecture):
    net, plain = (architecture(backbone("UNet", 2, out_channels=1), residual=flag).eval() for flag in (True, False))
    x = image(2)
    torch.nn.init.constant_(net.residual.scale, 2.0)
    plain.load_state_dict(net.state_dict(), strict=False)
    torch.testing.assert_close(net(x), x + 2 * (plain(x) - x.mean((2, 3), keepdim=True)))


@pytest.mark.parametrize("encoder", ["CNN", "SwinU", "ViTD"])
@pytest.mark.parametrize("architecture", [AE, HAE])
def test_an_auto_encoder_follows_the_brightness_of_its_image(architecture, encoder):
    net, x = architecture(backbone(encoder, 2, out_channels=1)).train(), image(2)
    for dim, other in zip(net(x), net(0.5 * x + 3)):
        torch.testing.assert_close(other, 0.5 * dim + 3, rtol=1e-4, atol=1e-4)


def test_an_auto_encoder_puts_back_the_mean_and_deviation_of_every_channel():
    net = AE(backbone("CNN", 2, 2, 2)).eval()
    x = torch.randn(2, 2, *SIZES[2]) * torch.tensor([1.0, 5.0]).view(1, 2, 1, 1) + 7
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
    torch.testing.assert_close(net(x), net.backbone((x - mean) / std).output * std + mean)


@pytest.mark.parametrize("channels", [(1, 1), (2, 2), (1, 2)])
@pytest.mark.parametrize("latent_size", [None, 6])
def test_a_latent_alone_makes_the_image_with_its_brightness(channels, latent_size):
    net = AE(backbone("CNN", 2, *channels, latent_size=latent_size)).eval()
    x = 0.3 * torch.randn(2, channels[0], *SIZES[2]) + 2
    torch.testing.assert_close(net.decode(net.encode(x)), net(x), rtol=1e-4, atol=1e-4)


def test_between_two_latents_brightness_changes_evenly():
    net, x = AE(backbone("CNN", 2, out_channels=1)).eval(), torch.randn(2, 1, *SIZES[2])
    dim, bright = net.encode(x), net.encode(x + 4)
    torch.testing.assert_close(net.decode(torch.lerp(dim, bright, 0.25)), net(x) + 1, rtol=1e-4, atol=1e-4)


def test_a_latent_without_statistics_is_refused():
    net = AE(backbone("CNN", 2, out_channels=1))
    with pytest.raises(ValueError, match=r"the latent has 16 channels; expected 16 of the backbone and 2 with"):
        net.decode(torch.randn(1, 16, 2, 3))


@pytest.mark.parametrize("architecture", [AE, HAE])
def test_standardising_has_no_weights(architecture):
    net = architecture(backbone("CNN", 2, out_channels=1))
    assert {name.split(".")[0] for name in net.state_dict()} <= {"backbone", "pyramid"}


@pytest.mark.parametrize("architecture", [AE, HAE])
def test_a_residual_network_starts_with_a_tenth_of_its_output(architecture):
    net = architecture(backbone("UNet", 2, out_channels=1), residual=True)
    outputs = 1 if architecture is AE else 1 + net.num_levels
    torch.testing.assert_close(net.residual.scale, torch.full((outputs,), 0.1))


def test_a_residual_level_corrects_the_image_at_its_resolution():
    net = HAE(backbone("UNet", 2, out_channels=1), residual=True).train()
    torch.nn.init.zeros_(net.residual.scale)
    x = image(2)
    final, *levels = net(x)
    assert torch.equal(final, x)
    for level in levels:
        torch.testing.assert_close(level, torch.nn.functional.interpolate(x, size=level.shape[2:], mode="area"))


@pytest.mark.parametrize("architecture", [AE, HAE])
def test_a_residual_network_follows_the_scale_of_its_image(architecture):
    net = architecture(backbone("SwinU", 2, out_channels=1), residual=True).eval()
    torch.nn.init.constant_(net.residual.scale, 1.0)
    x = image(2)
    torch.testing.assert_close(net(3 * x + 5), 3 * net(x) + 5, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


@pytest.mark.parametrize("architecture", [AE, HAE])
def test_a_residual_network_needs_equal_channels(architecture):
    with pytest.raises(ValueError, match="in_channels is 1 and out_channels 2; expected equal"):
        architecture(backbone("UNet", 2, out_channels=2), residual=True)


def test_a_wide_feature_is_reduced_before_its_block():
    net = HSeM(UNet(2, 1, 2, patch_channels=8, channels=(8, 16), middle_channels=(512,)))
    latent, *others = net.pyramid.levels
    assert latent.reduction.weight.shape == (256, 512, 1, 1)
    assert latent.head.weight.shape == (2, 256, 1, 1)
    assert [level.reduction for level in others] == [None, None]
    assert sum(p.numel() for p in latent.block.parameters()) == 2 * (256 * 256 * 9 + 2 * 256)
    level = net.train()(torch.randn(2, 1, 16, 16))[1]
    assert level.shape == (2, 2, 2, 2)
    level.square().mean().backward()
    assert latent.reduction.weight.grad.any()
