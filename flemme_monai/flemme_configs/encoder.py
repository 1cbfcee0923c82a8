"""A config's encoder: which backbone it is, and its settings."""

from __future__ import annotations

from typing import Any

from ..registry import ENCODERS
from .entries import Entries

ACTIVATIONS = {"lrelu": "leakyrelu", "silu": "swish", "leaky_relu": "leakyrelu"}
NORMS = {name: name for name in ("batch", "group", "instance", "layer", "rms")}
CHANNEL_ATTENTION = ("ca", "eca", "eca-ns")
ATTENTION = {"atten": True, "fft_atten": "fft"}
CONV_BLOCKS = {"single": "conv", "conv": "conv", "double": "double_conv", "res": "res_conv"}
CONV_BLOCKS |= {"double_conv": "double_conv", "res_conv": "res_conv"}
DOWN = {"conv": "conv", "max_pooling": "max", "avg_pooling": "avg", "inter": "interpolate"}
UP = {"conv": "conv", "inter": "interpolate"}


def spatial_size(encoder: Entries) -> list[int]:
    """The size of the images, which tells 2D from 3D."""
    size = encoder.take("image_size", [])
    sizes = [size, size] if isinstance(size, int) else list(size)
    if len(sizes) not in (2, 3):
        raise ValueError(f"{encoder.name_of('image_size')} is {size!r}; expected two sizes, or three of volumes")
    return sizes


def encoder_key(encoder: Entries, name: str = "") -> str:
    """The registry's key of an encoder of images.

    Args:
        encoder: its section.
        name: what the section says it is, where that was taken.
    """
    name = name or str(encoder.take("name", ""))
    key = {"cnnu": "unet", "cnnd": "dnet"}.get(name.lower(), name.lower())
    if key not in ENCODERS:
        images = ", ".join(row.name for row in ENCODERS.values())
        raise ValueError(
            f"{encoder.name_of('name')} is {name!r}; expected an encoder of images: {images}; point clouds, graphs and "
            "vectors have no counterpart here"
        )
    return key


def encoder_settings(encoder: Entries, key: str, spatial_dims: int) -> dict[str, Any]:
    """The settings of a backbone, by their names below ``network_def#backbone``.

    Args:
        encoder: the config's section, without its name, sizes of images and channels of input and output.
        key: the registry's key.
        spatial_dims: 2 or 3.
    """
    family = ENCODERS[key].family
    depth_channels = list(encoder.take("down_channels", [64, 128, 256]))
    middle = list(encoder.take("middle_channels", []))
    final = list(encoder.take("final_channels", []))
    up = list(encoder.take("up_channels", depth_channels[::-1]))
    if up != depth_channels[::-1]:
        encoder.lack("up_channels", f"are {up}; here the decoder mirrors the encoder's {depth_channels}")
    if not middle:
        middle = depth_channels[-1:]
        encoder.note("middle_channels", f"has none; one group of {middle[0]} channels stands there")
    found: dict[str, Any] = {
        "channels": depth_channels,
        "middle_channels": middle,
        "patch_size": encoder.take("patch_size", 2, ("proj_scaling",)),
        "patch_channels": encoder.take("patch_channel", 32, ("proj_channel",)),
        "num_blocks": encoder.take("num_blocks", 2),
    }
    if final:
        found["final_channels"] = final
    if encoder.take("abs_pos_embedding", False):
        found["position_embedding"] = True
    elif family == "vit":
        found["position_embedding"] = False
    found |= _bottleneck(encoder)
    widths = [found["patch_channels"], *depth_channels, middle[0]]
    settings = _conv(encoder, len(depth_channels)) if family == "conv" else _sequence(encoder, family, widths)
    if family == "conv":
        found["strides"] = encoder.take("shape_scaling", 2)
    else:
        found["drop_path"] = encoder.take("drop_path", 0.1)
    settings["act"] = _named(encoder, "activation", "relu" if family == "conv" else "silu", ACTIVATIONS)
    settings["dropout"] = encoder.take("dropout", 0.0)
    encoder.skip("qk_scale", "d_k", "return_features", "return_feature_list", "z_count", "last_activation")
    return {**found, **{f"family#{name}": value for name, value in settings.items()}}


def _bottleneck(encoder: Entries) -> dict[str, Any]:
    """A latent vector between the halves."""
    widths = encoder.take("dense_channels", [], ("fc_channels",))
    widths = widths if isinstance(widths, list) else [widths]
    back = encoder.take("decoder_dense_channels", widths[::-1], ("decode_fc_channels", "decoder_fc_channels"))
    if not widths:
        return {}
    found: dict[str, Any] = {"latent_size": widths[-1] if len(widths) == 1 else list(widths)}
    if list(back) != widths[::-1]:
        # the original's widths lead from the vector to the channels of a feature, which are the middle's here
        found["decoder_latent_size"] = list(back)[:-1]
    return found


def _conv(encoder: Entries, depth: int) -> dict[str, Any]:
    """The settings of a convolutional family."""
    encoder.skip("cn_order", "qkv_bias", "atten_dropout")
    heads = encoder.take("num_heads", 1)
    settings: dict[str, Any] = {
        "block": _named(encoder, "building_block", "single", CONV_BLOCKS, strict=True),
        "norm": _named(encoder, "normalization", "group", NORMS, strict=True),
        "num_groups": encoder.take("num_norm_groups", 8),
        "kernel_size": encoder.take("kernel_size", 3),
        "depthwise": encoder.take("depthwise", False),
        "down_mode": _named(encoder, "dsample_function", "conv", DOWN, strict=True),
        "up_mode": _named(encoder, "usample_function", "conv", UP, strict=True),
    }
    attention = _self_attention(encoder, depth)
    return settings | attention | ({"num_heads": heads} if attention else {}) | _channel_attention(encoder)


