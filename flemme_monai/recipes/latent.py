"""Generation by diffusion in the latents of an autoencoder: ``ldm``."""

from __future__ import annotations

from ..registry import Encoder, Network
from .base import DEVICE, Config, Format, Recipe, Workflow, component
from .conditions import OF_TABLE, STATISTICS
from .denoiser import (
    AVERAGE,
    GUIDANCE,
    denoiser_training,
    denoising_loss,
    example_inferer,
    load_average,
    of_time_and_class,
    sampling_inferer,
)
from .diffusion import denoiser_settings
from .generation import (
    generation_evaluation,
    generation_evaluation_settings,
    generation_report,
    sampling_components,
    sampling_settings,
)
from .handlers import IS_JOINT, evaluation_handlers, example_samples, load_autoencoder, save_latent_tsne
from .inference import LATENTS, evaluation_steps, inference_steps, multi_gpu_training
from .interpolation import BETWEEN, OF_CLASS, between_seeds_or_images, interpolation_handlers
from .joint import joint_training
from .networks import backbone, is_conv, is_plain, network, smooth_backbone
from .noise_process import (
    SIGMA_DATA,
    noise_by_process,
    process_example_sampler,
    process_inferer,
    process_sampler,
    process_sampler_settings,
    process_sampling_scheduler,
    process_scheduler,
    process_settings,
)
from .training import case_dataset, folders, imports, optimization, split_datalist, training_steps
from .transforms import generation_transforms
from .variational import LATENT, autoencoder
from .variational import training as variational_training

SAMPLE_SHAPE = (
    "$(@latent_channels, *[n // d for n, d in "
    "zip(monai.utils.ensure_tuple_rep(@image_size, @spatial_dims), @autoencoder.backbone.size_divisor)])"
)
AUTOENCODER_PATH = {"autoencoder_path": "$flemme_monai.utils.path_in(@ckpt_dir, 'autoencoder/model.pt')"}
SAMPLER = {**GUIDANCE, **process_sampler_settings()}
KIND = {"variational": True, "conditional_autoencoder": False}  # of an autoencoder
HAS_CLASSES = "(@num_classes and flemme_monai.utils.as_bool(@conditional_autoencoder))"
OWN_CONDITION = "flemme_monai.utils.unwrap_model(@autoencoder).is_conditional"


def ldm(name: str, row: Encoder | Network) -> Recipe:
    """Diffusion in the latents of an autoencoder, which is trained first, or together with it."""
    network_def = network("ldm", latent_backbone(row), sigma_data=SIGMA_DATA)
    interpolate = between_seeds_or_images(
        f"$({BETWEEN} if @between_images else dict()) | "
        f"({OF_CLASS} if {OWN_CONDITION} or not @between_images else dict())",
        interpolation_handlers(load_autoencoder()),
        {"num_classes": f"$@num_classes if {OWN_CONDITION} else None"},
        autoencoder="@autoencoder",
    )
    return Recipe(
        title="generation by latent diffusion",
        workflows={
            "train_autoencoder": autoencoder_training(name, own_autoencoder(row)),
            "train_diffusion": training(name, network_def, autoencoder(row)),
            "joint": joint_training(own_autoencoder(row), KIND),
            "evaluate": evaluation(),
            "inference": inference(name, network_def, autoencoder(row)),
            "multi_gpu_train": multi_gpu_training(),
            **({"interpolate": interpolate} if is_plain(row) else {}),
        },
        format=Format("image", "magnitude", ("latent 0", "latent {i}"), (-5, 5), (), patches=False),
        readme="latent",
        references=("Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, CVPR 2022",),
    )


def latent_backbone(row: Encoder | Network) -> Config:
    """The backbone of a denoiser of latents, position by position."""
    channels = ("@latent_channels", "@latent_channels")
    conditioning = of_time_and_class()
    if is_conv(row):
        levels: Config = {"channels": [64, 96]}
        attends = {"self_attention": [False, False, True]}
        return smooth_backbone(row, *channels, levels, attends, conditioning=conditioning)
    levels = {"patch_size": 1, "channels": [64]}
    return backbone(row, *channels, levels, conditioning=conditioning)


def own_autoencoder(row: Encoder | Network) -> Config:
    """The autoencoder where its kind is chosen; elsewhere it is what the record of its weights says."""
    conditioning = component(
        "flemme_monai.backbones.ConditioningConfig",
        _disabled_=f"$not {HAS_CLASSES}",
        context="class",
        context_size="@num_classes",
    )
    found = autoencoder(row, conditioning=conditioning)
    return {**found, "variational": "$flemme_monai.utils.as_bool(@variational)"}


