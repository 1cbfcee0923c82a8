"""A config's model: which pair it is, and the settings of its network."""

from __future__ import annotations

from .diffusion import read_diffusion, read_latent, read_segmenting, read_supervised
from .entries import Entries
from .losses import image_terms, segmentation_terms
from .network import BACKBONE, backbone_of, below, classes_of, kl_weight_of, latent_of

IMPLICIT = {"DDIM": "DDPM", "LDIM": "LDM", "LDPM": "LDM", "SDIM": "SDM", "SDPM": "SDM"}


def read_model(model: Entries, segments: bool = False) -> None:
    """Take a model's section.

    Args:
        model: the section.
        segments: whether the targets of the training are label maps.
    """
    written = str(model.take("name", ""))
    name = IMPLICIT.get(written, written)
    readers = {
        "SeM": _segmentation,
        "HSeM": _segmentation,
        "AE": _reconstruction,
        "HAE": _reconstruction,
        "VAE": _variational,
        "ClM": _classification,
        "DDPM": read_diffusion,
        "EDM": read_diffusion,
        "SDM": read_segmenting if segments else read_supervised,
        "LDM": read_latent,
    }
    if name not in readers:
        raise ValueError(f"{model.name_of('name')} is {written!r}; expected one of {', '.join([*readers, *IMPLICIT])}")
    if "template_path" in model:
        model.lack("template_path", "names another file; write its model here")
    model.skip("template_path", "loss_reduction")
    readers[name](model, name)
    if written in IMPLICIT:
        model.conversion.settings["sampler"] = "ddim" if written.endswith("IM") else "ddpm"
    model.close()


def _segmentation(model: Entries, name: str) -> None:
    settings, _, classes = backbone_of(model, name.lower(), "class")
    found = model.conversion.settings
    if classes:
        found["condition_classes"] = classes
        model.note("condition_embedding", "the class of an image is the name of its first sub-folder here")
    found["num_classes"] = classes_of(model, settings["channels_out"], "a sigmoid")
    found["loss_terms"] = segmentation_terms(model)
    found |= below(BACKBONE, settings)
    if name == "HSeM":
        found["network_def#fusion"] = _fusion(model)


def _fusion(model: Entries) -> str:
    fusion = str(model.take("combine_method", "cat", ("combine", "fusion")))
    if fusion not in ("cat", "add"):
        model.lack("combine_method", f"is {fusion!r}; expected cat or add")
        return "cat"
    return fusion


def _reconstruction(model: Entries, name: str) -> None:
    settings, _, classes = backbone_of(model, name.lower(), "class")
    found = model.conversion.settings
    found["out_channels"] = settings["channels_out"]
    if classes:
        found["num_classes"] = classes
    if model.take("is_supervising", False, ("is_supervised",)):
        found["degradation"] = "given"
    found["loss_terms"] = image_terms(model, "reconstruction_losses")
    found |= below(BACKBONE, settings)
    if name == "HAE":
        found["network_def#fusion"] = _fusion(model)


def _variational(model: Entries, name: str) -> None:
    settings, _, classes = backbone_of(model, "vae", "class", "position")
    found = model.conversion.settings
    if classes:
        found["num_classes"] = classes
    found |= latent_of(settings)
    found["loss_terms"] = image_terms(model, "reconstruction_losses")
    found["kl_weight"] = kl_weight_of(model)
    found |= below(BACKBONE, settings)


def _classification(model: Entries, name: str) -> None:
    settings, _, _ = backbone_of(model, "clm")
    found = model.conversion.settings
    found["num_classes"] = settings["channels_out"]
    vector = settings.pop("latent_size", None)
    if vector:
        found["network_def#hidden"] = [vector]
        model.note("encoder.dense_channels", f"a linear layer of {vector} stands behind the pooled latent")
    for loss in model.sections("classification_losses"):
        if loss.take("name", "CE") != "CE":
            loss.lack("name", "classification lowers cross-entropy here")
        loss.skip("weight", "reduction")
        loss.close()
    found |= below(BACKBONE, settings)
