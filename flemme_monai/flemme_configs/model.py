"""A config's model: which pair it is, and the settings of its network."""

from __future__ import annotations

from typing import Any

from ..registry import serves
from .conditions import conditioning
from .encoder import encoder_key, encoder_settings, spatial_size
from .entries import Entries
from .losses import image_terms, segmentation_terms

SCHEDULES = {"consine": "cosine", "cosine": "cosine", "linear": "linear_beta", "sigmoid": "sigmoid_beta"}
IMPLICIT = {"DDIM": "DDPM", "LDIM": "LDM", "LDPM": "LDM", "SDIM": "SDM", "SDPM": "SDM"}
BACKBONE = "network_def#backbone"


def read_model(model: Entries) -> None:
    """Take a model's section."""
    written = str(model.take("name", ""))
    name = IMPLICIT.get(written, written)
    readers = {
        "SeM": _segmentation,
        "HSeM": _segmentation,
        "AE": _reconstruction,
        "HAE": _reconstruction,
        "VAE": _variational,
        "ClM": _classification,
        "DDPM": _diffusion,
        "EDM": _diffusion,
        "SDM": _supervised,
        "LDM": _latent,
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


def _pair(model: Entries, architecture: str, key: str) -> None:
    """Set the pair, which must be one."""
    if not serves(key, architecture):
        raise ValueError(
            f"{model.name_of('encoder')} is {key!r}, whose connections bypass the latent of a {architecture!r}; "
            "expected an encoder without U or D at its end: in the original, too, its latent alone makes no image"
        )
    model.conversion.pair = f"{architecture}_{key}"


def _backbone(owner: Entries, architecture: str | None, *context: str) -> tuple[dict[str, Any], Entries, int | None]:
    """A network's settings below ``network_def#backbone``, its section ``encoder`` and its number of classes.

    Args:
        owner: the section that holds the encoder.
        architecture: the registry's key; None where another section has named the pair.
        context: the kinds of condition that it takes.
    """
    encoder = owner.section("encoder")
    if encoder is None:
        raise ValueError(f"{owner.name_of('encoder')} is missing; expected an encoder: add it")
    key, size = encoder_key(encoder), spatial_size(encoder)
    in_channels = encoder.take("in_channel", 1)
    out_channels = encoder.take("out_channel") or in_channels
    shared = owner.conversion.settings
    if architecture is not None:
        _pair(owner, architecture, key)
        shared |= {"spatial_dims": len(size), "image_size": size, "in_channels": in_channels}
    settings = encoder_settings(encoder, key, len(size))
    of_conditions, classes = conditioning(owner, context, len(size))
    encoder_of_image = of_conditions.pop("condition_encoder", None)
    if encoder_of_image:
        shared["condition_encoder"] = encoder_of_image
    if of_conditions.get("context") == "position":
        shared["condition_key"] = "slice"
    settings |= {f"conditioning#{name}": value for name, value in of_conditions.items()}
    encoder.close()
    settings["channels_out"], settings["encoder_key"] = out_channels, key
    decoder = owner.section("decoder")
    if decoder is not None:
        settings["decoder_family"] = _decoder_family(decoder)
    return settings, encoder, classes


def _decoder_family(decoder: Entries) -> dict[str, Any]:
    """The blocks of a decoder of another family."""
    from ..registry import ENCODERS, FAMILIES

    key = encoder_key(decoder)
    settings = encoder_settings(decoder, key, 2)
    decoder.close()
    blocks = {name.partition("#")[2]: value for name, value in settings.items() if name.startswith("family#")}
    return {"_target_": FAMILIES[ENCODERS[key].family].path, **blocks}


def _below(prefix: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a backbone by their whole names; what a pair's recipe says of conditions by itself is left out."""
    left_out = ("channels_out", "encoder_key", "conditioning#timesteps")
    return {f"{prefix}#{name}": value for name, value in settings.items() if name not in left_out}


def _segmentation(model: Entries, name: str) -> None:
    settings, _, classes = _backbone(model, name.lower(), "class")
    found = model.conversion.settings
    if classes:
        found["condition_classes"] = classes
        model.note("condition_embedding", "the class of an image is the name of its first sub-folder here")
    outputs = settings["channels_out"]
    found["num_classes"] = outputs if outputs > 1 else 2
    if outputs == 1:
        model.note("encoder.out_channel", "is 1, a sigmoid; here background and foreground are two classes")
    found["loss_terms"] = segmentation_terms(model)
    found |= _below(BACKBONE, settings)
    if name == "HSeM":
        found["network_def#fusion"] = _fusion(model)


def _fusion(model: Entries) -> str:
    fusion = str(model.take("combine_method", "cat", ("combine", "fusion")))
    if fusion not in ("cat", "add"):
        model.lack("combine_method", f"is {fusion!r}; expected cat or add")
        return "cat"
    return fusion


def _reconstruction(model: Entries, name: str) -> None:
    settings, _, classes = _backbone(model, name.lower(), "class")
    found = model.conversion.settings
    found["out_channels"] = settings["channels_out"]
    if classes:
        found["num_classes"] = classes
    if model.take("is_supervising", False, ("is_supervised",)):
        found["degradation"] = "given"
    found["loss_terms"] = image_terms(model, "reconstruction_losses")
    found |= _below(BACKBONE, settings)
    if name == "HAE":
        found["network_def#fusion"] = _fusion(model)


def _variational(model: Entries, name: str) -> None:
    settings, _, classes = _backbone(model, "vae", "class", "position")
    found = model.conversion.settings
    if classes:
        found["num_classes"] = classes
    found |= _latent_of(settings)
    found["loss_terms"] = image_terms(model, "reconstruction_losses")
    found["kl_weight"] = _kl_weight(model)
    found |= _below(BACKBONE, settings)


def _latent_of(settings: dict[str, Any]) -> dict[str, Any]:
    """The latent of an autoencoder: a vector, or a map of the middle's width."""
    vector = settings.pop("latent_size", None)
    return {"latent_size": vector} if vector else {"latent_channels": settings["middle_channels"][-1]}


def _kl_weight(model: Entries) -> float:
    divergence = model.section("distribution_loss")
    if divergence is None:
        return 1.0
    if divergence.take("name", "KL") != "KL":
        divergence.lack("name", "the divergence is KL here")
    weight = float(divergence.take("weight", 1.0))
    divergence.skip("reduction")
    divergence.close()
    return weight


def _classification(model: Entries, name: str) -> None:
    settings, _, _ = _backbone(model, "clm")
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
    found |= _below(BACKBONE, settings)


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
    settings, _, classes = _backbone(section, architecture, *context)
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


def _diffusion(model: Entries, name: str) -> None:
    found = model.conversion.settings
    settings, classes, hierarchical = _eps_model(model, name.lower(), "class", "position")
    if classes:
        found["num_classes"] = classes
    found |= _process(model, name) | _below(BACKBONE, settings)
    if hierarchical:
        found["network_def#fusion"] = "cat"
    found["loss_terms"] = _denoising_loss(model, name)


def _inner(model: Entries) -> Entries:
    """The diffusion inside a supervised or latent model; the section itself, as older configs have it."""
    return model.section("diffusion") or model


def _supervised(model: Entries, name: str) -> None:
    found = model.conversion.settings
    inner = _inner(model)
    kind = str(inner.take("name", "DDPM")) if inner is not model else "DDPM"
    ensemble = inner.take("num_ensemble", None) or model.take("num_ensemble", 10)
    settings, _, hierarchical = _eps_model(inner, "sdm", "image")
    found["out_channels"] = settings["channels_out"]
    found["num_samples"] = max(2, ensemble)
    if ensemble < 2:
        inner.note("num_ensemble", "is 1; 2 samples are the fewest here, since their deviation is written too")
    if kind == "EDM":
        inner.lack("name", "is EDM; supervised diffusion goes by a schedule of steps here")
    if kind == "DDIM":
        found["sampler"] = "ddim"
    found |= _process(inner, kind) | _below(BACKBONE, settings)
    if hierarchical:
        found["network_def#fusion"] = "cat"
    found["degradation"] = "given"
    found["loss_terms"] = _denoising_loss(inner, kind)
    if inner is not model:
        inner.close()


def _latent(model: Entries, name: str) -> None:
    found = model.conversion.settings
    autoencoder = model.section("ae_model") or model.section("autoencoder")
    if autoencoder is None:
        raise ValueError(f"{model.name_of('ae_model')} is missing; expected the autoencoder: add it")
    if autoencoder.take("name", "VAE") != "VAE":
        autoencoder.lack("name", "latents are those of a VAE here")
    coder, _, _ = _backbone(autoencoder, "ldm")
    found |= _latent_of(coder)
    terms = image_terms(autoencoder, "reconstruction_losses")
    of_coder = _below(BACKBONE, coder) | {"loss_terms": terms, "kl_weight": _kl_weight(autoencoder)}
    autoencoder.skip("is_supervising", "is_supervised")
    autoencoder.close()
    inner = _inner(model)
    kind = str(inner.take("name", "DDPM")) if inner is not model else "DDPM"
    if kind == "EDM":
        inner.lack("name", "is EDM; latent diffusion goes by a schedule of steps here")
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
    found |= _process(inner, kind)
    if not model.take("freezed_ae", True):
        model.lack("freezed_ae", "is false; the autoencoder is trained first here, and the denoiser then")
    if model.take("ae_path"):
        model.note("ae_path", "weights of the original are not read; train_autoencoder.json trains the autoencoder")
    loss = {"loss_terms": _denoising_loss(inner, kind)}
    if inner is not model:
        inner.close()
    of_denoiser = _below(BACKBONE, settings) | ({"network_def#fusion": "cat"} if hierarchical else {})
    in_all = {name.replace("network_def", "autoencoder_def"): v for name, v in of_coder.items() if name[:3] == "net"}
    workflows = model.conversion.of_workflows
    workflows["train_autoencoder"] = of_coder
    workflows["inference"] = {**in_all, **of_denoiser}
    workflows["train_diffusion"] = {**in_all, **of_denoiser, **loss}
