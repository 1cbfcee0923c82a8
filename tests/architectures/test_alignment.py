"""Spatial transformers: what they do to an image, and that predictions stay in the image's own frame."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flemme_monai.architectures import SDM, Aligned, HSeM, SeM, SpatialTransformer
from flemme_monai.backbones import ConditioningConfig
from flemme_monai.backbones.networks import PlainConvUNet
from flemme_monai.inferers import WindowInferer
from flemme_monai.utils.network_config import build_network, config_of
from tests.networks import CONDITIONING, SIZES, backbone, image

KINDS = [(dims, transform) for dims in (2, 3) for transform in ("affine", "rigid", "translation")]


class Threshold(nn.Module):
    """Logits of a background and of what is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-20 * x, 20 * x], 1)


class Levels(nn.Module):
    """The image itself at four resolutions, of which the last is coarse along one axis alone."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x, F.avg_pool2d(x, 2), F.avg_pool2d(x, 4), F.avg_pool2d(x, (4, 1))]


def fixed(dims: int, transform: str, *parameters: float, **settings) -> SpatialTransformer:
    """A spatial transformer of one transform for all images."""
    alignment = SpatialTransformer(dims, 1, transform, **settings)
    limits = alignment.limits
    with torch.no_grad():
        alignment.head.bias.copy_(limits * torch.atanh(torch.tensor(parameters) / limits))
    return alignment


def blob(size: tuple[int, ...], *offset: float, radius: float = 4.0) -> torch.Tensor:
    """A Gaussian (1, 1, *size) whose centre is some voxels away from the image's."""
    axes = torch.meshgrid([torch.arange(n) - (n - 1) / 2 for n in size], indexing="ij")
    return (-sum((a - o) ** 2 for a, o in zip(axes, offset)) / (2 * radius**2)).exp()[None, None]


def some(count: int, batch: int = 2) -> torch.Tensor:
    """Parameters of small transforms."""
    return torch.empty(batch, count).uniform_(-0.2, 0.2)


@pytest.mark.parametrize(("dims", "transform"), KINDS)
def test_a_new_transformer_is_the_identity(dims, transform):
    alignment, x = SpatialTransformer(dims, 1, transform), image(dims)
    parameters = alignment(x)
    turns = dims * (dims - 1) // 2
    assert parameters.shape == (2, dims + {"translation": 0, "rigid": turns, "affine": dims + 2 * turns}[transform])
    assert not parameters.any()
    torch.testing.assert_close(alignment.warp(x, parameters), x, rtol=0, atol=2e-5)
    torch.testing.assert_close(alignment.warp_back(x, parameters, list(SIZES[dims])), x, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("dims", "transform"), KINDS)
def test_the_inverse_in_closed_form_is_the_inverse(dims, transform):
    alignment = SpatialTransformer(dims, 1, transform).double()
    parameters = some(len(alignment.limits)).double()
    torch.testing.assert_close(alignment.inverse(parameters), torch.linalg.inv(alignment.linear(parameters)))
    if transform != "affine":
        torch.testing.assert_close(alignment.linear(parameters).det(), torch.ones(2).double())


@pytest.mark.parametrize(("dims", "transform"), KINDS)
def test_an_image_warped_and_warped_back_is_the_image_to_interpolation_error(dims, transform):
    alignment = SpatialTransformer(dims, 1, transform, outside="border")
    size = (48, 64, 40)[:dims]
    x = blob(size, *(3, -5, 2)[:dims]).expand(2, -1, *size)
    parameters = some(len(alignment.limits))
    warped = alignment.warp(x, parameters)
    assert (warped - x).abs().max() > 0.2
    # linear interpolation of a Gaussian of deviation 4 errs by up to d h^2 / 8 / 4^2 a time, by twice that after two
    assert (alignment.warp_back(warped, parameters, list(size)) - x).abs().max() < 2 * dims / 8 / 16 * 1.5


