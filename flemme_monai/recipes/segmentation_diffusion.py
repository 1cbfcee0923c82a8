"""Segmentation by diffusion, label maps that are generated under an image: ``dsem``."""

from __future__ import annotations

from ..registry import Encoder, Network
from .base import MULTI_LABEL, Config, Format, Recipe, Workflow, component, compose
from .denoiser import (
    IMAGE_CONTEXT,
    average_settings,
    denoiser_backbone,
    denoiser_training,
    denoising_loss,
    load_average,
    under_image,
)
from .handlers import evaluation_handlers, example_restorations, inference_handlers, save_case_metrics, save_predictions
from .inference import (
    evaluation_components,
    evaluation_settings,
    evaluation_steps,
    inference_components,
    inference_list,
    inference_settings,
    inference_steps,
    multi_gpu_training,
)
from .metrics import optional_overlap, overlap
from .networks import network
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
from .segmentation import (
    GRID,
    IMAGES,
    INTENSITIES,
    MASKS,
    OUTPUTS,
    PICTURE,
    RESIZED_TO,
    label_map_metrics,
    label_map_settings,
    names_of_classes,
    one_hot,
    save_masks,
    steps_sampler,
)
from .training import optimization, split_datalist, training_steps, window_inferer
from .transforms import (
    BOTH,
    invert,
    keep_largest,
    load_segmentations,
    pad_to_size,
    segmentation_transforms,
    to_own_grid,
)

PREDICTION = "sample"
SAMPLES = {"num_samples": 5, "keep_largest": None}  # of which mean and deviation are taken, and what is kept of it
STEPS = 20
SAVE_PROBABILITIES = "flemme_monai.utils.as_bool(@save_probabilities)"


def dsem(name: str, row: Encoder | Network) -> Recipe:
    """Segmentation by diffusion: several label maps are sampled under an image, as an ensemble of one network."""
    network_def = network("dsem", denoiser_backbone(row, "@num_classes", under_image()), sigma_data=SIGMA_DATA)
    return Recipe(
        title="segmentation by diffusion",
        workflows={
            "train": training(name, network_def),
            "evaluate": evaluation(),
            "inference": inference(name, network_def),
            "multi_gpu_train": multi_gpu_training(
                num_draws="$None if @steps_per_epoch is None else @steps_per_epoch * @batch_size"
            ),
        },
        format=Format("image", "segmentation", ("background", "class {i}"), (-1, 1), (), patches=True),
        readme="segmentation_diffusion",
        references=(
            "Wolleb et al., Diffusion Models for Implicit Image Segmentation Ensembles, MIDL 2022",
            "Amit et al., SegDiff: Image Segmentation with Diffusion Probabilistic Models, arXiv 2112.00390, 2021",
        ),
    )


def training(name: str, network_def: Config) -> Workflow:
    """``train.json``: crops of label maps, noised, under their images."""
    augmented = segmentation_transforms(train=True)["transforms"][1:]
    cropped = compose(
        *load_segmentations(),
        pad_to_size(),
        component("monai.transforms.CenterSpatialCropd", keys=BOTH, roi_size="@image_size"),
        one_hot_label(),
    )
    inferer = averaged_inferer(process_example_sampler(), num_samples=2, progress=False)
    return Workflow(
        settings={
            **label_map_settings(name),
            **average_settings(),
            **IMAGE_CONTEXT,
            **process_settings(PREDICTION),
        },
        components={
            "datalist": split_datalist(
                "segmentation", "@num_classes", multi_label=f"${MULTI_LABEL}", class_names="@class_names"
            ),
            "resized_to": f"${RESIZED_TO}",
            **optimization(network_def, denoising_loss()),
            **denoiser_training(
                compose(*load_segmentations(), *augmented, one_hot_label()),
                cropped,
                noise_by_process(condition_key="image", image_key="label", rescale=True),
                process_inferer(),
                example_restorations(inferer, task=PICTURE),
                sampler=steps_sampler(),
                keep_empty="$flemme_monai.utils.as_bool(@keep_empty)",
            ),
            "scheduler": process_scheduler(),
        },
        steps=training_steps(),
    )


