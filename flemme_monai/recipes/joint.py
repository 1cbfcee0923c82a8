"""Latent diffusion that is trained together with its autoencoder: ``joint.json``, over ``train_diffusion.json``."""

from __future__ import annotations

from .base import Config, Workflow, component
from .denoiser import AVERAGE, denoising_loss
from .metrics import FROM_TRAINING, image_loss, psnr
from .noise_process import noise_by_process, process_inferer


def joint_training(autoencoder_def: Config, kind: Config) -> Workflow:
    """``joint.json``: one training of the sum of both losses, whose weights are the denoiser's and the autoencoder's.

    Args:
        autoencoder_def: the autoencoder.
        kind: the settings of what it is.
    """
    noise, same_noise = (joint_inferer(prepare) for prepare in noise_by_process())
    reconstruction = {**image_loss(data_range=2.0), "terms": "@reconstruction_terms"}
    autoencoding = component("flemme_monai.losses.VAELoss", reconstruction=reconstruction, kl_weight="@kl_weight")
    prepare = component(
        "flemme_monai.data.AutoencodingPrepareBatch", condition_key="@condition_key", argument="condition"
    )
    return Workflow(
        settings={**kind, "reconstruction_terms": ["mse"], "kl_weight": 0.0001},
        components={
            "datalist#autoencoder_record": None,
            "autoencoder_def": autoencoder_def,
            "network_def#autoencoder": "@autoencoder_def",
            "autoencoder": f"{AVERAGE}.autoencoder",
            "latent_space#denoiser": AVERAGE,
            "loss": component("flemme_monai.losses.JointLoss", autoencoding=autoencoding, denoising=denoising_loss()),
            "train#prepare_batch": prepare,
            "train#inferer": noise,
            "train#key_metric": {"train_psnr": psnr(2.0, FROM_TRAINING)},
            "validate#prepare_batch": "@train#prepare_batch",
            "validate#inferer": same_noise,
        },
    )


def joint_inferer(prepare: Config) -> Config:
    """Both halves on a batch of images; ``prepare`` noises latents."""
    return component("flemme_monai.diffusion.JointInferer", prepare=prepare, inferer=process_inferer())