def _channel_attention(encoder: Entries) -> dict[str, Any]:
    """The attention over channels after every stage."""
    given = encoder.take("channel_attention")
    name = given.get("method") if isinstance(given, dict) else given
    if name is None:
        return {}
    if name not in CHANNEL_ATTENTION:
        encoder.lack("channel_attention", f"is {name!r}; expected one of {', '.join(CHANNEL_ATTENTION)}")
        return {}
    return {"channel_attention": name}


def _self_attention(encoder: Entries, depth: int) -> dict[str, Any]:
    """Which stages attend, and how; a level has one number of attentions and one kind here."""
    places = {name: encoder.take(f"{name}_attens") for name in ("down", "middle", "up", "final")}
    every = {kind for value in places.values() for kind in _per_level(value, 1)} - {None}
    for kind in every - set(ATTENTION):
        encoder.lack("down_attens", f"have {kind!r}; expected {' or '.join(ATTENTION)}")
    if not every:
        return {}
    down, up = _per_level(places["down"], depth), _per_level(places["up"], depth)
    middle, final = _per_level(places["middle"], 1), _per_level(places["final"], 1)
    if len(set(middle)) > 1 or len(set(final)) > 1:
        encoder.lack("middle_attens", f"are {middle} and {final}; the groups of one level have one attention here")
    encoder_side = [ATTENTION.get(kind, False) for kind in (*down, middle[0])]
    decoder_side = [ATTENTION.get(kind, False) for kind in reversed(up)]
    last = ATTENTION.get(final[0], False)
    return {
        "self_attention": encoder_side,
        "decoder_self_attention": decoder_side,
        "final_self_attention": last,
    }


def _sequence(encoder: Entries, family: str, widths: list[int]) -> dict[str, Any]:
    """The settings of a family of sequence blocks; ``widths`` are those of the patches, the stages and the middle."""
    default = {"vit": "vit", "swin": "swin", "mamba": "vmamba"}[family]
    block = str(encoder.take("building_block", default))
    settings: dict[str, Any] = {"block": block.replace("vmamba", "mamba")}
    settings["norm"] = _named(encoder, "normalization", "layer", NORMS, strict=True)
    groups = encoder.take("num_norm_groups", 8)
    if settings["norm"] == "group":
        settings["num_groups"] = groups
    ratios = encoder.take("mlp_hidden_ratio", [4.0], ("mlp_hidden_ratios",))
    ratios = ratios if isinstance(ratios, list) else [ratios]
    settings["mlp_ratio"] = ratios[0] if len(ratios) == 1 else ratios
    settings |= _channel_attention(encoder)
    if family == "mamba":
        return settings | _mamba(encoder)
    if family == "swin":
        settings["window_size"] = encoder.take("window_size", 8)
    settings |= _heads(encoder, widths)
    settings["qkv_bias"] = bool(encoder.take("qkv_bias", True))
    settings["attention_dropout"] = encoder.take("atten_dropout", 0.0)
    return settings


def _heads(encoder: Entries, widths: list[int]) -> dict[str, Any]:
    """The heads of each level, where they divide the widths of its blocks; else heads of 32 channels."""
    heads = {name: encoder.take(f"{name}_num_heads") for name in ("down", "middle", "up", "final")}
    if all(value is None for value in heads.values()):
        return {}
    depth = len(widths) - 2
    levels = _per_level(heads["down"] or 3, depth) + _per_level(heads["middle"] or 3, 1)[:1]
    fits = all(before % n == 0 and after % n == 0 for n, before, after in zip(levels, widths, widths[1:]))
    mirrored = heads["up"] is None or _per_level(heads["up"], depth)[::-1] == levels[:-1]
    if not fits or not mirrored:
        encoder.note("down_num_heads", f"are {levels}, which blocks of {widths} channels do not have; 32 channels each")
        return {}
    return {"num_heads": levels[0] if len(set(levels)) == 1 else levels}


def _mamba(encoder: Entries) -> dict[str, Any]:
    encoder.skip("dt_init", "dt_scale", "dt_init_floor", "conv_bias", "bias", "chunk_size")
    settings: dict[str, Any] = {
        "state_size": encoder.take("state_channel"),
        "kernel_size": encoder.take("conv_kernel_size", 3),
        "expansion": encoder.take("inner_factor", 2.0),
        "dt_rank": encoder.take("dt_rank"),
        "dt_range": [encoder.take("dt_min", 0.001), encoder.take("dt_max", 0.1)],
        "scan": encoder.take("scan_mode", "single"),
        "flip": encoder.take("flip_scan", True),
        "head_width": encoder.take("head_channel", 64),
    }
    if encoder.take("learnable_init_states", False):
        settings["learn_initial_state"] = True
    return {name: value for name, value in settings.items() if value is not None}


def _per_level(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, list) else [value] * count


def _named(encoder: Entries, key: str, default: str, names: dict[str, str], strict: bool = False) -> str:
    """A name as it is called here; ``strict`` where no other is known."""
    value = encoder.take(key, default)
    if strict and value not in names:
        encoder.lack(key, f"is {value!r}; expected one of {', '.join(names)}")
        return names[default]
    return names.get(value, value)
