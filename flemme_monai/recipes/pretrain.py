"""``pretrain.json``: the encoder of a segmentation learns from images without labels, before training."""

from __future__ import annotations

from .base import DEVICE, Config, Workflow, component, compose
from .handlers import run_summary
from .training import folders
from .transforms import load_segmentations, plain_tensors

ONLY_CONTRASTIVE = {"_disabled_": "$@method == 'masked'"}
RUN = "flemme_monai.utils.path_in(@ckpt_dir, 'pretraining')"


def pretraining() -> Workflow:
    """``pretrain.json``, over ``train.json``: two views of a region of an image, or one with masked patches."""
    return Workflow(
        settings={
            "output_dir": folders("", "pretrain")["output_dir"],
            "method": "moco",
            "feature_level": "latent",
            "projection_channels": 128,
            "temperature": 0.2,
            "bank_size": 1024,
            "momentum": 0.99,
            "negative_distance": 4,
            "mask_ratio": 0.6,
            "mask_patch": None,
            "redundancy_weight": 0.005,
            "watch_interval": 1,
            "views": {
                "region": 1.5,
                "flip": 0.5,
                "rotate": 0.5,
                "scale": 0.5,
                "intensity": 0.8,
                "contrast": 0.5,
                "blur": 0.3,
                "noise": 0.5,
            },
        },
        components={
            "datalist#task": "pretraining",
            "datalist#record": f"$flemme_monai.utils.path_in({RUN}, 'split.json') if @datalist#resume else None",
            "networks": networks(),
            "losses": losses(),
            "network": f"$flemme_monai.ssl.chosen(@method, @networks).to({DEVICE[1:]})",
            "loss": "$flemme_monai.ssl.chosen(@method, @losses)",
            "make_views": views(),
            "train#preprocessing": loaded("%make_views"),
            "validate#preprocessing": loaded(),
            "train#dataloader#drop_last": "$len(@train#dataset) >= @batch_size",
            "train#prepare_batch": component("flemme_monai.ssl.PretrainingBatch"),
            "train#trainer#prepare_batch": "@train#prepare_batch",
            "train#postprocessing": None,
            "train#key_metric": None,
            "train#handlers": handlers(),
        },
        steps={
            "run": [
                f"$flemme_monai.utils.refuse_used_folders({RUN}, @output_dir)",
                "$@train#trainer.run()",
            ],
        },
    )


def networks() -> Config:
    """The network of each method, around the backbone that is trained afterwards."""
    backbone = {"backbone": "$@initial_network.backbone"}
    shared = {**backbone, "level": "@feature_level", "projection_channels": "@projection_channels"}
    negatives = {"temperature": "@temperature", "negative_distance": "@negative_distance"}
    return {
        "moco": of_method(
            "moco", "flemme_monai.ssl.MoCo", **shared, **negatives, bank_size="@bank_size", momentum="@momentum"
        ),
        "simclr": of_method("simclr", "flemme_monai.ssl.SimCLR", **shared, **negatives),
        "barlow_twins": of_method("barlow_twins", "flemme_monai.ssl.BarlowTwins", **shared),
        "masked": of_method(
            "masked",
            "flemme_monai.ssl.MaskedImageModel",
            **backbone,
            mask_ratio="@mask_ratio",
            patch_size="@mask_patch",
            level="@feature_level",
        ),
    }


def losses() -> Config:
    """The loss of each method."""
    return {
        "moco": of_method("moco", "flemme_monai.ssl.InfoNCE"),
        "simclr": of_method("simclr", "flemme_monai.ssl.InfoNCE"),
        "barlow_twins": of_method("barlow_twins", "flemme_monai.ssl.BarlowTwinsLoss", lambd="@redundancy_weight"),
        "masked": of_method("masked", "flemme_monai.ssl.MaskedLoss"),
    }


def of_method(method: str, target: str, **arguments: str | int | float) -> Config:
    """A component that is built where its method is chosen."""
    return component(target, _disabled_=f"$@method != '{method}'", **arguments)


