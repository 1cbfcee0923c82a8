"""Settings of a bundle with which its network has a given number of parameters, operations or milliseconds a step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from ..recipes import make_bundle
from ..utils.network_config import config_of
from .load import Load
from .measure import count_parameters, matched_width

SIZES = ("growth", "group_width", "init_filters", "feature_size", "hidden_size", "mlp_dim")  # channels by other names
BACKBONE = "network_def#backbone#"
MULTIPLES = (4, 8, 12, 16, 24, 32, 48)  # of channels: groups of a norm and heads of attention divide them
TOLERANCE = 0.075  # relative, of a number of parameters


def scaled(channels: Any, factor: float, multiple: int = 4) -> Any:
    """Numbers of channels times a factor, as multiples of a number."""
    if isinstance(channels, list | tuple):
        return [scaled(value, factor, multiple) for value in channels]
    return max(multiple, multiple * round(channels * factor / multiple))


def channel_settings(config: dict[str, Any]) -> dict[str, Any]:
    """What of a backbone's settings says how many channels it has inside."""
    ends = ("in_channels", "out_channels")
    return {k: v for k, v in config.items() if ((k.endswith("channels") and k not in ends) or k in SIZES) and v}


@dataclass(frozen=True)
class Match:
    """What networks are made alike in by their channels.

    Args:
        kind: ``parameters``, ``flops`` of an image's forward pass, or ``step_time`` of a training step.
        target: how many parameters, GFLOP or milliseconds.
        at_most: leave a network that has less as it is, and take the closest that channels give.
    """

    kind: str
    target: float
    at_most: bool = False


@dataclass(frozen=True)
class Measure:
    """How what networks are matched in is found.

    Args:
        unit: of the target.
        of: a network and a ``train.json`` to the number.
        tolerance: relative.
    """

    unit: str
    of: Callable[[nn.Module, dict[str, Any]], float]
    tolerance: float


MEASURES = {
    "parameters": Measure("parameters", lambda network, config: count_parameters(network), TOLERANCE),
    "flops": Measure("GFLOP", lambda network, config: Load.of(network, config).gflop(), TOLERANCE),
    "step_time": Measure("ms", lambda network, config: Load.of(network, config).step_milliseconds(), 2 * TOLERANCE),
}


def matched_settings(source: str, settings: dict[str, Any], match: Match | None) -> tuple[dict[str, Any], float, int]:
    """The settings of a bundle with channels that give a number of parameters, operations or milliseconds.

    Args:
        source: ``<architecture>_<backbone>``, or the path of a bundle.
        settings: of the bundle.
        match: what it is scaled to; None leaves it as it is.

    Returns:
        The settings, the factor of the channels and the number of parameters that they give.

    Raises:
        ValueError: If no factor gives it within 7.5% (15% of a time), or, with ``at_most``, none gives a network.
    """
    config = training_config(source, settings)
    network = built_network(config)
    if match is None:
        return settings, 1.0, count_parameters(network)
    measure = MEASURES[match.kind]
    if match.at_most and measure.of(network, config) <= match.target:
        return settings, 1.0, count_parameters(network)
    usual = channel_settings(config_of(network)["backbone"])

    def chosen(factor: float, multiple: int) -> dict[str, Any]:
        return {f"{BACKBONE}{name}": scaled(value, factor, multiple) for name, value in usual.items()}

    tries: list[tuple[float, int, float]] = []
    failures = []
    for multiple in MULTIPLES:
        build = partial(lambda factor, multiple: built_network(config, chosen(factor, multiple)), multiple=multiple)
        try:
            factor, found = matched_width(
                build,
                match.target,
                tolerance=math.inf if match.at_most else measure.tolerance,
                measure=lambda network: measure.of(network, config),
                unit=measure.unit,
            )
        except (RuntimeError, ValueError) as error:  # groups or heads that do not divide the channels, or no factor
            failures.append(str(error.__cause__ or error))
            continue
        tries.append((abs(found / match.target - 1), multiple, factor))
        if tries[-1][0] <= measure.tolerance:
            break
    if match.at_most and not tries:  # channels that all depend on each other
        tries = _halves(lambda factor: measure.of(built_network(config, chosen(factor, 1)), config), match.target)
    if not tries:
        raise ValueError(
            f"{source} cannot be scaled to {match.target:,} {measure.unit} ({failures[0]}): name another number."
        )
    _, multiple, factor = min(tries)
    changes = chosen(factor, multiple)
    return {**settings, **changes}, factor, count_parameters(built_network(config, changes))


def _halves(measured: Callable[[float], float], target: float) -> list[tuple[float, int, float]]:
    """The first of a network's halves, quarters, ... that has no more than a target."""
    for factor in (0.5, 0.25, 0.125):
        if (found := measured(factor)) <= target:
            return [(1 - found / target, 1, factor)]
    return []


def training_config(source: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The ``train.json`` of a pair's bundle, or of a bundle in a folder, with settings."""
    folder = Path(source)
    if not folder.is_absolute():
        return json.loads(make_bundle(source, settings=settings)["configs/train.json"])
    parser = ConfigParser(json.loads((folder / "configs" / "train.json").read_text(encoding="utf-8")))
    unknown = [name for name in settings if name.partition("#")[0] not in parser.get()]
    if unknown:
        raise ValueError(f"{folder.name} has no setting {', '.join(unknown)}; expected some of train.json: name others")
    parser.update(settings)
    return parser.get()


def built_network(config: dict[str, Any], changes: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The network of a ``train.json``, with changes by their paths in it."""
    parser = ConfigParser(deepcopy(config))  # which replaces macros in what it is given
    parser.update(dict(changes))
    return parser.get_parsed_content("network_def")
