"""Bring latents to unit deviation before a latent diffusion model is trained."""

from __future__ import annotations

import logging
from itertools import islice

import ignite.distributed as idist
from ignite.engine import Engine, Events
from torch.utils.data import DataLoader, Dataset

from ..diffusion import LatentSpace

NUM_BATCHES, BATCH_SIZE = 16, 32
_logger = logging.getLogger(__name__)


class LatentScale:
    """Computes the scale factor from up to 512 training images when a training starts; a resumed one keeps its own.

    Comes after the autoencoder's :class:`CheckpointLoader` and after ``RunState`` in the trainer's handlers.

    Args:
        latent_space: its denoiser keeps the factor.
        dataset: training images.
    """

    def __init__(self, latent_space: LatentSpace, dataset: Dataset) -> None:
        self.latent_space, self.dataset = latent_space, dataset

    def attach(self, engine: Engine) -> None:
        """Compute when ``engine``, the trainer, starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if self.latent_space.scale_factor != 0:
            return
        self.latent_space.fit_scale(islice(DataLoader(self.dataset, BATCH_SIZE), NUM_BATCHES))
        if idist.get_rank() == 0:
            _logger.info("latents are multiplied by %.4f", float(self.latent_space.scale_factor))
