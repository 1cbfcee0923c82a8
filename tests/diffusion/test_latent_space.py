"""Latents of a frozen autoencoder have unit variance and come back as images."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from flemme_monai.architectures import LDM, VAE
from flemme_monai.diffusion import LatentSpace
from tests.networks import CONDITIONING, backbone


class Halves(nn.Module):
    """An autoencoder, exact for images whose 2x2 squares are of one value."""

    latent_channels = 1

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(4.0))

    def encode(self, images):
        mean = nn.functional.avg_pool2d(images, 2) * self.gain
        return mean, torch.zeros_like(mean)

    def encode_stage_2_inputs(self, images):
        return self.encode(images)[0]

    def decode_stage_2_outputs(self, latents):
        return nn.functional.interpolate(latents / self.gain, scale_factor=2)


class Denoiser(nn.Module):
    """What a latent space asks of one."""

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.backbone = SimpleNamespace(in_channels=in_channels)
        self.register_buffer("scale_factor", torch.zeros(()))


def images():
    return nn.functional.interpolate(torch.randn(16, 1, 8, 8), scale_factor=2)


def test_latents_have_unit_variance_and_come_back():
    denoiser, x = Denoiser(), images()
    space = LatentSpace(Halves(), denoiser)
    space.fit_scale([{"image": x[:8]}, {"image": x[8:]}])
    assert denoiser.scale_factor.item() == pytest.approx(1 / 4, rel=0.1)
    latents = space.encode(x)
    assert latents.std().item() == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(space.decode(latents), x)


def test_the_scale_is_that_of_the_denoiser_at_any_time():
    denoiser, x = Denoiser(), images()
    space = LatentSpace(Halves(), denoiser)
    denoiser.load_state_dict({"scale_factor": torch.tensor(0.5)})
    torch.testing.assert_close(space.encode(x), Halves().encode_stage_2_inputs(x) * 0.5)


def test_the_autoencoder_is_frozen():
    autoencoder = Halves().train()
    space = LatentSpace(autoencoder, Denoiser())
    assert not autoencoder.training
    assert not autoencoder.gain.requires_grad
    assert not space.encode(images()).requires_grad
    assert not space.decode(torch.rand(1, 1, 4, 4, requires_grad=True)).requires_grad


def test_latents_without_deviation_are_refused():
    for batches in ([], [{"image": torch.ones(2, 1, 8, 8)}]):
        with pytest.raises(ValueError, match="train the autoencoder"):
            LatentSpace(Halves(), Denoiser()).fit_scale(batches)


def test_an_autoencoder_of_other_latents_is_refused():
    with pytest.raises(ValueError, match=r"latents have 1 channels and the denoiser takes 3: set latent_channels"):
        LatentSpace(Halves(), Denoiser(3))


def test_a_latent_vector_is_refused():
    autoencoder = VAE(backbone("CNN", 2, 1, 1), latent_size=4, image_size=(16, 16))
    with pytest.raises(ValueError, match="needs a spatial latent: leave the autoencoder's latent_size out"):
        LatentSpace(autoencoder, Denoiser(4))


def test_our_own_networks_make_a_latent_space():
    autoencoder = VAE(backbone("CNN", 2, 1, 1), latent_channels=2)
    denoiser = LDM(backbone("CNN", 2, 2, 2, patch_size=1, strides=1, conditioning=CONDITIONING["LDM"]))
    space, x = LatentSpace(autoencoder, denoiser), torch.rand(8, 1, 16, 24)
    space.fit_scale([{"image": x}])
    latents = space.encode(x)
    assert latents.shape == (8, 2, 2, 3)
    assert latents.std().item() == pytest.approx(1, rel=0.2)
    assert denoiser(latents, torch.arange(8)).shape == latents.shape
    assert torch.equal(space.encode_mean(x), space.encode_mean(x))
    assert not torch.equal(space.encode(x), space.encode(x))
    torch.testing.assert_close(
        torch.stack([space.encode(x) for _ in range(400)]).mean(0), space.encode_mean(x), rtol=0, atol=0.25
    )
    assert space.decode(latents).shape == x.shape
