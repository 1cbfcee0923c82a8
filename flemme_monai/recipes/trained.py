"""The bundles that come with weights: pairs whose settings are fixed to a task and its data."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from .base import Config

CC_BY_SA = "CC-BY-SA 4.0"


@dataclass(frozen=True)
class Dataset:
    """Images that weights were trained on.

    Args:
        title: what it is called.
        description: what the images show, and how many there are.
        split: which of them train, validate and test.
        license: of the images, and so of what is made of them.
        attribution: whom to name, and where they are from.
        data_type: kind of the files.
        image_classes: what the image is.
        label_classes: what the labels are; empty where none is used.
        channels: what the channels of the network's output are.
    """

    title: str
    description: str
    split: str
    license: str
    attribution: str
    data_type: str
    image_classes: str
    label_classes: str
    channels: tuple[str, ...]


@dataclass(frozen=True)
class TrainedBundle:
    """A bundle with weights.

    Args:
        name: of the bundle.
        pair: ``<architecture>_<backbone>``.
        dataset: key of :data:`DATASETS`, which is the name of the folder too.
        task: what it does, as a title.
        settings: values of settings, by their names on the command line.
        metrics: what is told of its results, the metric that chose the weights first.
        limits: what it cannot do.
        evaluation: options of the evaluation that measured its results; paths from the bundle's folder.
    """

    name: str
    pair: str
    dataset: str
    task: str
    settings: Config
    metrics: tuple[str, ...]
    limits: str
    evaluation: Config = field(default_factory=dict)

    @property
    def results(self) -> Config:
        """What was measured when it was trained; empty before."""
        return _results(self.name)

    def evaluation_beside(self, bundles: Path) -> Config:
        """The options of its evaluation with the paths as they are where the bundles lie in a folder."""
        named = self.evaluation.items()
        return {k: str((bundles / self.name / v).resolve()) if k.endswith("_path") else v for k, v in named}


@cache
def _results(name: str) -> dict[str, Any]:
    file = resources.files(__package__) / "results" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def trained_bundles() -> tuple[TrainedBundle, ...]:
    """The bundles whose weights are there."""
    return tuple(bundle for bundle in TRAINED.values() if bundle.results)


DATASETS: dict[str, Dataset] = {
    "nuclei": Dataset(
        title="BBBC038, Data Science Bowl 2018, stage 1",
        description="200 grey microscopy images of 256x256 pixels, fluorescence and histology, with masks of nuclei",
        split="by name the first 120 to train, the next 40 to validate, the last 40 to test",
        license="CC0 1.0",
        attribution="Image set BBBC038v1 (Caicedo et al., Nature Methods 2019), Broad Bioimage Benchmark Collection "
        "(Ljosa et al., Nature Methods 2012), with corrected masks.",
        data_type="PNG",
        image_classes="grey microscopy image, one channel",
        label_classes="0: background, 1: nucleus",
        channels=("background", "nucleus"),
    ),
    "Task04_Hippocampus": Dataset(
        title="Medical Segmentation Decathlon, task 4, hippocampus",
        description="200 T1-weighted MR volumes of about 35x51x35 voxels of 1 mm around the hippocampus",
        split="by name the first 120 to train, the next 40 to validate, the last 40 to test",
        license=CC_BY_SA,
        attribution="Medical Segmentation Decathlon (Antonelli et al., Nature Communications 2022; Simpson et al., "
        "arXiv 1902.09063), Vanderbilt University Medical Center.",
        data_type="NIfTI",
        image_classes="T1-weighted MR volume, one channel",
        label_classes="0: background, 1: anterior hippocampus, 2: posterior hippocampus",
        channels=("background", "anterior hippocampus", "posterior hippocampus"),
    ),
    "brain_t1": Dataset(
        title="studyforrest, one T1-weighted brain",
        description="axial slices of 384x384 pixels of one defaced T1-weighted volume at 7 tesla",
        split="three slabs along the axis: the first trains, the next validates, the last tests",
        license="PDDL 1.0 (public domain)",
        attribution="studyforrest (Hanke et al., Scientific Data 2014).",
        data_type="NIfTI",
        image_classes="axial slices of T1-weighted MR, one channel",
        label_classes="",
        channels=("image",),
    ),
    "mednist": Dataset(
        title="MedNIST",
        description="1800 grey pictures of six kinds of medical image, 300 of each",
        split="by name of each class the first 180 to train, the next 60 to validate, the last 60 to test",
        license=CC_BY_SA,
        attribution="MedNIST was gathered from several sets of TCIA, the RSNA Bone Age Challenge and the NIH Chest "
        "X-ray dataset, and made available by Dr. Bradley J. Erickson, Department of Radiology, Mayo Clinic.",
        data_type="JPEG",
        image_classes="grey picture, one channel",
        label_classes="0: AbdomenCT, 1: BreastMRI, 2: CXR, 3: ChestCT, 4: Hand, 5: HeadCT",
        channels=("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT"),
    ),
    "gi_phantom": Dataset(
        title="phantoms of the GI tract",
        description="360 made slices of 96x80 pixels of 20 cases with overlapping ellipses in the place of organs, in "
        "the layout of Kaggle's UW-Madison GI tract challenge: `flemme-monai gi-sample DIR --cases 20 --slices 12`",
        split="by case, the first 12 to train, the next 4 to validate, the last 4 to test",
        license="CC0 1.0",
        attribution="Made by flemme_monai, of no patient.",
        data_type="PNG, 16 bit",
        image_classes="slice of a phantom, one channel",
        label_classes="masks of large bowel, small bowel and stomach, which may overlap",
        channels=("large_bowel", "small_bowel", "stomach"),
    ),
}

_FINE = {  # a patch of one pixel, for structures are small
    "network_def#backbone#patch_size": 1,
    "network_def#backbone#patch_channels": 16,
}
_FINE_2D = {
    **_FINE,
    "network_def#backbone#channels": [16, 32, 64],
    "network_def#backbone#middle_channels": [128],
}
_COARSE = {"network_def#backbone#channels": [32, 64], "network_def#backbone#middle_channels": [128]}
_DENOISER = {
    "network_def#backbone#patch_size": 2,
    "network_def#backbone#channels": [32, 64],
    "network_def#backbone#middle_channels": [96],
    "network_def#backbone#family#self_attention": [False, False, True],
}

_NUCLEI = {
    "num_classes": 2,
    "image_size": [128, 128],
    "batch_size": 8,
    "learning_rate": 0.002,
    "val_interval": 5,
}
_NUCLEI_AUGMENTATION = {"augmentation#rotate": 0.5, "augmentation#scale": 0.5, "augmentation#intensity": 0.6}
_HIPPOCAMPUS = {
    "spatial_dims": 3,
    "num_classes": 3,
    "image_size": [32, 48, 32],
    "batch_size": 2,
    "learning_rate": 0.002,
    "val_interval": 5,
    "augmentation#flip": 0.0,
    "augmentation#rotate": 0.5,
    "augmentation#scale": 0.5,
    "augmentation#elastic": 0.3,
    "augmentation#intensity": 0.5,
}
_BRAIN = {
    "split_by": "slab",
    "degradation": "equispaced",
    "acceleration": 4,
    "image_size": [96, 384],
    "batch_size": 4,
    "val_interval": 5,
}
_MEDNIST = {
    "num_classes": 6,
    "image_size": [64, 64],
    "intensity_range": [0, 255],
    "class_names": list(DATASETS["mednist"].channels),
}

_OVERLAP_METRICS = ("dice", "iou", "recall", "precision", "surface_distance", "hausdorff95")
_IMAGE_METRICS = ("psnr", "ssim", "mae")
_ORGAN_METRICS = ("dice", "iou", "recall", "precision", "surface_distance", "hausdorff95", "bce", "time_saved_total")
_SAMPLE_METRICS = ("fid", "fid_floor", "kid", "precision", "recall", "class_accuracy", "pixel_copies")

_OTHER_MICROSCOPES = (
    "Trained on 120 pictures of one collection: other stains, magnifications and crowded tissue are likely to need "
    "fine-tuning. It says what is nucleus, not which nucleus: touching ones are not separated."
)
_OTHER_SCANNERS = (
    "Trained on 120 volumes of one site, cut out around the hippocampus, with voxels of 1 mm: it does not find the "
    "hippocampus in a whole head, and other scanners or diseases are untested."
)
_ONE_BRAIN = (
    "Trained on slices of a single head at 7 tesla: it shows the method and knows no other anatomy, contrast or "
    "pathology. Undersampling is simulated from magnitude images, without coils and phase."
)
_PHANTOMS = (
    "Trained on made images with ellipses in the place of organs: it shows masks that overlap, minutes saved and the "
    "demo, and knows nothing of patients. For these, train it on the challenge's images."
)
_THUMBNAILS = (
    "Pictures of 64x64 pixels of six kinds that are easy to tell apart; the training images are of few patients. "
)
_SHORT_TRAINING = (
    "The denoiser saw the 1,080 training images for an hour of one thread at most: samples are of no use but to try. "
)
_JUDGE = {"classifier_path": "../mednist_clm_cnn/models/model.pt", "guidance_scale": 2.0, "num_samples": 360}


def _table(*rows: TrainedBundle) -> dict[str, TrainedBundle]:
    return {row.name: row for row in rows}


TRAINED: dict[str, TrainedBundle] = _table(
    TrainedBundle(
        "nuclei_sem_unet",
        "sem_unet",
        "nuclei",
        "segmentation of nuclei in microscopy",
        {**_NUCLEI, "epochs": 80, **_NUCLEI_AUGMENTATION, **_FINE_2D},
        _OVERLAP_METRICS,
        _OTHER_MICROSCOPES,
    ),
    TrainedBundle(
        "nuclei_hsem_unet",
        "hsem_unet",
        "nuclei",
        "hierarchical segmentation of nuclei in microscopy",
        {
            **_NUCLEI,
            "epochs": 80,
            **_NUCLEI_AUGMENTATION,
            **_FINE_2D,
        },
        _OVERLAP_METRICS,
        _OTHER_MICROSCOPES,
    ),
    TrainedBundle(
        "nuclei_hsem_swinu",
        "hsem_swinu",
        "nuclei",
        "hierarchical segmentation of nuclei in microscopy",
        {
            **_NUCLEI,
            "epochs": 50,
            "warmup_epochs": 2,
            **_COARSE,
            "network_def#backbone#channels": [32, 64, 96],
        },
        _OVERLAP_METRICS,
        _OTHER_MICROSCOPES,
    ),
    TrainedBundle(
        "nuclei_hsem_vmambau",
        "hsem_vmambau",
        "nuclei",
        "hierarchical segmentation of nuclei in microscopy",
        {**_NUCLEI, "epochs": 60, "warmup_epochs": 2, **_COARSE},
        _OVERLAP_METRICS,
        _OTHER_MICROSCOPES,
    ),
    TrainedBundle(
        "gi_phantom_sem_segformer",
        "sem_segformer",
        "gi_phantom",
        "segmentation of organs that may overlap, in phantoms of the GI tract",
        {
            "multi_label": True,
            "num_classes": 3,
            "class_names": list(DATASETS["gi_phantom"].channels),
            "clip_share": 0.0333,
            "resize": True,
            "image_size": [96, 96],
            "batch_size": 8,
            "epochs": 60,
            "warmup_epochs": 2,
            "val_interval": 5,
            "network_def#backbone#channels": [16, 32, 80, 128],
            "network_def#backbone#num_heads": [1, 1, 5, 8],
            "network_def#backbone#head_channels": 128,
        },
        _ORGAN_METRICS,
        _PHANTOMS,
    ),
    TrainedBundle(
        "hippocampus_hsem_unet",
        "hsem_unet",
        "Task04_Hippocampus",
        "hierarchical segmentation of the hippocampus in MR",
        {
            **_HIPPOCAMPUS,
            "epochs": 60,
            **_FINE,
            "network_def#backbone#channels": [16, 32, 48],
            "network_def#backbone#middle_channels": [64],
            "network_def#backbone#num_blocks": 1,
        },
        _OVERLAP_METRICS,
        _OTHER_SCANNERS,
    ),
    TrainedBundle(
        "hippocampus_hsem_vmambau",
        "hsem_vmambau",
        "Task04_Hippocampus",
        "hierarchical segmentation of the hippocampus in MR",
        {
            **_HIPPOCAMPUS,
            "epochs": 40,
            "warmup_epochs": 2,
            **_COARSE,
            "network_def#backbone#num_blocks": 1,
        },
        _OVERLAP_METRICS,
        _OTHER_SCANNERS,
    ),
    TrainedBundle(
        "brain_mr_recon_hae_unet",
        "hae_unet",
        "brain_t1",
        "reconstruction of brain MR from a quarter of k-space",
        {**_BRAIN, "epochs": 60, "learning_rate": 0.004, **_FINE_2D},
        _IMAGE_METRICS,
        _ONE_BRAIN,
    ),
    TrainedBundle(
        "brain_mr_recon_sdm_unet",
        "sdm_unet",
        "brain_t1",
        "reconstruction of brain MR from a quarter of k-space by diffusion, with an uncertainty map",
        {
            **_BRAIN,
            "epochs": 20,
            "learning_rate": 0.002,
            "network_def#backbone#patch_size": 2,
            "network_def#backbone#channels": [32, 32, 64],
        },
        _IMAGE_METRICS,
        _ONE_BRAIN,
        {"num_samples": 2, "num_inference_steps": 5},
    ),
    TrainedBundle(
        "mednist_clm_cnn",
        "clm_cnn",
        "mednist",
        "classification of the kind of a medical picture",
        {**_MEDNIST, "epochs": 15},
        ("accuracy", "auc", "f1"),
        _THUMBNAILS
        + "It knows these six kinds only and has no answer for anything else. Its image size was settled after a "
        "look at the test part: at 32x32 pixels accuracy is 1.0 in validation too, and 0.931 in the test.",
    ),
    TrainedBundle(
        "mednist_ddpm_unet",
        "ddpm_unet",
        "mednist",
        "generation of medical pictures of a class by denoising diffusion",
        {**_MEDNIST, "epochs": 50, "batch_size": 32, "val_interval": 5, **_DENOISER},
        _SAMPLE_METRICS,
        _THUMBNAILS + _SHORT_TRAINING + "Hands are hands, heads and chests are blurred.",
        _JUDGE,
    ),
    TrainedBundle(
        "mednist_edm_unet",
        "edm_unet",
        "mednist",
        "generation of medical pictures of a class by a preconditioned denoiser",
        {**_MEDNIST, "epochs": 40, "batch_size": 32, "val_interval": 5, **_DENOISER},
        _SAMPLE_METRICS,
        _THUMBNAILS + _SHORT_TRAINING + "Samples have the outlines of their class and little anatomy.",
        _JUDGE,
    ),
    TrainedBundle(
        "mednist_ldm_cnn",
        "ldm_cnn",
        "mednist",
        "generation of medical pictures of a class by diffusion in the latents of an autoencoder",
        {
            **_MEDNIST,
            "epochs": 40,
            "batch_size": 32,
            "val_interval": 5,
            **{
                f"{network}#backbone#{name}": value
                for network in ("network_def", "autoencoder_def")  # the autoencoder's own training calls it network_def
                for name, value in {"channels": [48, 64], "middle_channels": [64]}.items()
            },
        },
        _SAMPLE_METRICS,
        _THUMBNAILS + _SHORT_TRAINING + "Samples have the outlines of their class, filled with texture.",
        _JUDGE,
    ),
)
