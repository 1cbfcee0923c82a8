"""The variational auto-encoder: MONAI's interface, its two modes, and what it refuses."""

from __future__ import annotations

import re
from itertools import product

import pytest
import torch
from monai.inferers import LatentDiffusionInferer
from monai.networks.nets import AutoencoderKL

from flemme_monai.architectures import DDPM, LDM, VAE
from flemme_monai.backbones import ConditioningConfig
from flemme_monai.diffusion import make_scheduler
from flemme_monai.losses import VAELoss
from tests.networks import DIMS, ENCODERS, PLAIN, SIZES, backbone, image

CLASS = ConditioningConfig(context="class", context_size=3, channels=8)


def vae(encoder: str = "CNN", dims: int = 2, **settings) -> VAE:
    conditioning = settings.pop("conditioning", None)
    return VAE(backbone(encoder, dims, in_channels=1, out_channels=1, conditioning=conditioning), **settings)


@pytest.mark.parametrize(("encoder", "dims"), product(PLAIN, DIMS))
def test_a_spatial_latent_has_the_total_stride(encoder, dims):
    net, x = vae(encoder, dims, latent_channels=3), image(dims)
    mean, deviation = net.encode(x)
    assert mean.shape == deviation.shape == (2, 3, *(n // 8 for n in SIZES[dims]))
    assert (deviation > 0).all()
    z = net.sampling(mean, deviation)
    assert z.shape == mean.shape
    assert net.decode(z).shape == net.reconstruct(x).shape == x.shape


@pytest.mark.parametrize(("encoder", "dims"), product(PLAIN, DIMS))
def test_a_latent_vector_is_decoded_to_the_image_size_it_was_given(encoder, dims):
    net = vae(encoder, dims, latent_size=5, image_size=SIZES[dims])
    mean, deviation = net.encode(image(dims))
    assert mean.shape == deviation.shape == (2, 5)
    assert net.decode(torch.randn(4, 5)).shape == (4, 1, *SIZES[dims])
    assert net.reconstruct(image(dims)).shape == (2, 1, *SIZES[dims])


def test_its_methods_are_those_of_monai_s_autoencoder():
    ours = vae(latent_channels=3).eval()
    theirs = AutoencoderKL(2, 1, 1, (1, 1), (8, 8), (False, False), latent_channels=3, norm_num_groups=4).eval()
    x = image(2)
    for net in ours, theirs:
        mean, deviation = net.encode(x)
        assert mean.shape[:2] == deviation.shape[:2] == (2, 3)
        assert net.sampling(mean, deviation).shape == mean.shape
        assert net.decode(mean).shape == net.reconstruct(x).shape == x.shape
        assert net.encode_stage_2_inputs(x).shape == mean.shape
        assert net.decode_stage_2_outputs(mean).shape == x.shape


def test_evaluation_takes_the_mean():
    net, x = vae().eval(), image(2)
    assert torch.equal(net(x), net.decode(net.encode(x)[0]))
    assert torch.equal(net(x), net.reconstruct(x))


def test_training_draws_and_gives_what_the_loss_needs():
    net, x = vae("ViT").train(), image(2)
    (one, mean, deviation), (other, again, _) = net(x), net(x)
    assert torch.equal(mean, again)
    assert not torch.equal(one, other)
    VAELoss(torch.nn.MSELoss())([one, mean, deviation], x).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_latents_have_the_mean_and_the_deviation_of_their_image():
    net = vae().eval()
    mean, deviation = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.1, 3.0]])
    drawn = net.sampling(mean.expand(20000, 2), deviation.expand(20000, 2))
    torch.testing.assert_close(drawn.mean(0), mean[0], rtol=0, atol=0.1)
    torch.testing.assert_close(drawn.std(0), deviation[0], rtol=0.03, atol=0)


def test_latents_are_reparameterised():
    mean, deviation = torch.zeros(1, 4, requires_grad=True), torch.ones(1, 4, requires_grad=True)
    z = vae().sampling(mean, deviation)
    by_mean, by_deviation = torch.autograd.grad(z.sum(), (mean, deviation))
    assert torch.equal(by_mean, torch.ones(1, 4))
    torch.testing.assert_close(by_deviation, z.detach())


