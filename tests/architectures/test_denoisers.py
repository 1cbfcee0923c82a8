"""Denoisers: what they begin with, their levels, and what they refuse."""

from __future__ import annotations

import re
from itertools import product

import pytest
import torch

from flemme_monai.architectures import DDPM, EDM, LDM, SDM, DSeM, HSeM
from flemme_monai.backbones import ConditioningConfig, ConvFamily, SwinFamily
from flemme_monai.losses import pyramid_loss
from tests.networks import CONDITIONING, DENOISERS, DIMS, PLAIN, SIZES, backbone, image, inputs

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
RES_CONV = [f"conv{i}.{j}" for i in (1, 2) for j in ("conv.weight", *(f"norm.{name}" for name in NORM))]
TIME = ConditioningConfig(timesteps=True, channels=8)
CLASSES = {cls.__name__: cls for cls in (DDPM, EDM, SDM, DSeM, LDM)}


def denoiser(architecture: str, encoder: str = "UNet", dims: int = 2, fusion: str | None = None, **settings):
    net = backbone(encoder, dims, 2, 2, conditioning=CONDITIONING[architecture], **settings)
    return CLASSES[architecture](net, fusion)


@pytest.mark.parametrize("fusion", ["cat", "add"])
@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("architecture", DENOISERS)
def test_a_hierarchical_denoiser_has_levels_of_their_native_resolution(architecture, dims, fusion):
    net, x = denoiser(architecture, dims=dims, fusion=fusion), inputs(architecture, dims)
    final, *levels = net.train()(*x)
    assert net.num_levels == len(levels) == 3
    assert final.shape == (2, 2, *SIZES[dims])
    assert [tuple(level.shape[2:]) for level in levels] == [tuple(n // s for n in SIZES[dims]) for s in (8, 4, 2)]
    assert net.eval()(*x).shape == final.shape


@pytest.mark.parametrize("encoder", PLAIN)
@pytest.mark.parametrize("fusion", ["cat", "add"])
def test_every_level_of_every_family_trains(encoder, fusion):
    net, x = denoiser("EDM", encoder, fusion=fusion), inputs("EDM", 2)
    loss = pyramid_loss(torch.nn.MSELoss(), net.num_levels, "area")
    loss(net.train()(*x), x[0]).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


CONDITIONINGS = [
    TIME,
    ConditioningConfig(True, "gate", context="class", context_size=3, channels=8, side="decoder"),
    ConditioningConfig(timesteps=True, context="image", context_size=1, channels=8, injection="cross_attention"),
    ConditioningConfig(timesteps=True, context="position", context_size=2, channels=8, combine="add"),
]


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("encoder", ["UNet", "SwinU"])
def test_every_level_receives_the_conditions_of_the_decoder(encoder, conditioning):
    net = DDPM(backbone(encoder, 2, conditioning=conditioning), "cat")
    for level in net.pyramid.levels:
        conditional = [
            injection for injection in level.block.injections if getattr(injection, "time", None) is not None
        ]
        assert len(conditional) == 1
        assert (conditional[0].context is not None) == (conditioning.context is not None and conditioning.injects)


def test_a_level_s_block_changes_with_the_time():
    net = denoiser("DDPM", fusion="cat").eval()
    for parameter in net.pyramid.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    feature = torch.randn(1, 16, 2, 3)
    one, other = (net.backbone.embed(1, [16, 24], torch.tensor([step])) for step in (3, 700))
    level = net.pyramid.levels[0]
    assert not torch.allclose(level(feature, one), level(feature, other))


def test_an_unconditional_pyramid_has_the_weights_of_its_blocks_alone():
    names = {name for name in HSeM(backbone("UNet", 2)).state_dict() if ".block." in name}
    assert names == {f"pyramid.levels.{i}.block.blocks.0.{name}" for i in range(3) for name in RES_CONV}


@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_an_image_alone_is_taken_in_evaluation_at_time_zero_under_no_context(conditioning, scripted):
    net, x = DDPM(backbone("UNet", 2, 2, conditioning=conditioning)).eval(), image(2, 2)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    size = {"class": (2,), "position": (2, 2), "image": (2, 1, *SIZES[2])}.get(conditioning.context)
    context = None if size is None else torch.full(size, -1)
    if conditioning.context == "image":
        context = context.float()
    expected = net(x, torch.zeros(2), context)
    torch.testing.assert_close((torch.jit.script(net) if scripted else net)(x), expected)


def test_an_image_alone_is_denoised_by_edm_at_the_deviation_of_the_images():
    net = EDM(backbone("UNet", 2, 2, 2, conditioning=TIME), sigma_data=0.4).eval()
    x = image(2, 2)
    torch.testing.assert_close(net(x), net(x, torch.full((2,), 0.4)))
    torch.testing.assert_close(net(x), x / 2)


@pytest.mark.parametrize("architecture", DENOISERS)
def test_missing_time_steps_are_refused_in_training(architecture):
    net, (x, *_) = denoiser(architecture).train(), inputs(architecture, 2)
    with pytest.raises(ValueError, match="timesteps are missing"):
        net(x)


def test_missing_time_steps_are_refused_beside_a_context():
    net, (x, _, context) = denoiser("SDM").eval(), inputs("SDM", 2)
    with pytest.raises(ValueError, match="timesteps are missing"):
        net(x, context=context)


def test_a_plain_denoiser_has_no_level():
    net = denoiser("DDPM")
    assert net.num_levels == 0
    assert isinstance(net.train()(*inputs("DDPM", 2)), torch.Tensor)


@pytest.mark.parametrize("fusion", [None, "cat", "add"])
@pytest.mark.parametrize(("encoder", "dims"), product(PLAIN, DIMS))
@pytest.mark.parametrize("architecture", ["DDPM", "SDM", "LDM"])
def test_it_begins_with_zero(architecture, encoder, dims, fusion):
    assert not denoiser(architecture, encoder, dims, fusion).eval()(*inputs(architecture, dims)).any()


@pytest.mark.parametrize("patch_size", [1, 2])
@pytest.mark.parametrize(
    ("encoder", "family"),
    [
        *(("UNet", ConvFamily(up_mode=up)) for up in ("conv", "interpolate")),
        *(("SwinU", SwinFamily(window_size=2, num_heads=2, up_mode=up)) for up in ("conv", "interpolate")),
    ],
)
def test_it_begins_with_zero_however_patches_are_recovered(encoder, family, patch_size):
    net = denoiser("DDPM", encoder, family=family, patch_size=patch_size).eval()
    assert not net(*inputs("DDPM", 2)).any()


@pytest.mark.parametrize("fusion", [None, "cat", "add"])
def test_edm_begins_with_the_best_guess_that_ignores_the_image(fusion):
    """c_skip(s) x, equation 7 with F = 0."""
    net = EDM(backbone("UNet", 2, 2, 2, conditioning=TIME), fusion, sigma_data=0.4).eval()
    x, sigma = inputs("EDM", 2)
    c_skip = 0.4**2 / (sigma**2 + 0.4**2)
    torch.testing.assert_close(net(x, sigma), c_skip.view(2, 1, 1, 1) * x)


def test_every_level_of_edm_is_preconditioned_at_its_resolution():
    data = 0.5
    net = EDM(backbone("UNet", 2, 2, 2, conditioning=TIME), "cat", data).train()
    for head in [*(level.head for level in net.pyramid.levels), net.pyramid.fuse]:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.ones_(head.bias)  # F = 1 everywhere
    x, sigma = inputs("EDM", 2)
    s = sigma.view(2, 1, 1, 1)
    c_skip, c_out = data**2 / (s**2 + data**2), s * data / (s**2 + data**2).sqrt()
    for stride, level in zip((1, 8, 4, 2), net(x, sigma)):
        torch.testing.assert_close(level, c_skip * torch.nn.functional.avg_pool2d(x, stride) + c_out)


def test_levels_of_edm_may_be_coarse_along_the_first_axis_alone():
    net = EDM(backbone("UNet", 2, 2, 2, conditioning=TIME, patch_size=[2, 1], strides=[[2, 1], [2, 1]]), "cat").train()
    _, *levels = net(*inputs("EDM", 2))
    assert [tuple(level.shape[2:]) for level in levels] == [(SIZES[2][0] // n, SIZES[2][1]) for n in (8, 4, 2)]


def test_edm_shows_its_backbone_a_scaled_image_and_the_logarithm_of_sigma():
    net, seen = EDM(backbone("UNet", 2, 2, 2, conditioning=TIME)).eval(), []
    net.backbone.register_forward_pre_hook(lambda module, args: seen.extend(args))
    x, sigma = inputs("EDM", 2)
    net(x, sigma)
    torch.testing.assert_close(seen[0], x / (sigma**2 + 0.25).sqrt().view(2, 1, 1, 1))
    torch.testing.assert_close(seen[1], 1000 * sigma.log() / 4)


def test_a_sigma_of_each_sample_is_its_own():
    net = denoiser("EDM").eval()
    torch.nn.init.normal_(net.backbone.decoder.output_layer.conv.weight)
    x, sigma = inputs("EDM", 2)
    torch.testing.assert_close(net(x[1:], sigma[1:]), net(x, sigma)[1:])


@pytest.mark.parametrize(
    ("architecture", "conditioning"),
    [
        *product(("DDPM", "EDM", "LDM"), [None]),
        ("DDPM", ConditioningConfig(context="class", context_size=2, channels=8)),
    ],
)
def test_a_backbone_without_time_steps_is_refused(architecture, conditioning):
    with pytest.raises(ValueError, match=f"{architecture} needs a backbone that takes time steps"):
        CLASSES[architecture](backbone("UNet", 2, 2, 2, conditioning=conditioning))


@pytest.mark.parametrize(
    "conditioning", [TIME, ConditioningConfig(timesteps=True, context="class", context_size=2, channels=8)]
)
def test_sdm_without_an_image_as_context_is_refused(conditioning):
    with pytest.raises(ValueError, match="set conditioning#context to 'image'"):
        SDM(backbone("UNet", 2, conditioning=conditioning))


def test_sdm_refuses_a_condition_of_another_size_and_none():
    net, (x, steps, _) = denoiser("SDM"), inputs("SDM", 2)
    with pytest.raises(ValueError, match=re.escape("context has shape (2, 1, 8, 8)")):
        net(x, steps, torch.rand(2, 1, 8, 8))
    with pytest.raises(ValueError, match="built with conditioning#context and needs them"):
        net(x, steps)


def test_edm_refuses_to_add_what_does_not_fit():
    with pytest.raises(ValueError, match="in_channels is 1 and out_channels 2; expected equal"):
        EDM(backbone("UNet", 2, 1, 2, conditioning=TIME))


@pytest.mark.parametrize("sigma_data", [0.0, -1.0])
def test_images_without_deviation_are_refused(sigma_data):
    with pytest.raises(ValueError, match="sigma_data is"):
        EDM(backbone("UNet", 2, 2, 2, conditioning=TIME), sigma_data=sigma_data)


def test_another_fusion_is_refused():
    with pytest.raises(ValueError, match="fusion is 'sum'; expected one of cat, add"):
        denoiser("DDPM", fusion="sum")


def test_the_scale_of_latents_is_saved_with_the_weights():
    net = denoiser("LDM")
    assert net.scale_factor == 0
    net.scale_factor.fill_(0.3)
    other = denoiser("LDM")
    other.load_state_dict(net.state_dict())
    assert other.scale_factor == net.scale_factor


def test_a_condition_is_dropped_sample_by_sample():
    conditioning = ConditioningConfig(True, context="class", context_size=3, channels=8, drop=0.5)
    net = DDPM(backbone("ViT", 2, conditioning=conditioning)).train()
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.5)
    x, steps = image(2, batch=1).expand(24, -1, -1, -1), torch.full((24,), 9)
    outputs = net(x, steps, torch.ones(24, dtype=torch.long)).flatten(1)
    given = torch.cdist(outputs, outputs[:1]).flatten() < 1e-4  # those under the conditions of the first
    assert 3 < given.sum() < 21
    assert (torch.cdist(outputs[~given], outputs[~given]) < 1e-4).all()
