"""Variational auto-encoding: ``vae``."""

from __future__ import annotations

from ..registry import Encoder, Network
from .base import Config, Recipe, Workflow, component, compose
from .conditions import OF_TABLE, STATISTICS
from .generation import (
    FORMAT,
    generation_evaluation,
    generation_evaluation_settings,
    generation_report,
    generation_settings,
    sampling_components,
    sampling_settings,
)
from .handlers import evaluation_handlers, save_latent_tsne, trainer_handlers
from .inference import LATENTS, evaluation_steps, inference_steps, multi_gpu_training
from .interpolation import BETWEEN, OF_CLASS, between_seeds_or_images, interpolation_handlers
from .metrics import FROM_TRAINING, image_loss, psnr, ssim
from .networks import class_conditioning, is_plain, network, smooth_backbone
from .training import (
    case_dataset,
    optimization,
    simple_inferer,
    split_datalist,
    training_part,
    training_steps,
    validation_part,
)
from .transforms import generation_transforms, with_meta

LATENT = {"latent_channels": 4, "latent_size": None}
SAMPLE_SHAPE = (
    "$(@latent_size,) if @latent_size else (@latent_channels, *[n // d for n, d in "
    "zip(monai.utils.ensure_tuple_rep(@image_size, @spatial_dims), @network.backbone.size_divisor)])"
)


def vae(name: str, row: Encoder | Network) -> Recipe:
    """Variational auto-encoding: images from latents, which are interpolated too."""
    network_def = autoencoder(row, conditioning=class_conditioning())
    extra_keys = f"$({BETWEEN} if @between_images else dict()) | ({OF_CLASS})"
    received = {"num_classes": "@num_classes", "vector": "@condition_vector"}
    interpolate = between_seeds_or_images(extra_keys, interpolation_handlers(), received)
    return Recipe(
        title="variational auto-encoding",
        workflows={
            "train": training(name, network_def),
            "evaluate": evaluation(),
            "inference": inference(name, network_def),
            "multi_gpu_train": multi_gpu_training(),
            **({"interpolate": interpolate} if is_plain(row) else {}),
        },
        format=FORMAT,
        readme="variational",
        references=("Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014",),
    )


def autoencoder(row: Encoder | Network, **conditioning: Config) -> Config:
    """The network; ``conditioning=`` are its conditions."""
    backbone = smooth_backbone(row, "@in_channels", "@in_channels", **conditioning)
    return network(
        "vae",
        backbone,
        latent_channels="@latent_channels",
        latent_size="@latent_size",
        image_size="$monai.utils.ensure_tuple_rep(@image_size, @spatial_dims) if @latent_size else None",
    )


def training(name: str, network_def: Config) -> Workflow:
    """``train.json``: images and their reconstructions."""
    kl_warmup = component("flemme_monai.handlers.KLWarmup", loss="@loss", epochs="@kl_warmup_epochs")
    loss = component("flemme_monai.losses.VAELoss", reconstruction=image_loss(data_range=2.0), kl_weight="@kl_weight")
    return Workflow(
        settings={
            **generation_settings(name),
            **LATENT,
            "loss_terms": ["mse"],
            "kl_weight": 0.01,
            "kl_warmup_epochs": 5,
        },
        components={
            "datalist": split_datalist("generation", "@num_classes", **OF_TABLE),
            **optimization(network_def, loss, **STATISTICS),
            "train": training_part(
                preprocessing=generation_transforms(train=True),
                key_metric={"train_psnr": psnr(2.0, FROM_TRAINING)},
                handlers=[*trainer_handlers("reconstruction"), kl_warmup],
                prepare_batch=component("flemme_monai.data.AutoencodingPrepareBatch", condition_key="@condition_key"),
            ),
            "validate": validation_part(
                preprocessing=generation_transforms(train=False),
                postprocessing=compose(with_meta("pred")),
                key_metric={"psnr": psnr(2.0)},
                additional_metrics={"ssim": ssim(2.0)},
                batch_size="@batch_size",
                inferer=simple_inferer(),
                prepare_batch="@train#prepare_batch",
            ),
        },
        steps=training_steps(),
    )


def evaluation() -> Workflow:
    """``evaluate.json``, over ``train.json``: samples beside real images, and a picture of the latents."""
    handlers = evaluation_handlers(generation_report(), save_latent_tsne("@network", "@condition_key"))
    return Workflow(
        settings={**generation_evaluation_settings(SAMPLE_SHAPE), **LATENTS},
        components={
            **generation_evaluation(handlers),
            "validate#inferer": component("flemme_monai.inferers.DecodingInferer"),
            "validate#evaluator#prepare_batch": "@validate#prepare_batch",
            "latent_images": case_dataset("test", "@validate#preprocessing"),
        },
        steps=evaluation_steps(),
    )


def inference(name: str, network_def: Config) -> Workflow:
    """``inference.json``: samples from random latents."""
    return Workflow(
        settings={**sampling_settings(name, SAMPLE_SHAPE), **LATENT},
        components=sampling_components(network_def, component("flemme_monai.inferers.DecodingInferer")),
        steps=inference_steps(),
    )
