"""Load trained weights before an engine runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from ..utils import load_weights
from ..utils.record import check_record, read_record, record_path

_logger = logging.getLogger(__name__)


class CheckpointLoader:
    """Loads a bare state dict into the network when the engine starts, all of it or an error.

    Where a ``network.json`` lies beside the file, the network and the settings must be those that it names.

    Args:
        load_path: the file, such as ``model.pt``.
        network: the network to fill.
        settings: this run's settings by name that give weights their meaning; None compares the network alone.
    """

    def __init__(
        self, load_path: str | os.PathLike, network: torch.nn.Module, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.load_path = load_path
        self.network = network
        self.settings = settings

    def attach(self, engine: Engine) -> None:
        """Load when ``engine`` starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        check_record(read_record(self.load_path), record_path(self.load_path), self.network, self.settings)
        load_weights(self.network, self.load_path)
        if idist.get_rank() == 0:
            _logger.info("weights: %s", self.load_path)
