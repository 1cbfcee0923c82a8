"""Load trained weights before an engine runs."""

from __future__ import annotations

import os

import torch
from ignite.engine import Engine, Events

from ..utils import load_weights


class CheckpointLoader:
    """
    Loads a bare state dict into the network when the engine starts, all of it or an error.

    Args:
        load_path: the file, such as `model.pt`.
        network: the network to fill.
    """

    def __init__(self, load_path: str | os.PathLike, network: torch.nn.Module) -> None:
        self.load_path = load_path
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Load when `engine` starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        load_weights(self.network, self.load_path)
        engine.logger.info(f"Restored all variables from {self.load_path}")
