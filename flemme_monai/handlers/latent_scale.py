"""Bring latents to unit deviation before a latent diffusion model is trained."""

from __future__ import annotations

import logging

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from torch.utils.data import DataLoader, Dataset, Subset

from ..diffusion import LatentSpace

NUM_IMAGES = 512
_logger = logging.getLogger(__name__)


class LatentScale:
    """Computes the scale factor from up to 512 training images when a training starts; a resumed one keeps its own.

    The images are drawn from the whole of the set, for a list's first may be of one class. Comes after the
    autoencoder's :class:`CheckpointLoader` and after ``RunState`` in the trainer's handlers.

    Args:
        latent_space: its denoiser keeps the factor.
        dataset: training images.
        batch_size: images that are encoded at a time.
        seed: of the images that are drawn, their random transforms and their latents.
    """

    def __init__(self, latent_space: LatentSpace, dataset: Dataset, batch_size: int, seed: int = 0) -> None:
        self.latent_space, self.dataset, self.batch_size, self.seed = latent_space, dataset, batch_size, seed

    def attach(self, engine: Engine) -> None:
        """Compute when ``engine``, the trainer, starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if self.latent_space.scale_factor != 0:
            return
        set_rnd(self.dataset, self.seed)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            drawn = torch.randperm(len(self.dataset))[:NUM_IMAGES].tolist()
            self.latent_space.fit_scale(DataLoader(Subset(self.dataset, drawn), self.batch_size))
        if idist.get_rank() == 0:
            _logger.info("latents are multiplied by %.4f", float(self.latent_space.scale_factor))
