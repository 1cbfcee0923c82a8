"""Show how an autoencoder's latents lie to each other."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.networks.utils import eval_mode
from monai.utils import convert_to_tensor
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..inferers import latents_of
from ..metrics import latent_picture
from ..metrics.tsne import FEWEST_POINTS, NO_CLASS
from ..utils import bare, user_path, writable_dir

BATCH_SIZE = 32
_logger = logging.getLogger(__name__)


class LatentPicture:
    """Writes ``latents.png``, a t-SNE of the latents of images, with a colour a class where classes are known.

    Comes after the autoencoder's :class:`CheckpointLoader`. Fewer than 5 images make no picture, which is logged.

    Args:
        output_dir: folder of the picture.
        dataset: items with ``image`` (C, *S) of one size, and maybe ``class_label`` and ``class_name``.
        autoencoder: has ``encode``; of a variational one the means are shown.
        condition_key: the autoencoder's context in an item; None for none.
        class_names: names of the classes 0, 1, ... for the legend; by default the ones that the items know.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        dataset: Dataset,
        autoencoder: nn.Module,
        condition_key: str | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.output_dir = user_path(output_dir)
        self.dataset, self.autoencoder = dataset, autoencoder
        self.condition_key, self.class_names = condition_key, class_names

    def attach(self, engine: Engine) -> None:
        """Draw when ``engine``, an evaluator, is done."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if idist.get_rank() != 0:
            return
        if len(self.dataset) < FEWEST_POINTS:
            _logger.info("latents.png is left out: %d images, a t-SNE needs %d", len(self.dataset), FEWEST_POINTS)
            return
        autoencoder = bare(self.autoencoder)
        device = next(autoencoder.parameters()).device
        latents, classes, known = [], [], {}
        with eval_mode(autoencoder):
            for batch in DataLoader(self.dataset, BATCH_SIZE):
                images = convert_to_tensor(batch["image"]).to(device)
                context = None if self.condition_key is None else batch[self.condition_key].to(device)
                latents.append(latents_of(autoencoder, images, context).flatten(1).float().cpu())
                classes.append(batch.get("class_label", torch.full((len(images),), NO_CLASS)))
                known |= dict(zip(classes[-1].tolist(), batch.get("class_name", [])))
        names = self.class_names
        if names is None and known:
            names = [known.get(label, str(label)) for label in range(max(known) + 1)]
        path = writable_dir(self.output_dir) / "latents.png"
        latent_picture(path, torch.cat(latents), torch.cat(classes), class_names=names)
