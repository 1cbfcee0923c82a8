"""A config's conditions of a network: time steps, and what else it is told."""

from __future__ import annotations

from typing import Any

from ..registry import ENCODERS, FAMILIES
from .encoder import encoder_key, encoder_settings
from .entries import Entries

INJECTIONS = {"gate_bias": "gate_bias", "gate": "gate", "bias": "bias", "cross_attention": "cross_attention"}
COMBINES = ("cat", "add", "injection")
EMBEDDINGS = {"OneHot": "class", "Identity": "image", "Time": "position"}
OF_ENCODER = ("condition_encoder", "image_encoder_settings")


def conditioning(model: Entries, accepted: tuple[str, ...], spatial_dims: int) -> tuple[dict[str, Any], int | None]:
    """The settings below ``conditioning``, and the number of classes where the condition is a class.

    Args:
        model: the section with ``time_channel`` and ``condition_embedding``.
        accepted: the kinds of condition that the architecture takes; () for none.
        spatial_dims: 2 or 3.
    """
    found: dict[str, Any] = {}
    width = model.take("time_channel", 0)
    injection = model.take("time_injection", "gate_bias")
    if width:
        found |= {"timesteps": True, "channels": width}
        if injection not in INJECTIONS:
            model.lack("time_injection", f"is {injection!r}; expected one of {', '.join(INJECTIONS)}")
        elif injection != "gate_bias":
            found["time_injection"] = injection
    embedding = model.section("condition_embedding")
    if embedding is None:
        return found, None
    combine = str(embedding.take("combine_condition", "add"))
    if embedding.take("merge_timestep_and_condition", False, ("merge_timestep_and_context",)):
        embedding.note("merge_timestep_and_condition", "the condition is injected into every block beside the time")
        combine = "injection"
    kind = embedding.take("condition_injection", "gate_bias")
    first = embedding.take("condition_first", False)
    if combine not in COMBINES:
        embedding.lack("combine_condition", f"is {combine!r}; expected one of {', '.join(COMBINES)}")
        return found, None
    if combine == "injection":
        found |= {"combine": "injection", "injection": kind} if kind in INJECTIONS else {"combine": "injection"}
        if kind not in INJECTIONS:
            embedding.lack("condition_injection", f"is {kind!r}; expected one of {', '.join(INJECTIONS)}")
        if first:
            found["condition_first"] = True
    else:
        found["combine"] = combine
    decoder = embedding.take("decoder")
    encoder = embedding.section("encoder")
    own = None
    if isinstance(decoder, dict):
        own = Entries(decoder, embedding.name_of("decoder"), embedding.conversion)
    section = encoder or own
    num_classes = None if section is None else _embedding(section, found, accepted, spatial_dims)
    if encoder is None and own is not None:
        found["side"] = "decoder"
    elif encoder is not None and decoder is None:
        found["side"] = "encoder"
    elif encoder is not None and own is not None:
        found["separate_embeddings"] = True
        other = {"channels": found["channels"]} if "channels" in found else {}
        _embedding(own, other, accepted, spatial_dims)
        different = [name for name in (*OF_ENCODER, "context") if other.get(name) != found.get(name)]
        if different:
            embedding.lack("decoder", "embeds in another way than the encoder; here both halves embed in one way")
    embedding.close()
    return found, num_classes


def _embedding(section: Entries, found: dict[str, Any], accepted: tuple[str, ...], spatial_dims: int) -> int | None:
    """Add the width to the settings, and what embeds an image; the number of classes where the condition is a class."""
    name = str(section.take("name", ""))
    section.skip("type", "apply_onehot")
    out = section.take("out_channel")
    classes = section.take("num_classes")
    of_encoder = {"cnnu": "unet", "cnnd": "dnet"}.get(name.lower(), name.lower()) in ENCODERS
    if name not in EMBEDDINGS and not of_encoder:
        section.lack("name", f"is {name!r}; expected {', '.join(EMBEDDINGS)} or an encoder of images")
        return None
    context = EMBEDDINGS.get(name, "image")
    if context not in accepted:
        here = " or ".join(map(repr, accepted)) or "none"
        section.lack("name", f"{name} embeds a condition '{context}'; here it is {here}")
    if of_encoder:
        _image_encoder(section, name, found, spatial_dims)
    else:
        section.skip("activation")
    if context == "position":
        found |= {"context": "position", "context_size": 1}
    elif name == "Identity" and out:
        found["image_channels"] = out
    if context != "image" and out and "channels" not in found:
        found["channels"] = out
    elif context != "image" and out and out != found["channels"]:
        section.note("out_channel", f"is {out}; all embeddings are {found['channels']} wide here")
    section.close()
    return classes if context == "class" else None


def _image_encoder(section: Entries, name: str, found: dict[str, Any], spatial_dims: int) -> None:
    """Add the encoder of an image, which has the settings of a network's."""
    section.skip("image_size")
    found["image_channels"] = section.take("in_channel", 1)
    found["condition_encoder"] = key = encoder_key(section, name)
    settings = encoder_settings(section, key, spatial_dims)
    blocks = {name.partition("#")[2]: value for name, value in settings.items() if name.startswith("family#")}
    settings = {name: value for name, value in settings.items() if not name.startswith("family#")}
    found["image_encoder_settings"] = {
        **settings,
        "family": {"_target_": FAMILIES[ENCODERS[key].family].path, **blocks},
    }
