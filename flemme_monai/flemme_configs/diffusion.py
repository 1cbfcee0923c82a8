"""A config's diffusion: of images, under an image, or of the latents of an autoencoder."""

from __future__ import annotations

import math
from typing import Any

from .entries import Entries
from .losses import image_terms
from .network import BACKBONE, backbone_of, below, classes_of, kl_weight_of, latent_of

SCHEDULES = {"consine": "cosine", "cosine": "cosine", "linear": "linear_beta", "sigmoid": "sigmoid_beta"}


def _process(model: Entries, kind: str) -> dict[str, Any]:
    """The settings of a noise process."""
    found: dict[str, Any] = {}
    guidance = model.section("classifier_free_guidance")
    if guidance is not None:
        found["context_drop"] = guidance.take("condition_dropout", 0.1)
        weight = guidance.take("guidance_weight", 1.0)
        found["guidance_scale"] = 1.0 + weight
        guidance.note("guidance_weight", f"{weight} of the original's formula is a guidance_scale of {1.0 + weight}")
        guidance.close()
    if kind == "EDM":
        found |= {"num_inference_steps": model.take("num_steps", 20), "sigma_max": model.take("sigma_max", 80.0)}
        found |= {"sigma_data": model.take("sigma_data", 0.5), "s_churn": model.take("S_churn", 0.0)}
        for key, setting, default in (
            ("sigma_min", "sampling#sigma_min", 0.002),
            ("rho", "sampling#rho", 7.0),
            ("S_min", "sampling#s_tmin", 0.0),
            ("S_noise", "sampling#s_noise", 1.0),
            ("P_mean", "train#prepare_batch#mean", -1.2),
            ("P_std", "train#prepare_batch#std", 1.2),
        ):
            value = model.take(key, default)
            if value != default:
                found[setting] = value
        if str(model.take("S_max", "inf")) not in ("inf", ".inf"):
            model.lack("S_max", "noise is added at all levels here; set sampling#s_tmax by hand")
        return found
    schedule = model.take("beta_schedule", "consine")
    if schedule not in SCHEDULES:
        model.lack("beta_schedule", f"is {schedule!r}; expected one of {', '.join(SCHEDULES)}")
    found["schedule"] = SCHEDULES.get(schedule, "cosine")
    found |= {"num_train_timesteps": model.take("num_steps", 1000, ("n_steps",)), "prediction_type": "epsilon"}
    steps = model.take("sample_num_steps", None, ("num_sample_steps",))
    if steps:
        found["num_inference_steps"] = steps
    model.skip("clipped", "clip_range", "eta", "loss_reduction", "num_ensemble")
    return found


def _eps_model(model: Entries, architecture: str | None, *context: str) -> tuple[dict[str, Any], int | None, bool]:
    """The denoiser's backbone, its classes, and whether it is hierarchical."""
    section = model.section("eps_model")
    if section is None:
        raise ValueError(f"{model.name_of('eps_model')} is missing; expected the denoiser: add it")
    hierarchical = section.take("name", "Base") == "HBase"
    settings, _, classes = backbone_of(section, architecture, *context)
    section.skip("loss_reduction")
    section.close()
    return settings, classes, hierarchical


def _denoising_loss(model: Entries, kind: str) -> list[Any]:
    """``loss_terms`` of a denoiser; of one that predicts the image further losses on it too."""
    terms = image_terms(model, "eps_loss")
    if "reconstruction_losses" in model and kind != "EDM":
        model.lack("reconstruction_losses", "a network that predicts noise has losses of noise alone here")
        model.skip("reconstruction_losses")
        return terms
    names = [term if isinstance(term, str) else term["loss"] for term in terms]
    more = image_terms(model, "reconstruction_losses") if "reconstruction_losses" in model else []
    for term in more:
        if (term if isinstance(term, str) else term["loss"]) in names:
            model.lack("reconstruction_losses", f"{term} is in eps_loss too; expected it once, with both weights' sum")
        else:
            terms.append(term)
    return terms


def read_diffusion(model: Entries, name: str) -> None:
    """Take a denoiser of images."""
    found = model.conversion.settings
    settings, classes, hierarchical = _eps_model(model, name.lower(), "class", "position")
    if classes:
        found["num_classes"] = classes
    found |= _process(model, name) | below(BACKBONE, settings)
    if hierarchical:
        found["network_def#fusion"] = "cat"
    found["loss_terms"] = _denoising_loss(model, name)


def _inner(model: Entries) -> Entries:
    """The diffusion inside a supervised or latent model; the section itself, as older configs have it."""
    return model.section("diffusion") or model


def _inner_process(model: Entries, kind: str) -> dict[str, Any]:
    """The settings of the diffusion inside of a supervised or latent model; what it noises has unit deviation here."""
    found = _process(model, kind)
    if kind != "EDM":
        return found
    deviation = found.pop("sigma_data")
    mean = found.pop("train#prepare_batch#mean", -1.2)
    if deviation != 1:
        model.note("sigma_data", f"is {deviation}; here what is noised has a deviation of 1, and P_mean is moved by it")
    if (mean, deviation) != (-1.2, 0.5):
        found["train#prepare_batch#mean"] = mean - math.log(deviation)
    return found | {"noise_process": "edm"}


