"""Settings of a bundle with which its network has a given number of parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from types import MappingProxyType
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from ..recipes import make_bundle
from ..utils.network_config import config_of
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


def matched_settings(
    pair: str, settings: dict[str, Any], parameters: int, at_most: bool = False
) -> tuple[dict[str, Any], float, int]:
    """The settings of a pair with channels that give a number of parameters.

    Args:
        pair: ``<architecture>_<backbone>``.
        settings: of the bundle.
        parameters: the number.
        at_most: leave a network that has fewer as it is, and take the closest number that channels give.

    Returns:
        The settings, the factor of the channels and the number of parameters that they give.

    Raises:
        ValueError: If no factor gives it within 7.5%, or, with ``at_most``, none gives a network.
    """
    config = training_config(pair, settings)
    network = built_network(config)
    if at_most and (found := count_parameters(network)) <= parameters:
        return settings, 1.0, found
    usual = channel_settings(config_of(network)["backbone"])

    def chosen(factor: float, multiple: int) -> dict[str, Any]:
        return {f"{BACKBONE}{name}": scaled(value, factor, multiple) for name, value in usual.items()}

    tries, failures = [], []
    for multiple in MULTIPLES:
        build = partial(lambda factor, multiple: built_network(config, chosen(factor, multiple)), multiple=multiple)
        try:
            factor, found = matched_width(build, parameters, tolerance=math.inf if at_most else TOLERANCE)
        except (RuntimeError, ValueError) as error:  # groups or heads that do not divide the channels, or no factor
            failures.append(str(error.__cause__ or error))
            continue
        tries.append((abs(found / parameters - 1), multiple, factor, found))
        if tries[-1][0] <= TOLERANCE:
            break
    if at_most and not tries:  # channels that all depend on each other
        tries = _halves(lambda factor: built_network(config, chosen(factor, 1)), parameters)
    if not tries:
        raise ValueError(f"{pair} cannot be scaled to {parameters:,} parameters ({failures[0]}): name another number.")
    _, multiple, factor, found = min(tries)
    return {**settings, **chosen(factor, multiple)}, factor, found


def _halves(build: Callable[[float], nn.Module], parameters: int) -> list[tuple[float, int, float, int]]:
    """The first of a network's halves, quarters, ... that has no more than a number of parameters."""
    for factor in (0.5, 0.25, 0.125):
        if (found := count_parameters(build(factor))) <= parameters:
            return [(1 - found / parameters, 1, factor, found)]
    return []


def training_config(pair: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The ``train.json`` of a pair's bundle with settings."""
    return json.loads(make_bundle(pair, settings=settings)["configs/train.json"])


def built_network(config: dict[str, Any], changes: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The network of a ``train.json``, with changes by their paths in it."""
    parser = ConfigParser(deepcopy(config))  # which replaces macros in what it is given
    parser.update(dict(changes))
    return parser.get_parsed_content("network_def")
