"""The network that a training begins with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
from torch import nn

from .freeze import freeze_parameters
from .load import load_what_fits

_logger = logging.getLogger(__name__)


def initial_network(
    network: nn.Module,
    weights: Path | None = None,
    pretrained_head: bool = True,
    freeze: str | Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    context_statistics: tuple[Sequence[float] | None, Sequence[float] | None] = (None, None),
) -> nn.Module:
    """The network with pretrained weights and frozen parameters.

    Args:
        network: the network of the config, before it is wrapped.
        weights: the file of the weights, as :func:`.find_weights` finds it; None for none.
        pretrained_head: whether the output layers are loaded too.
        freeze: patterns of the names of parameters that do not learn, see :func:`.freeze_parameters`; None for none.
        settings: settings by name that give weights their meaning.
        context_statistics: mean and deviation of numbers that are the context, of the cases that train; None: not used.

    Returns:
        The same network.

    Raises:
        ValueError: If the weights do not fit, or a pattern matches nothing.
    """
    if weights is None and not pretrained_head and idist.get_rank() == 0:
        _logger.info("pretrained_head has no effect where no pretrained weights are loaded")
    loaded = None if weights is None else load_what_fits(network, weights, pretrained_head, settings)
    mean, std = context_statistics
    if mean is not None and std is not None:
        cast(Any, network).backbone.standardize_context(mean, std)
    return _frozen(network, freeze, loaded)


def _frozen(network: nn.Module, patterns: str | Sequence[str] | None, loaded: set[str] | None) -> nn.Module:
    if not patterns or str(patterns).lower() in ("none", "false"):
        return network
    names = freeze_parameters(network, patterns)
    fresh = [] if loaded is None else [name for name in names if name not in loaded]
    if fresh and idist.get_rank() == 0:
        _logger.warning("frozen as they were initialised, since they were not loaded: %s", ", ".join(fresh))
    return network