def test_a_turn_is_a_turn_in_images_that_are_not_square():
    alignment = SpatialTransformer(2, 1, "rigid")
    turned = alignment.warp(blob((32, 64), 0, 10), torch.tensor([[0.0, 0.0, math.pi / 2]]))
    torch.testing.assert_close(turned, blob((32, 64), 10, 0), rtol=0, atol=1e-2)


def test_a_shift_is_in_halves_of_the_image_along_its_axis():
    alignment = SpatialTransformer(2, 1, "translation")
    shifted = alignment.warp(blob((32, 64), 4, 16, radius=3.0), torch.tensor([[0.25, 0.5]]))
    torch.testing.assert_close(shifted, blob((32, 64), 0, 0, radius=3.0), rtol=0, atol=1e-2)


@pytest.mark.parametrize(("dims", "parameters"), [(2, (0.2, -0.3, 0.7)), (3, (0.2, -0.3, 0.1, 0.7, -0.4, 0.2))])
def test_a_prediction_is_in_the_frame_of_the_image(dims, parameters):
    """The original (JMedSeg) moves the image and compares what comes out with a label that has not moved."""
    net = Aligned(Threshold(), fixed(dims, "rigid", *parameters)).eval()
    size = (40, 64, 48)[:dims]
    x = blob(size, *(5, -8, 3)[:dims], radius=5.0) - 0.5
    truth, found = x[:, 0] > 0, net(x).argmax(1) == 1
    moved = Threshold()(net.alignment.warp(x, net.alignment(x))).argmax(1) == 1

    def dice(mask):
        return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())

    assert dice(found) > 0.97
    assert dice(moved) < 0.6


def test_every_prediction_of_a_list_is_warped_back_at_its_own_resolution():
    net = Aligned(Levels(), fixed(2, "affine", 0.1, -0.2, 0.5, 0.2, -0.1, 0.1, outside="border")).train()
    x = blob((64, 96), 4, -6, radius=8.0)
    *levels, parameters = net(x)
    torch.testing.assert_close(parameters, torch.tensor([[0.1, -0.2, 0.5, 0.2, -0.1, 0.1]]))
    warped = Levels()(net.alignment.warp(x, parameters))
    for level, moved, expected, error in zip(levels, warped, Levels()(x), (0.02, 0.04, 0.12, 0.08), strict=True):
        torch.testing.assert_close(level, expected, rtol=0, atol=error)
        assert (moved - expected).abs().max() > 0.3


def test_what_the_view_does_not_show_is_background_or_as_its_border():
    shift = (0.0, 0.5)  # the view is a quarter of the image further right
    for classes in (3, 1):
        y = torch.randn(1, classes, 16, 32)
        for outside in ("background", "nothing", "border"):
            alignment = SpatialTransformer(2, 1, "translation", outside=outside)
            back = alignment.warp_back(y, torch.tensor([shift]), [16, 32])
            torch.testing.assert_close(back[..., 8:], y[..., :-8], rtol=0, atol=1e-4)
            hidden = back[..., :8]
            if outside == "border":
                torch.testing.assert_close(hidden, y[..., :1].expand(-1, -1, -1, 8), rtol=0, atol=1e-4)
            elif classes == 1 or outside == "nothing":
                assert (hidden.sigmoid() < 0.01).all()
            else:
                assert (hidden.softmax(1)[:, 0] > 0.99).all()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("architecture", [SeM, HSeM])
