"""A config's network, whatever its model is for: the backbone with its conditions, and what it gives."""

from __future__ import annotations

from typing import Any

from ..registry import serves
from .conditions import conditioning
from .encoder import encoder_key, encoder_settings, spatial_size
from .entries import Entries

BACKBONE = "network_def#backbone"


def _pair(model: Entries, architecture: str, key: str) -> None:
    """Set the pair, which must be one."""
    if not serves(key, architecture):
        raise ValueError(
            f"{model.name_of('encoder')} is {key!r}, whose connections bypass the latent of a {architecture!r}; "
            "expected an encoder without U or D at its end: in the original, too, its latent alone makes no image"
        )
    model.conversion.pair = f"{architecture}_{key}"


def backbone_of(owner: Entries, architecture: str | None, *context: str) -> tuple[dict[str, Any], Entries, int | None]:
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


def below(prefix: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a backbone by their whole names; what a pair's recipe says of conditions by itself is left out."""
    left_out = ("channels_out", "encoder_key", "conditioning#timesteps", "conditioning#image_channels")
    return {f"{prefix}#{name}": value for name, value in settings.items() if name not in left_out}


def classes_of(model: Entries, outputs: int, what: str) -> int:
    """The classes of a label map of so many channels; ``what`` one channel is."""
    if outputs > 1:
        return outputs
    model.note("encoder.out_channel", f"is 1, {what}; here background and foreground are two classes")
    return 2


def latent_of(settings: dict[str, Any]) -> dict[str, Any]:
    """The latent of an autoencoder: a vector, or a map of the middle's width."""
    vector = settings.pop("latent_size", None)
    return {"latent_size": vector} if vector else {"latent_channels": settings["middle_channels"][-1]}


def kl_weight_of(model: Entries) -> float:
    """The weight of the divergence."""
    divergence = model.section("distribution_loss")
    if divergence is None:
        return 1.0
    if divergence.take("name", "KL") != "KL":
        divergence.lack("name", "the divergence is KL here")
    weight = float(divergence.take("weight", 1.0))
    divergence.skip("reduction")
    divergence.close()
    return weight
