"""Make every random number of an epoch a function of the seed and the epoch."""

from __future__ import annotations

import random

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd


class EpochSeed:
    """Seeds all random state at the start of each epoch, so that a resumed run draws what an uninterrupted one does.

    It seeds Python, NumPy and PyTorch (dropout), the loader's generator (order) and the random transforms of the
    loader's dataset. Persistent worker processes keep a random state of their own and are out of its reach.

    Args:
        seed: the run's seed; epochs and ranks get different numbers from it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Seed at the start of each epoch of ``engine``, the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        sequence = np.random.SeedSequence([self.seed, engine.state.epoch, engine.state.rank])
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        loader = engine.data_loader
        if getattr(loader, "generator", None) is not None:
            loader.generator.manual_seed(seed)
        set_rnd(loader.dataset, seed)