def autoencoder_training(name: str, autoencoder_def: Config) -> Workflow:
    """``train_autoencoder.json``: images and their reconstructions; its latents are hardly bounded."""
    workflow = variational_training(name, autoencoder_def)
    workflow.settings |= {
        **folders(name, "train_autoencoder", ckpt="models/autoencoder"),
        "condition_key": f"$'class_label' if {HAS_CLASSES} else None",
        "kl_weight": 0.0001,
        **KIND,
    }
    for setting in OF_TABLE:  # numbers are told to the denoiser alone
        del workflow.settings[setting], workflow.components["datalist"][setting]
    for name in STATISTICS:
        del workflow.components["initial_network"][name]
    workflow.components["pretrained_weights"]["weights_dir"] = "models/autoencoder"
    return workflow


TRAINED_AUTOENCODER = (
    "flemme_monai.utils.trained_network(@autoencoder_def, @autoencoder_path, @bundle_root, "
    f"'autoencoder_def').to({DEVICE[1:]})"
)


def latents(autoencoder_def: Config, denoiser: str) -> Config:
    """The autoencoder, and its latents as the denoiser sees them."""
    return {
        "autoencoder_def": autoencoder_def,
        "autoencoder": f"${TRAINED_AUTOENCODER}",
        "latent_space": component("flemme_monai.diffusion.LatentSpace", autoencoder="@autoencoder", denoiser=denoiser),
    }


def training(name: str, network_def: Config, autoencoder_def: Config) -> Workflow:
    """``train_diffusion.json``: noised latents of images."""
    datalist = split_datalist("generation", "@num_classes", **OF_TABLE)
    datalist["autoencoder_record"] = "$os.path.join(os.path.dirname(@autoencoder_path), 'split.json')"
    noise, _ = noise_by_process(condition_key="@condition_key", latents="$@latent_space.encode")
    _, same_noise = noise_by_process(condition_key="@condition_key", latents="$@latent_space.encode_mean")
    latent_scale = component(
        "flemme_monai.handlers.LatentScale",
        _disabled_=f"${IS_JOINT}",
        latent_space="@latent_space",
        dataset="@train#dataset",
        batch_size="@batch_size",
        seed="@seed",
        condition_key="@condition_key",
    )
    return Workflow(
        settings={
            **denoiser_settings(name),
            "imports": imports("torch", "monai", "flemme_monai", "os"),
            **folders(name, "train_diffusion"),
            **process_settings(),
            **LATENT,
            **AUTOENCODER_PATH,
        },
        components={
            "datalist": datalist,
            **optimization(network_def, denoising_loss(), **STATISTICS),
            **denoiser_training(
                generation_transforms(train=True),
                generation_transforms(train=False),
                (noise, same_noise),
                process_inferer(),
                example_samples(
                    example_inferer(process_example_sampler(), decode="$@latent_space.decode"), SAMPLE_SHAPE
                ),
                load_autoencoder(),
                latent_scale,
            ),
            "scheduler": process_scheduler(),
            **latents(autoencoder_def, "@network_def"),
        },
        steps=training_steps(),
    )


def evaluation() -> Workflow:
    """``evaluate.json``, over ``train_diffusion.json``: samples beside real images, and a picture of the latents."""
    handlers = evaluation_handlers(
        generation_report(),
        save_latent_tsne("@autoencoder", f"$'class_label' if {OWN_CONDITION} else None"),
        load_autoencoder(),
        load=load_average(),
    )
    return Workflow(
        settings={**generation_evaluation_settings(SAMPLE_SHAPE), **LATENTS, **SAMPLER},
        components={
            **generation_evaluation(handlers),
            "sampling": process_sampler(),
            "validate#inferer": sampling_inferer(decode="$@latent_space.decode"),
            "scheduler": process_sampling_scheduler(),
            "autoencoder": f"{AVERAGE}.autoencoder or {TRAINED_AUTOENCODER}",
            "latent_space#denoiser": AVERAGE,
            "latent_images": case_dataset("test", "@validate#preprocessing"),
        },
        steps=evaluation_steps(),
    )


def inference(name: str, network_def: Config, autoencoder_def: Config) -> Workflow:
    """``inference.json``: samples, decoded, and a film of how their latents come out of noise."""
    inferer = sampling_inferer(keep_steps="$min(@num_inference_steps, 30)", decode="$@latent_space.decode")
    return Workflow(
        settings={
            **sampling_settings(name, SAMPLE_SHAPE),
            "context_drop": 0.1,
            **process_settings(),
            **SAMPLER,
            **LATENT,
            **AUTOENCODER_PATH,
        },
        components={
            **sampling_components(network_def, inferer, load_autoencoder(), frames="$lambda: @inferer.steps"),
            "sampling": process_sampler(),
            "scheduler": process_sampling_scheduler(),
            **latents(autoencoder_def, "@network"),
            "autoencoder": f"$@network.autoencoder or {TRAINED_AUTOENCODER}",
        },
        steps=inference_steps(),
    )