def _under_image(model: Entries, architecture: str) -> dict[str, Any]:
    """Set what supervised diffusion is; the settings of its backbone."""
    found = model.conversion.settings
    inner = _inner(model)
    kind = str(inner.take("name", "DDPM")) if inner is not model else "DDPM"
    ensemble = inner.take("num_ensemble", None) or model.take("num_ensemble", 10)
    settings, _, hierarchical = _eps_model(inner, architecture, "image")
    found["num_samples"] = max(2, ensemble)
    if ensemble < 2:
        inner.note("num_ensemble", "is 1; 2 samples are the fewest here, since their deviation is written too")
    if kind == "DDIM":
        found["sampler"] = "ddim"
    found |= _inner_process(inner, kind) | below(BACKBONE, settings)
    if hierarchical:
        found["network_def#fusion"] = "cat"
    found["loss_terms"] = _denoising_loss(inner, kind)
    if inner is not model:
        inner.close()
    return settings


def read_supervised(model: Entries, name: str) -> None:
    """Take a denoiser of images under an image."""
    settings = _under_image(model, "sdm")
    model.conversion.settings |= {"out_channels": settings["channels_out"], "degradation": "given"}


def read_segmenting(model: Entries, name: str) -> None:
    """Take a denoiser of label maps under an image."""
    settings = _under_image(model, "dsem")
    found = model.conversion.settings
    found["num_classes"] = classes_of(model, settings["channels_out"], "a mask")
    found["in_channels"] = settings.get("conditioning#image_channels", 1)


def read_latent(model: Entries, name: str) -> None:
    """Take a denoiser of latents, and its autoencoder."""
    found = model.conversion.settings
    autoencoder = model.section("ae_model") or model.section("autoencoder")
    if autoencoder is None:
        raise ValueError(f"{model.name_of('ae_model')} is missing; expected the autoencoder: add it")
    kind_of_coder = str(autoencoder.take("name", "VAE"))
    if kind_of_coder not in ("AE", "VAE"):
        autoencoder.lack("name", f"is {kind_of_coder!r}; expected AE or VAE")
    coder, _, coder_classes = backbone_of(autoencoder, "ldm", "class")
    if coder_classes:
        found["num_classes"] = coder_classes
    found |= latent_of(coder)
    terms = image_terms(autoencoder, "reconstruction_losses")
    of_coder: dict[str, Any] = {"variational": kind_of_coder == "VAE", "conditional_autoencoder": bool(coder_classes)}
    if kind_of_coder == "VAE":
        of_coder["kl_weight"] = kl_weight_of(autoencoder)
    autoencoder.skip("is_supervising", "is_supervised")
    autoencoder.close()
    inner = _inner(model)
    kind = str(inner.take("name", "DDPM")) if inner is not model else "DDPM"
    if kind == "DDIM":
        found["sampler"] = "ddim"
    size = {name: found[name] for name in ("spatial_dims", "image_size", "in_channels")}
    pair = model.conversion.pair
    settings, classes, hierarchical = _eps_model(inner, None, "class", "position")
    found |= size
    if classes:
        found["num_classes"] = classes
    if f"ldm_{settings['encoder_key']}" != pair:
        inner.lack("eps_model.encoder.name", f"is another encoder than that of {pair}; here both halves have one")
    process = _inner_process(inner, kind)
    of_training = {key: process.pop(key) for key in list(process) if key.startswith("train#")}
    found |= process
    joint = not model.take("freezed_ae", True)
    if joint:
        model.note(
            "freezed_ae",
            "is false: train by ['train_diffusion.json','joint.json'] alone, where the denoising loss moves the "
            "denoiser alone",
        )
    if model.take("ae_path"):
        model.note("ae_path", "weights of the original are not read; train_autoencoder.json trains the autoencoder")
    loss = {"loss_terms": _denoising_loss(inner, kind)}
    if inner is not model:
        inner.close()
    of_denoiser = below(BACKBONE, settings) | ({"network_def#fusion": "cat"} if hierarchical else {})
    whole, without_conditions = below("autoencoder_def#backbone", coder), {}
    for key, value in whole.items():  # those of the autoencoder's conditions are in the record of its weights
        if "#conditioning#" not in key:
            without_conditions[key] = value
    if joint and of_training:
        model.lack("freezed_ae", "is false; joint.json has P_mean and P_std of Karras et al.: set them there by hand")
    workflows = model.conversion.of_workflows
    workflows["train_autoencoder"] = below(BACKBONE, coder) | of_coder | {"loss_terms": terms}
    workflows["joint"] = whole | of_coder | {"reconstruction_terms": terms}
    workflows["inference"] = {**without_conditions, **of_denoiser}
    workflows["train_diffusion"] = {**without_conditions, **of_denoiser, **loss, **of_training}