def test_an_untrained_alignment_changes_no_logits(architecture, dims):
    plain = architecture(backbone("UNet", dims)).eval()
    net = architecture(backbone("UNet", dims), alignment=SpatialTransformer(dims, 1)).eval()
    missing = net.load_state_dict(plain.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    assert all(key.startswith("alignment.") for key in missing.missing_keys)
    x = image(dims)
    torch.testing.assert_close(net(x), plain(x), rtol=0, atol=1e-3)
    *predictions, parameters = net.train()(x)
    expected = plain.train()(x)
    shapes = [t.shape for t in (expected if isinstance(expected, list) else [expected])]
    assert [t.shape for t in predictions] == shapes
    assert parameters.shape == (2, 6 if dims == 2 else 12)


@pytest.mark.parametrize("kind", ["levels", "sides"])
def test_levels_and_side_outputs_are_warped_back_too(kind):
    alignment = fixed(2, "rigid", 0.2, -0.1, 1.0, outside="border")
    if kind == "levels":
        plain = HSeM(backbone("UNet", 2)).train()
        net = HSeM(plain.backbone, alignment=alignment).train()
        net.pyramid = plain.pyramid
    else:
        plain = SeM(PlainConvUNet(2, 1, 2, channels=(4, 8, 8, 8), deep_supervision=True)).train()
        net = SeM(plain.backbone, alignment=alignment).train()
    x = torch.randn(2, 1, 32, 64)
    *found, parameters = net(x)
    there = plain(alignment.warp(x, parameters))
    assert len(found) == len(there) == 1 + net.num_levels > 1
    for prediction, warped in zip(found, there):
        torch.testing.assert_close(prediction, alignment.warp_back(warped, parameters, [32, 64]))
        assert (prediction - warped).abs().max() > 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_gradients_reach_the_network_that_aligns(dims):
    net = HSeM(backbone("UNet", dims), alignment=SpatialTransformer(dims, 1)).train()
    nn.init.normal_(net.alignment.head.weight, std=0.1)
    *predictions, _ = net(image(dims))
    sum(t.square().mean() for t in predictions).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.alignment.parameters())


def test_mixed_precision_moves_no_position():
    alignment = SpatialTransformer(2, 1)
    x, parameters = torch.randn(2, 1, 40, 56), some(6)
    expected = alignment.warp_back(alignment.warp(x, parameters), parameters, [40, 56])
    with torch.autocast("cpu", torch.bfloat16):
        assert alignment(x).dtype == torch.float32
        found = alignment.warp_back(alignment.warp(x, parameters), parameters, [40, 56])
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("dims", "transform", "outside"),
    [
        (2, "affine", "background"),
        (3, "rigid", "border"),
        *(pytest.param(*row, "background", marks=pytest.mark.slow) for row in KINDS[1:]),
    ],
)
def test_scripting_keeps_the_numbers_at_another_size(dims, transform, outside):
    net = HSeM(backbone("UNet", dims), alignment=SpatialTransformer(dims, 1, transform, outside)).eval()
    nn.init.normal_(net.alignment.head.weight, std=0.3)
    x = torch.randn(2, 1, *((24, 8) if dims == 2 else (8, 16, 8)))
    assert net.alignment(x).any()
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))
    alone = Aligned(Threshold(), net.alignment).eval()
    torch.testing.assert_close(torch.jit.script(alone)(x), alone(x))


def test_windows_of_an_image_are_aligned_one_by_one_and_put_together_in_its_frame():
    net = Aligned(Threshold(), SpatialTransformer(2, 1, "rigid")).eval()
    nn.init.normal_(net.alignment.head.weight, std=0.05)
    x = blob((80, 112), 10, -20, radius=9.0) + blob((80, 112), -12, 25, radius=7.0) - 0.5
    found = WindowInferer(roi_size=[32, 32], overlap=0.5)(x, net).argmax(1) == 1
    truth = x[:, 0] > 0
    parameters = torch.cat([net.alignment(w) for w in (x[..., :32, :32], x[..., 24:56, 24:56])])
    assert (parameters[0] - parameters[1]).abs().max() > 0.02
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95