def evaluation() -> Workflow:
    """``evaluate.json``, over ``train.json``: all metrics of the mean of several samples of each test case."""
    handlers = evaluation_handlers(save_case_metrics(class_names="@names"), load=load_average())
    soft_dice = optional_overlap("SoftDice", "False", "probabilities", "label")
    return Workflow(
        settings={
            **evaluation_settings(),
            **process_sampler_settings(STEPS),
            **SAMPLES,
            "overlap": 0.25,
            "empty_class": "zero_one",
            "surface_tolerance": 1.0,
        },
        components={
            **evaluation_components(handlers),
            "names": names_of_classes("@datalist['test']"),
            "sampling": process_sampler(),
            "scheduler": process_sampling_scheduler(),
            "validate#dataset#slices": False,
            "validate#dataloader#batch_size": 1,
            "validate#preprocessing": compose(*load_segmentations(own_grid=True)),
            "validate#inferer": whole_images(),
            "validate#evaluator#prepare_batch": "$monai.engines.default_prepare_batch",
            "validate#evaluator#metric_cmp_fn": "$lambda new, best: new > best",
            "validate#postprocessing": one_hot(
                to_own_grid("@validate#preprocessing", "pred", "label"), sampled_label_map(), keep_largest()
            ),
            "validate#key_metric": {"dice": overlap(score="dice", empty_class="@empty_class")},
            "validate#additional_metrics": {**label_map_metrics(), "soft_dice": soft_dice},
        },
        steps=evaluation_steps(),
    )


def inference(name: str, network_def: Config) -> Workflow:
    """``inference.json``: label maps of the images of a folder, and how uncertain each pixel is."""
    probabilities = save_predictions(
        "probabilities", "probabilities", key="probabilities", _disabled_=f"$not {SAVE_PROBABILITIES}"
    )
    return Workflow(
        settings={
            **inference_settings(name, OUTPUTS),
            **GRID,
            **INTENSITIES,
            **MASKS,
            **IMAGES,
            **IMAGE_CONTEXT,
            **process_settings(PREDICTION),
            **process_sampler_settings(STEPS),
            **SAMPLES,
            "part": None,
            "save_probabilities": False,
        },
        components={
            **inference_components(
                datalist=inference_list(
                    "segmentation",
                    "@num_classes",
                    multi_label=f"${MULTI_LABEL}",
                    part="@part",
                    record="$flemme_monai.utils.paths_in(@ckpt_dir, 'split.json')",
                ),
                network_def=network_def,
                preprocessing=compose(*load_segmentations(need_label=False, own_grid=True)),
                postprocessing=compose(
                    invert(), to_own_grid("@preprocessing", "image", "label"), sampled_label_map(), keep_largest()
                ),
                handlers=inference_handlers(
                    save_predictions("segmentation", "seg", _disabled_=f"${MULTI_LABEL}"),
                    save_masks(),
                    probabilities,
                    save_predictions("label_uncertainty", "uncertainty", key="uncertainty"),
                ),
                inferer=whole_images(),
            ),
            "resized_to": f"${RESIZED_TO}",
            "sampling": process_sampler(),
            "scheduler": process_sampling_scheduler(),
        },
        steps=inference_steps(),
    )


def one_hot_label() -> Config:
    """The label of a channel a class; masks of classes that may overlap are that."""
    return component(
        "monai.transforms.AsDiscreted", keys="label", to_onehot=f"$None if {MULTI_LABEL} else @num_classes"
    )


def averaged_inferer(sampler: Config | str, num_samples: int | str, **more: Config | bool) -> Config:
    """Several label maps of an image; ``more`` are further arguments of the inferer."""
    return component(
        "flemme_monai.diffusion.AveragedLabelInferer",
        sampler=sampler,
        num_classes="@num_classes",
        num_samples=num_samples,
        seed="@seed",
        multi_label=f"${MULTI_LABEL}",
        **more,
    )


def whole_images() -> Config:
    """Several label maps of each window of an image."""
    return averaged_inferer("@sampling", "@num_samples", window=window_inferer("@overlap"))


def sampled_label_map() -> Config:
    """The label map, its probabilities and its uncertainty under keys of their own."""
    return component("flemme_monai.transforms.SampledLabelMapd", keys="pred", multi_label=f"${MULTI_LABEL}")
