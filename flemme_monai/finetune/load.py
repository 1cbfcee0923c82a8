"""Load of some weights what fits a network, and say what."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import ignite.distributed as idist
import torch
from torch import nn

from ..backbones.backbone import ImageEncoder, convolutions_of
from ..utils.record import contradictions, read_record, record_path
from ..utils.weights import differ_in_input_channels, read_weights, with_input_channels
from .names import grouped

MIN_SHARE = 0.5
ENCODER_ALONE = "not in the file, which is an encoder's"
SHOWN = 3
_logger = logging.getLogger(__name__)


class HasEnds(Protocol):
    """What networks of this package say of themselves: see ``architectures.Architecture``."""

    data_statistics: tuple[str, ...]

    def input_layers(self) -> list[nn.Module]: ...
    def output_layers(self) -> list[nn.Module]: ...


@dataclass
class _Fit:
    """What of a file fits a network.

    Args:
        tensors: the network's new tensors, by name.
        adapted: why a tensor has another form than in the file, by name.
        left: why a tensor stays as it is, by name.
        left_out: names of the tensors that stay on purpose; with an encoder alone, those that it does not have.
        wrong_head: names of the output layers' tensors that have another shape.
    """

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    wrong_head: list[str] = field(default_factory=list)


def load_what_fits(
    network: nn.Module, path: Path, pretrained_head: bool = True, settings: Mapping[str, Any] | None = None
) -> set[str]:
    """Load into a network what of some weights has its names and shapes, and log the names.

    The first convolution takes an image with another number of channels: each channel gets the mean of the weights,
    times the channels there over those here, so that the response to equal channels is the same. A file may hold an
    encoder, or its first stages, alone: of these half must fit.

    Args:
        network: the network, before it is wrapped.
        path: file of the weights, beside which a ``network.json`` may say what they are of.
        pretrained_head: whether the output layers are loaded too.
        settings: this run's settings by name that give weights their meaning.

    Returns:
        The names of the tensors that were loaded.

    Raises:
        ValueError: If less than half of the parameters fit, or the output layers have another number of channels.
    """
    state = read_weights(path)
    own = network.state_dict(keep_vars=True)
    fit = _fit(network, own, state, pretrained_head)
    record = read_record(path)
    differs = (
        "" if record is None else contradictions(record, record_path(path), network, settings or {}, "network_def")
    )
    share = _share(network, fit)
    if share < MIN_SHARE:
        why = differs or "; ".join(f"{name}: {reason}" for name, reason in list(fit.left.items())[:SHOWN])
        raise ValueError(
            f"{path} fits {share:.0%} of the network's parameters; expected at least half ({why}): set the network as "
            "there, or name other weights"
        )
    if fit.wrong_head:
        name = fit.wrong_head[0]
        raise ValueError(
            f"the output layer {name} is {_shape(state[name])} in {path} and {_shape(own[name])} here; expected the "
            "same number of classes or channels: set it as there, or --pretrained_head false, which starts the output "
            "layers anew"
        )
    network.load_state_dict(fit.tensors, strict=False)
    if idist.get_rank() == 0:
        _report(path, own, state, fit, share, differs)
    return set(fit.tensors)


def _ends(network: nn.Module) -> HasEnds | None:
    """The network where it knows its first and last layers; None for one of another package."""
    return cast(HasEnds, network) if hasattr(network, "output_layers") else None


def _head(network: nn.Module, own: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of the output layers' tensors."""
    ends = _ends(network)
    layers = [] if ends is None else ends.output_layers()
    tensors = {id(tensor) for layer in layers for tensor in (*layer.parameters(), *layer.buffers())}
    return [name for name, tensor in own.items() if id(tensor) in tensors]


def _input_weights(network: nn.Module) -> set[int]:
    """The weights of the convolutions that see an image, by identity."""
    ends = _ends(network)
    found = set()
    for layer in [] if ends is None else ends.input_layers():
        convolutions = convolutions_of(layer)
        if convolutions and convolutions[0].groups == 1:
            found.add(id(convolutions[0].weight))
    return found


def _fit(
    network: nn.Module,
    own: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
    pretrained_head: bool,
) -> _Fit:
    fit, head, inputs = _Fit(), set(_head(network, own)), _input_weights(network)
    if not pretrained_head and not head:
        raise ValueError(
            f"pretrained_head is false; expected true for {type(network).__name__}, whose output layer is not known"
        )
    ends = _ends(network)
    statistics = () if ends is None else ends.data_statistics
    for name, tensor in own.items():
        there = state.get(name)
        if name in statistics:
            fit.left[name] = "of the data, computed anew"
        elif name in head and not pretrained_head:
            fit.left[name] = "an output layer, and pretrained_head is false"
            fit.left_out.add(name)
        elif there is None:
            fit.left[name] = "not in the file"
        elif there.shape == tensor.shape:
            fit.tensors[name] = there
        elif id(tensor) in inputs and differ_in_input_channels(there, tensor):
            fit.tensors[name] = with_input_channels(there, tensor.shape[1])
            fit.adapted[name] = f"input channels {there.shape[1]} in the file and {tensor.shape[1]} here"
        else:
            fit.left[name] = f"{_shape(there)} in the file and {_shape(tensor)} here"
            if name in head:
                fit.wrong_head.append(name)
    if state.keys() <= _encoder(network, own):
        fit.left_out = set(own) - state.keys()
        fit.left |= dict.fromkeys(fit.left_out, ENCODER_ALONE)
    return fit


def _encoder(network: nn.Module, own: Mapping[str, torch.Tensor]) -> set[str]:
    """The names of the tensors of the first half of a network's backbone; none where it has no halves."""
    backbone = getattr(network, "backbone", None)
    if not isinstance(backbone, ImageEncoder):
        return set()
    first = (module for module in (backbone.encoder, backbone.conditions, backbone.bottleneck) if module is not None)
    tensors = {id(tensor) for module in first for tensor in module.state_dict(keep_vars=True).values()}
    return {name for name, tensor in own.items() if id(tensor) in tensors}


def _shape(tensor: torch.Tensor) -> str:
    return str(tuple(tensor.shape))


def _share(network: nn.Module, fit: _Fit) -> float:
    """The share of the parameters' elements that fit, without those that are left out on purpose."""
    sizes = {name: p.numel() for name, p in network.named_parameters() if name not in fit.left_out}
    return sum(size for name, size in sizes.items() if name in fit.tensors) / max(sum(sizes.values()), 1)


def _report(
    path: Path,
    own: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
    fit: _Fit,
    share: float,
    differs: str,
) -> None:
    _logger.info(
        "pretrained: %d of %d tensors, %.1f %% of the %sparameters, of %s",
        len(fit.tensors),
        len(own),
        100 * share,
        "encoder's " if ENCODER_ALONE in fit.left.values() else "",
        path,
    )
    if differs:
        _logger.info("trained otherwise: %s", differs)
    _logger.info("loaded: %s", grouped(fit.tensors.keys() - fit.adapted.keys(), list(own)))
    for name, why in fit.adapted.items():
        _logger.info("loaded: %s, %s: their mean, which responds to equal channels as before", name, why)
    reasons: dict[str, list[str]] = {}
    for name, why in fit.left.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        said = grouped(names, list(own)) if why == ENCODER_ALONE else ", ".join(names)
        _logger.info("not loaded, %s: %s", why, said)
    unknown = [name for name in state if name not in own]
    if unknown:
        _logger.info("not in the network: %s", ", ".join(unknown))
