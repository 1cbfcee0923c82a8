"""Load trained weights before an engine runs."""

from __future__ import annotations

import logging
import os

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from ..utils import load_weights

_logger = logging.getLogger(__name__)


class CheckpointLoader:
    """Loads a bare state dict into the network when the engine starts, all of it or an error.

    Args:
        load_path: the file, such as ``model.pt``.
        network: the network to fill.
    """

    def __init__(self, load_path: str | os.PathLike, network: torch.nn.Module) -> None:
        self.load_path = load_path
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Load when ``engine`` starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        load_weights(self.network, self.load_path)
        if idist.get_rank() == 0:
            _logger.info("weights: %s", self.load_path)