def loaded(*random: str) -> Config:
    """From the files of a case to an image of mean 0 and deviation 1, its label where there is one, and more."""
    return compose(*load_segmentations(need_label=False), plain_tensors("image"), *random)


def views() -> Config:
    """Of an image two views of one region; of masked patches one."""
    region = "$[round(@views#region * n) for n in monai.utils.ensure_tuple_rep(@image_size, @spatial_dims)]"
    return compose(
        component("monai.transforms.RandSpatialCropd", keys="image", roi_size=region, random_size=False),
        component("monai.transforms.DeleteItemsd", keys="label"),
        component("monai.transforms.CopyItemsd", **ONLY_CONTRASTIVE, keys="image", names="view"),
        *shapes("image"),
        compose(*intensities("image"), *shapes("view"), *intensities("view")) | ONLY_CONTRASTIVE,
        component("monai.transforms.EnsureTyped", keys=["image", "view"], track_meta=False, allow_missing_keys=True),
    )


def shapes(key: str) -> list[Config]:
    """A crop of a region, turned, zoomed and flipped."""
    crop = component(
        "flemme_monai.transforms.RandAffineCropd",
        keys=key,
        roi_size="@image_size",
        spatial_dims="@spatial_dims",
        rotate_prob="@views#rotate",
        rotate_range=0.35,
        zoom_prob="@views#scale",
        min_zoom=0.7,
        max_zoom=1.5,
    )
    flips = [
        component("monai.transforms.RandFlipd", keys=key, prob="@views#flip", spatial_axis=axis) for axis in (0, 1)
    ]
    return [crop, *flips]


def intensities(key: str) -> list[Config]:
    """Other contrast, brightness, sharpness and noise; of masked patches none, for they are what is learned."""
    prob = {name: f"@views#{name}" for name in ("intensity", "contrast", "blur", "noise")}
    return [
        component("monai.transforms.RandAdjustContrastd", keys=key, prob=prob["contrast"], gamma=[0.5, 2.0]),
        component("monai.transforms.RandScaleIntensityd", keys=key, prob=prob["intensity"], factors=0.4),
        component("monai.transforms.RandShiftIntensityd", keys=key, prob=prob["intensity"], offsets=0.4),
        component("monai.transforms.RandGaussianSmoothd", keys=key, prob=prob["blur"]),
        component("monai.transforms.RandGaussianNoised", keys=key, prob=prob["noise"], std=0.1),
    ]


def handlers() -> list[Config]:
    """The trainer's handlers."""
    return [
        component("flemme_monai.handlers.EpochSeed", seed="@seed"),
        component("flemme_monai.handlers.ClipGradients", max_norm="@max_gradient_norm"),
        component("flemme_monai.handlers.LearningRate", lr_scheduler="@lr_scheduler"),
        component("flemme_monai.handlers.History", output_dir="@output_dir"),
        component("flemme_monai.handlers.TensorBoard", log_dir="@output_dir"),
        component("flemme_monai.handlers.Progress"),
        component(
            "flemme_monai.ssl.PretrainingCheckpoint",
            ckpt_dir="@ckpt_dir",
            network="@network",
            architecture="@initial_network",
            optimizer="@optimizer",
            lr_scheduler="@lr_scheduler",
            resume="$flemme_monai.utils.as_bool(@resume)",
            settings="@network_settings",
        ),
        component(
            "flemme_monai.ssl.WatchFeatures",
            output_dir="@output_dir",
            network="@network",
            training="@train#dataset",
            validation="@validate#dataset",
            image_size="$monai.utils.ensure_tuple_rep(@image_size, @spatial_dims)",
            views="$None if @method == 'masked' else @make_views",
            interval="@watch_interval",
            seed="@seed",
        ),
        {**run_summary(), "folders": ["@ckpt_dir", "@output_dir"]},
    ]