def test_a_latent_for_diffusion_is_drawn_and_not_the_mean():
    net, x = vae().eval(), image(2)
    mean, deviation = net.encode(x)
    drawn = torch.stack([net.encode_stage_2_inputs(x) for _ in range(400)])
    error = (drawn.mean(0) - mean) / deviation * 20  # standard errors
    assert error.abs().max() < 5
    torch.testing.assert_close(drawn.std(0), deviation, rtol=0.25, atol=0)


@pytest.mark.parametrize("encoder", [e for e in ENCODERS if e not in PLAIN])
def test_connections_are_refused_with_the_reason(encoder):
    kind = "dense" if encoder.endswith("D") or encoder == "DNet" else "skip"
    with pytest.raises(
        ValueError,
        match=rf"VAE needs an image from a latent alone, which {encoder} does not give: its {kind} connections show",
    ):
        vae(encoder)


@pytest.mark.parametrize(
    ("of_backbone", "settings", "message"),
    [
        ({}, {"latent_size": 4}, "latent_size and image_size go together"),
        ({}, {"image_size": (16, 24)}, "latent_size and image_size go together"),
        ({}, {"latent_size": 4, "image_size": (16, 20)}, "image_size is [16, 20]; expected 2 multiples of the total"),
        ({}, {"latent_size": 4, "image_size": (16, 24, 8)}, "image_size is [16, 24, 8]; expected 2 multiples"),
        ({"latent_size": 4}, {}, "the backbone's latent_size would come before the VAE's latent"),
        ({"conditioning": ConditioningConfig(timesteps=True, channels=8)}, {}, "expected none in a VAE"),
    ],
)
def test_settings_that_do_not_fit_are_refused(of_backbone, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        VAE(backbone("CNN", 2, **of_backbone), **settings)


def test_a_time_step_is_refused():
    with pytest.raises(ValueError, match="timesteps given, but a VAE takes none"):
        vae()(image(2), torch.tensor([1, 2]))


@pytest.mark.parametrize("side", ["encoder", "decoder", "both"])
@pytest.mark.parametrize("combine", ["add", "cat"])
def test_a_conditional_vae_hears_the_class_on_its_side(side, combine):
    conditioning = ConditioningConfig(context="class", context_size=3, channels=8, combine=combine, side=side)
    net = vae(conditioning=conditioning).eval()
    x, (a, b) = image(2), torch.tensor([[0, 1], [2, 0]])
    one, other = net.encode(x, a)[0], net.encode(x, b)[0]
    assert torch.equal(one, other) == (side == "decoder")
    assert torch.equal(net.decode(one, a), net.decode(one, b)) == (side == "encoder")
    assert not torch.equal(net(x, context=a), net(x, context=b))


def test_a_conditional_vae_receives_its_context_in_both_modes_and_at_every_call():
    net = vae(conditioning=CLASS, latent_size=4, image_size=SIZES[2])
    label = torch.tensor([0, 2])
    assert len(net.train()(image(2), context=label)) == 3
    assert net.eval()(image(2), context=label).shape == (2, 1, *SIZES[2])
    with pytest.raises(ValueError, match="needs them at every call"):
        net(image(2))


@pytest.mark.parametrize("denoiser", [DDPM, LDM])
@pytest.mark.parametrize("dims", DIMS)
def test_monai_s_latent_diffusion_takes_it_as_it_is(denoiser, dims):
    autoencoder = vae(dims=dims, latent_channels=2).eval()
    conditioning = ConditioningConfig(timesteps=True, context="class", context_size=3, channels=8)
    unet = denoiser(backbone("UNet", dims, 2, 2, patch_size=1, strides=1, conditioning=conditioning))
    scheduler = make_scheduler("ddim", 100)
    inferer, label = LatentDiffusionInferer(scheduler, scale_factor=0.5), torch.tensor([0, 2])
    size = [n // 8 for n in SIZES[dims]]
    noise, steps = torch.randn(2, 2, *size), torch.tensor([3, 60])
    predicted = inferer(image(dims), autoencoder, unet, noise, steps, label)
    predicted.mean().backward()
    assert predicted.shape == noise.shape
    assert all(p.grad is None for p in autoencoder.parameters())
    assert any(p.grad is not None and p.grad.any() for p in unet.parameters())

    scheduler.set_timesteps(5)
    samples = inferer.sample(noise, autoencoder, unet.eval(), scheduler, conditioning=label, verbose=False, cfg=2.0)
    assert samples.shape == (2, 1, *SIZES[dims])
    assert samples.isfinite().all()
