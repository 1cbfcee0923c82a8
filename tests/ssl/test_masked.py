"""Masked image modelling: what is hidden, what the encoder sees, and the loss by hand."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from flemme_monai.backbones import ConditioningConfig, ViTFamily
from flemme_monai.registry import NETWORKS
from flemme_monai.ssl import MaskedImageModel, MaskedLoss
from flemme_monai.ssl.masked import from_units, random_mask, to_units
from tests import foreign
from tests.networks import ENCODERS, SIZES, backbone, table

LEFT_OUT = ("ViT", "ViTU", "ViTD")
ROWS = list(product(ENCODERS, (2, 3)))
CORE = [("UNet", 2), ("UNet", 3), ("ViT", 2), ("ViTU", 2), ("ViTD", 3), ("SwinU", 2), ("VMambaU", 2)]
CORE_NETWORKS = ["setr", "unetr", "nnunet", "segformer"]


def model(encoder: str = "UNet", spatial_dims: int = 2, **settings) -> MaskedImageModel:
    return MaskedImageModel(backbone(encoder, spatial_dims), **settings)


def image(spatial_dims: int = 2, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 1, *SIZES[spatial_dims])


@pytest.mark.parametrize(("encoder", "spatial_dims"), table(ROWS, CORE))
def test_any_encoder_reconstructs_and_every_parameter_that_learns_gets_a_gradient(encoder, spatial_dims):
    network = model(encoder, spatial_dims)
    x = image(spatial_dims)
    reconstruction, target, mask = network(x)
    assert reconstruction.shape == x.shape
    assert target is x
    assert mask.shape == (2, 1, *(n // p for n, p in zip(x.shape[2:], network.patch_size)))
    assert network.drops_patches == (encoder in LEFT_OUT)
    MaskedLoss()([reconstruction, target, mask]).backward()
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    assert {name for name, p in network.named_parameters() if p.grad is not None} == learning
    names = {name for name, _ in network.named_parameters()}
    assert {name.split(".")[1] for name in names - learning} == {"decoder"}


@pytest.mark.parametrize(
    "key", [key if key in CORE_NETWORKS else pytest.param(key, marks=pytest.mark.slow) for key in NETWORKS]
)
def test_any_network_reconstructs(key):
    patch_size = None if key in ("setr", "unetr") else 4
    network = MaskedImageModel(foreign.backbone(key, 2), patch_size=patch_size)
    out = network(foreign.image(network.backbone))
    assert out[0].shape == out[1].shape
    loss = MaskedLoss()(out)
    loss.backward()
    assert loss.isfinite()
    assert [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_backbone_keeps_its_names_and_weights():
    own = backbone("UNet", 2)
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    after = MaskedImageModel(own).backbone.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("encoder", ["UNet", "ViT", "ViTU"])
def test_what_is_hidden_changes_nothing(encoder):
    network = model(encoder).eval()
    x = image()
    mask = random_mask(x, network.patch_size, 0.5)
    hidden = torch.nn.functional.interpolate(mask.float(), x.shape[2:]).bool()
    other = torch.where(hidden, torch.randn_like(x), x)
    assert torch.equal(network(x, mask)[0], network(other, mask)[0])
    shown = torch.where(hidden, x, torch.randn_like(x))
    assert not torch.equal(network(x, mask)[0], network(shown, mask)[0])


def test_networks_that_keep_the_image_for_the_decoder_keep_none_of_what_is_hidden():
    network = MaskedImageModel(foreign.backbone("unetr", 2)).eval()  # its first skip is the image
    assert network.drops_patches
    x = torch.randn(1, 1, 32, 32)
    mask = random_mask(x, network.patch_size, 0.5)
    other = torch.where(torch.nn.functional.interpolate(mask.float(), x.shape[2:]).bool(), 9.0, x)
    assert torch.equal(network(x, mask)[0], network(other, mask)[0])


@pytest.mark.parametrize(("encoder", "spatial_dims"), product(LEFT_OUT, (2, 3)))
def test_patches_that_are_left_out_take_nothing_from_the_others(encoder, spatial_dims):
    """The encoder of a Vision Transformer gives visible patches what it gives an image that is made of them alone."""
    network = model(encoder, spatial_dims).eval()
    x = image(spatial_dims)
    seen: list[torch.Size] = []
    network.backbone.encoder.stages[0].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    mask = torch.zeros(2, 1, *(n // 8 for n in SIZES[spatial_dims]), dtype=torch.bool)
    network.completion = torch.nn.Identity()
    network.completion.mask_token = torch.zeros(1)
    whole = network._encode_visible(x, mask)  # nothing hidden: as the encoder itself
    torch.testing.assert_close(whole, network.backbone.encode(x)[0])
    mask[:, :, 0] = True  # half or less of the image
    network._encode_visible(x, mask)
    packed, whole_size = seen[0][2:].numel() * (1 - mask.float().mean()), seen[2][2:].numel()
    assert whole_size == packed


def test_reduced_attention_mixes_neighbours_so_patches_are_filled():
    reduced = backbone("ViT", 2, family=ViTFamily(num_heads=2, spatial_reduction=[2, 1, 1]))
    assert not MaskedImageModel(reduced).drops_patches


def test_the_loss_by_hand():
    torch.manual_seed(1)
    x, r = torch.randn(2, 2, 4, 6, dtype=torch.double), torch.randn(2, 2, 4, 6, dtype=torch.double)
    mask = torch.zeros(2, 1, 2, 3, dtype=torch.bool)
    mask[0, 0, 0, 1] = mask[1, 0, 1, 2] = True
    errors = []
    for b, i, j in ((0, 0, 1), (1, 1, 2)):
        patch, predicted = (t[b, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] for t in (x, r))
        mean = patch.sum() / 8
        variance = ((patch - mean) ** 2).sum() / 7
        errors.append(((predicted - (patch - mean) / (variance + 1e-6) ** 0.5) ** 2).sum() / 8)
    torch.testing.assert_close(MaskedLoss()([r, x, mask]).double(), sum(errors) / 2, rtol=1e-5, atol=1e-6)


def test_the_loss_is_of_hidden_patches_alone():
    x, mask = torch.randn(1, 1, 8, 8), torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    mask[0, 0, 1, 1] = True
    r = torch.zeros_like(x, requires_grad=True)
    MaskedLoss()([r, x, mask]).backward()
    assert r.grad is not None
    assert (r.grad[..., 4:, 4:] != 0).all()
    r.grad[..., 4:, 4:] = 0
    assert (r.grad == 0).all()


def test_the_loss_does_not_see_brightness_and_contrast_of_a_patch():
    x, r = torch.randn(1, 1, 8, 8), torch.randn(1, 1, 8, 8)
    mask = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    torch.testing.assert_close(MaskedLoss()([r, x, mask]), MaskedLoss()([r, 5 * x + 3, mask]), rtol=1e-4, atol=1e-4)


def test_a_flat_patch_is_all_zero():
    mask = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    assert MaskedLoss()([torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 7.0), mask]) == 0


@pytest.mark.parametrize(("ratio", "hidden"), [(0.5, 3), (0.6, 4), (0.01, 1), (0.99, 5)])
def test_a_mask_hides_its_share_and_leaves_something(ratio, hidden):
    mask = random_mask(torch.zeros(50, 1, 16, 24), [8, 8], ratio)
    assert mask.flatten(1).sum(1).eq(hidden).all()
    assert len(mask.flatten(1).unique(dim=0)) > 1
    assert mask.float().mean(0).max() < 1 or ratio > 0.9  # not one place for all


def test_masks_repeat_for_a_seed():
    network, x = model(), image()
    torch.manual_seed(3)
    first = network(x)[2]
    torch.manual_seed(3)
    assert torch.equal(network(x)[2], first)
    assert not torch.equal(network(x)[2], first)


def test_units_are_cells_of_a_grid():
    x = torch.arange(24.0).reshape(1, 1, 4, 6)
    units = to_units(x, [2, 3])
    assert units.shape == (1, 6, 1, 2, 2)
    assert units[0, 1, 0].tolist() == [[2, 3], [8, 9]]
    volume = torch.randn(2, 3, 8, 12, 6)
    assert torch.equal(from_units(to_units(volume, [2, 3, 3]), [2, 3, 3]), volume)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mask_ratio": 1.0}, r"mask_ratio is 1\.0; expected a share above 0 and below 1"),
        ({"patch_size": 0}, "patch_size is 0; expected 1 or more"),
        ({"encoder": "ViT", "patch_size": 4}, r"expected multiples of \(8, 8\) along each axis, the total stride"),
    ],
)
def test_refusals(settings, said):
    with pytest.raises(ValueError, match=said):
        model(**settings)


def test_a_network_under_conditions_is_refused():
    conditional = backbone("UNet", 2, conditioning=ConditioningConfig(timesteps=True, channels=8))
    with pytest.raises(ValueError, match="takes conditions; expected one that sees images alone"):
        MaskedImageModel(conditional)


@pytest.mark.parametrize("size", [(8, 8), (16, 20)])
def test_an_image_that_makes_no_patches_is_refused(size):
    with pytest.raises(ValueError, match="makes no whole number of patches"):
        model()(torch.randn(1, 1, *size))


def test_features_are_of_the_whole_image_at_a_level():
    x = image()
    assert model().features(x).shape == (2, 16)
    assert model(level=0).features(x).shape == (2, 8)
    with pytest.raises(ValueError, match="level is 7; expected 'latent' or a number from 0 to 1"):
        model(level=7).features(x)


@pytest.mark.parametrize("encoder", ["UNet", "ViT"])
def test_training_lowers_the_loss(encoder):
    network = model(encoder)
    ramp = torch.linspace(-1, 1, 24).expand(16, 24)
    x = torch.stack([ramp, ramp.flip(1)])[:, None]  # what is hidden goes on as what is shown
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 0.003)
    losses = []
    for _ in range(70):
        loss = MaskedLoss()(network(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
