"""Images between two images."""

from __future__ import annotations

import pytest
import torch
from networks import PLAIN, backbone

from flemme_monai.architectures import AE, VAE
from flemme_monai.backbones import ConditioningConfig
from flemme_monai.inferers import InterpolationInferer, latents_of


def autoencoder(architecture, encoder="CNN", spatial_dims=2, **settings):
    return architecture(backbone(encoder, spatial_dims, in_channels=2, **settings)).eval()


@pytest.mark.parametrize("encoder", PLAIN)
@pytest.mark.parametrize("architecture", [AE, VAE])
@torch.no_grad()
def test_both_ends_are_reconstructions(architecture, encoder):
    network = autoencoder(architecture, encoder)
    first, last = torch.rand(2, 1, 2, 16, 24)
    found = InterpolationInferer()(
        first.expand(3, -1, -1, -1), network, last.expand(3, -1, -1, -1), torch.tensor([0.0, 0.5, 1.0])
    )
    torch.testing.assert_close(found[:1], network(first))
    torch.testing.assert_close(found[2:], network(last))
    middle = (latents_of(network, first) + latents_of(network, last)) / 2
    torch.testing.assert_close(found[1:2], network.decode(middle))


@torch.no_grad()
def test_another_autoencoder_than_the_evaluated_network_takes_the_images():
    network, denoiser = autoencoder(VAE), torch.nn.Identity()
    images = torch.rand(1, 2, 16, 16)
    found = InterpolationInferer(network)(images, denoiser, images, torch.tensor([0.3]))
    torch.testing.assert_close(found, network(images))


@torch.no_grad()
def test_both_halves_receive_the_class():
    conditioning = ConditioningConfig(context="class", context_size=3, combine="cat", channels=8)
    network = autoencoder(AE, conditioning=conditioning)
    images, label = torch.rand(1, 2, 16, 16), torch.tensor([2])
    found = InterpolationInferer()(images, network, images, torch.tensor([0.3]), label)
    torch.testing.assert_close(found, network(images, context=label))
    assert not torch.allclose(found, network(images, context=torch.tensor([1])))


@torch.no_grad()
def test_a_latent_vector_is_a_latent_too():
    network = autoencoder(AE, latent_size=6)
    images = torch.rand(1, 2, 16, 24)
    torch.testing.assert_close(network.decode(network.encode(images)), network(images))


def test_an_auto_encoder_whose_latent_is_not_all_refuses_to_decode():
    latent = torch.rand(1, 16, 2, 2)
    with pytest.raises(ValueError, match="skip connections show the decoder the image past the latent"):
        autoencoder(AE, "UNet").decode(latent)
    network = AE(backbone("CNN", 2, 1, 1), residual=True)
    with pytest.raises(ValueError, match="residual=True adds the input to the output"):
        network.decode(network.encode(torch.rand(1, 1, 16, 16)))
