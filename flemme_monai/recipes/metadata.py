"""``metadata.json``: what a bundle says of itself."""

from __future__ import annotations

from .. import __version__
from ..registry import ARCHITECTURES, backbone, reference
from .base import Config, Recipe
from .networks import built_backbone

DATA_TYPE = "2D images or 3D volumes; PNG, JPEG, TIFF, NIfTI, NRRD or DICOM"


def metadata(name: str, pair: str, recipe: Recipe, inference: Config) -> Config:
    """The content of the file.

    Args:
        name: the bundle's name.
        pair: ``<architecture>_<backbone>``.
        recipe: what the bundle is made of.
        inference: its config of inference.
    """
    architecture, _, key = pair.partition("_")
    row = backbone(key)
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
        "meta_schema_20240725.json",
        "version": "0.3.0",
        "changelog": {
            "0.3.0": "lasting names of weights; the field's words in settings and handlers",
            "0.2.0": "settings of trained networks are kept with their weights; loading by traced transforms; "
            "splits are recorded",
            "0.1.0": "first version",
        },
        "monai_version": "1.6.1",
        "pytorch_version": "2.13.0",
        "numpy_version": "2.2.6",
        "required_packages_version": {
            "flemme-monai": __version__,
            "fire": "0.7.1",
            "itk": "5.4.7",
            "matplotlib": "3.10.7",
            "nibabel": "5.3.3",
            "pyyaml": "6.0.3",
            "pytorch-ignite": "0.5.5",
            "scikit-learn": "1.7.2",
            "tensorboard": "2.20.0",
        },
        "supported_apps": {},
        "name": name,
        "task": f"{recipe.title} of images in 2D and 3D",
        "description": f"A {row.title} encoder-decoder ({row.name}) for {recipe.title} "
        f"({ARCHITECTURES[architecture].name}), in 2D and 3D.",
        "authors": "flemme_monai contributors",
        "copyright": "Copyright (c) flemme_monai contributors",
        "data_source": "phantoms made by flemme_monai; the user's own images",
        "data_type": DATA_TYPE,
        "image_classes": "one channel, a 2D image or a 3D volume",
        "intended_use": "research; not for clinical use",
        "references": [*recipe.references, reference(key)],
        "network_data_format": network_data_format(recipe, inference),
    }


def network_data_format(recipe: Recipe, inference: Config) -> Config:
    """The shapes and ranges of the network's input and output, by the settings of the config of inference."""
    network, form = inference["network_def"]["backbone"], recipe.format
    channels, outputs = (inference[network[key].removeprefix("@")] for key in ("in_channels", "out_channels"))
    # twice the total stride: the smallest size whose latent is no single position
    shape = [f"{2 * n}*n" for n in built_backbone(inference).size_divisor]
    first, *others = form.channels
    multi_label = inference.get("multi_label", False)  # every output is a class for itself

    def output(index: int) -> str:
        if multi_label:
            return str((inference["class_names"] or {index: f"class {index + 1}"})[index])
        return first if index == 0 else [first, *others][-1].replace("{i}", str(index))

    return {
        "inputs": {
            "image": {
                "type": "image",
                "format": "magnitude",
                "modality": "any",
                "num_channels": channels,
                "spatial_shape": shape,
                "dtype": "float32",
                "value_range": [0, 1] if inference.get("clip_share") else list(form.input_range),
                "is_patch_data": True,
                "channel_def": {str(i): "image" if channels == 1 else f"channel {i}" for i in range(channels)},
            }
        },
        "outputs": {
            "pred": {
                "type": form.type,
                "format": form.format,
                "num_channels": outputs,
                "spatial_shape": shape,
                "dtype": "float32",
                "value_range": list(form.output_range),
                "is_patch_data": form.patches,
                "channel_def": {str(i): output(i) for i in range(outputs)},
            }
        },
    }
