"""A config's conditions of a network: time steps, and what else it is told."""

from __future__ import annotations

from typing import Any

from .entries import Entries

INJECTIONS = {"gate_bias": "gate_bias", "gate": "gate", "bias": "bias", "cross_attention": "cross_attention"}
COMBINES = ("cat", "add", "injection")
EMBEDDINGS = {"OneHot": "class", "Identity": "image", "Time": "position"}


def conditioning(model: Entries, context: str | None) -> tuple[dict[str, Any], int | None]:
    """The settings below ``conditioning``, and the number of classes where the condition is a class.

    Args:
        model: the section with ``time_channel`` and ``condition_embedding``.
        context: the kind of condition that the architecture takes.
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
    num_classes: int | None = None
    if encoder is not None:
        num_classes = _embedding(encoder, found, context)
    elif isinstance(decoder, dict):
        section = Entries(decoder, embedding.name_of("decoder"), embedding.conversion)
        num_classes = _embedding(section, found, context)
        found["side"] = "decoder"
    if encoder is not None and decoder is None:
        found["side"] = "encoder"
    if encoder is not None and isinstance(decoder, dict):
        embedding.note("decoder", "has an embedding of its own; here both sides are told by one")
    embedding.close()
    return found, num_classes


def _embedding(section: Entries, found: dict[str, Any], expected: str | None) -> int | None:
    """Add the width to the settings; the number of classes where the condition is a class."""
    name = str(section.take("name", ""))
    section.skip("type", "activation", "apply_onehot")
    out = section.take("out_channel")
    classes = section.take("num_classes")
    if name not in EMBEDDINGS:
        section.lack("name", f"is {name!r}; an encoder as embedding is set by hand: conditioning#context image")
        return None
    context = EMBEDDINGS[name]
    if context != expected:
        section.lack("name", f"{name} embeds a condition '{context}'; here it is {expected!r}")
    if context == "image" and out:
        found["image_channels"] = out
    elif context != "image" and out and "channels" not in found:
        found["channels"] = out
    elif context != "image" and out and out != found["channels"]:
        section.note("out_channel", f"is {out}; both embeddings are {found['channels']} wide here")
    section.close()
    return classes if context == "class" else None