def test_a_record_builds_the_network_again():
    net = SeM(backbone("UNet", 2), alignment=SpatialTransformer(2, 1, "rigid", channels=(8, 8), size=16))
    again = build_network(config_of(net))
    assert config_of(again) == config_of(net)
    again.load_state_dict(net.state_dict())


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="transform is 'afine'; expected one of affine, rigid, translation"):
        SpatialTransformer(2, 1, "afine")
    with pytest.raises(ValueError, match="outside is 'zero'; expected one of background, nothing, border"):
        SpatialTransformer(2, 1, outside="zero")
    with pytest.raises(ValueError, match="size is 20; expected a multiple of 8"):
        SpatialTransformer(2, 1, size=20)
    with pytest.raises(ValueError, match="alignment has spatial_dims 3 and in_channels 1; expected the backbone's, 2"):
        SeM(backbone("UNet", 2), alignment=SpatialTransformer(3, 1))
    context = ConditioningConfig(context="image", context_size=1, channels=8)
    with pytest.raises(ValueError, match="the backbone's context is an image"):
        SeM(backbone("UNet", 2, conditioning=context), alignment=SpatialTransformer(2, 1))
    with pytest.raises(ValueError, match="network is the backbone UNet; expected a network that gives predictions"):
        Aligned(backbone("UNet", 2), SpatialTransformer(2, 1))
    denoiser = SDM(backbone("UNet", 2, 2, conditioning=CONDITIONING["SDM"]))
    with pytest.raises(ValueError, match="context is an image"):
        Aligned(denoiser, SpatialTransformer(2, 2))(image(2, 2), torch.tensor([1.0, 2.0]), image(2))


def test_images_that_do_not_fit_are_refused_as_without_an_alignment():
    net = SeM(backbone("UNet", 2), alignment=SpatialTransformer(2, 1))
    with pytest.raises(ValueError, match=r"image size \(20, 24\) is not divisible by this network's total stride"):
        net(torch.randn(1, 1, 20, 24))
    with pytest.raises(ValueError, match=r"input has shape \(1, 3, 16, 24\); expected \(batch, 1, H, W\)"):
        net(torch.randn(1, 3, 16, 24))


def half_discs(angles: torch.Tensor, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Discs with a bright half, turned by some angles: images, and label maps (B, 1, size, size) of the halves."""
    row, column = torch.meshgrid(*[torch.arange(size) - (size - 1) / 2] * 2, indexing="ij")
    up = -(row * angles.cos()[:, None, None] + column * angles.sin()[:, None, None])
    disc = row**2 + column**2 < (0.4 * size) ** 2
    label = (disc & (up > 0))[:, None].float()
    return 0.5 * disc.float() + label, label


def direction(half: torch.Tensor) -> torch.Tensor:
    """The angles (B) that bright halves (B, 1, n, n) are turned by, from their centres of mass."""
    place = torch.arange(half.shape[-1]) - (half.shape[-1] - 1) / 2
    down, right = ((half * axis).sum((1, 2, 3)) for axis in (place[:, None], place))
    return torch.atan2(-right, -down)


class Upright(nn.Module):
    """Knows one picture, the upright disc, whatever it is shown."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        label = half_discs(torch.zeros(len(x)))[1]
        return 4 * torch.cat([1 - 2 * label, 2 * label - 1], 1)


def test_a_rotated_disc_is_turned_upright_by_a_trained_transformer():
    """It learns from label maps in the images' frames alone, behind a network that knows the upright one."""
    generator = torch.Generator().manual_seed(0)

    def angles(count):
        return (torch.rand(count, generator=generator) * 2 - 1) * math.pi / 3

    net = Aligned(Upright(), SpatialTransformer(2, 1, "rigid", channels=(8, 16, 16))).train()
    optimizer = torch.optim.Adam(net.parameters(), 0.005)
    for _ in range(150):
        x, label = half_discs(angles(16))
        logits, _ = net(x)
        optimizer.zero_grad()
        F.cross_entropy(logits, label[:, 0].long()).backward()
        optimizer.step()
    given = angles(64)
    x, label = half_discs(given)
    before = direction(label)
    torch.testing.assert_close(before, given, rtol=0, atol=0.05)
    with torch.no_grad():
        after = direction(net.alignment.warp(label, net.eval().alignment(x)))
    assert before.abs().mean() > math.radians(25)
    assert after.abs().mean() < math.radians(5)
