"""The network that a training begins with."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
from torch import nn

from .freeze import freeze
from .load import load_what_fits
from .source import find_weights

_logger = logging.getLogger(__name__)


def initial_network(
    network: nn.Module,
    bundle_root: str | os.PathLike,
    ckpt_dir: str | os.PathLike,
    pretrained: bool | str | os.PathLike | None = None,
    pretrained_head: bool = True,
    freeze: str | Sequence[str] | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    weights_dir: str = "models",
) -> nn.Module:
    """The network with pretrained weights and frozen parameters, as the settings say.

    Args:
        network: the network of the config, before it is wrapped.
        bundle_root, ckpt_dir, pretrained, weights_dir: as of :func:`.find_weights`.
        pretrained_head: whether the output layers are loaded too.
        freeze: patterns of names of parameters that do not learn, see :func:`.freeze`.
        resume: the run goes on with weights of its own, so none are loaded.
        settings: settings by name that give weights their meaning.

    Returns:
        The same network.

    Raises:
        FileNotFoundError: If there are no such weights.
        ValueError: If they do not fit, or a pattern matches nothing.
    """
    if resume:
        if str(pretrained).lower() not in ("none", "false") and idist.get_rank() == 0:
            _logger.info("pretrained has no effect: the run goes on with its own weights, as resume says")
        loaded = None
    else:
        path = find_weights(pretrained, bundle_root, ckpt_dir, weights_dir)
        loaded = None if path is None else load_what_fits(network, path, pretrained_head, settings)
    return _frozen(network, freeze, loaded)


def _frozen(network: nn.Module, patterns: str | Sequence[str] | None, loaded: set[str] | None) -> nn.Module:
    if patterns is None or str(patterns).lower() in ("none", "false", ""):
        return network
    names = freeze(network, patterns)
    fresh = [] if loaded is None else [name for name in names if name not in loaded]
    if fresh and idist.get_rank() == 0:
        _logger.warning("frozen as they were initialised, since they were not loaded: %s", ", ".join(fresh))
    return network
