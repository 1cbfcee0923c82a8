"""What is watched while a backbone is pretrained: whether its features collapse, and what they know of the classes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Events
from monai.data.utils import set_rnd
from monai.engines import Workflow
from monai.networks import one_hot
from monai.networks.utils import eval_mode
from monai.transforms import RandSpatialCropd, SpatialPadd
from monai.utils import convert_to_tensor
from torch import nn

from ..blocks import area_resize
from ..data import CaseDataset
from ..io import write_figure
from ..metrics import alignment, feature_spread, neighbour_recall, uniformity
from ..utils import unwrap_model, user_path, writable_dir
from ..visualize import enough_points, plot_tsne
from .features import Pretraining, feature_map

COLLAPSED = 0.01
BATCH_SIZE = 16
NEIGHBOURS = 20
POSITIONS_PER_CLASS = 500
PICTURE = "features.png"
_logger = logging.getLogger(__name__)


class WatchFeatures:
    """Measures the features of a backbone after each epoch, for the rows, curves and TensorBoard of ``History``.

    All are of crops of whole images, the same at every epoch, without a mask and in evaluation mode:

    - ``uniformity``, log of the mean over pairs of images of exp(-2 d^2), and ``feature_std``, the deviation of
      features over images; 0 in both says that the features have collapsed, which is logged;
    - ``alignment``, the mean squared distance of two views of an image, where ``views`` makes them. It is 0 for
      collapsed features too, so that it says something beside the others alone;
    - ``knn_recall``, where images have labels: the share of positions of validation images whose nearest neighbours
      among those of training images have their class, mean over classes. Each position of the feature has the class
      that fills most of it. Without labels it is left out, which is logged.

    The untrained network's numbers are logged at the start, since a network knows something of the classes before it
    has learned anything. At the end ``features.png`` shows the t-SNE of positions of validation images, with a colour
    per class, or of whole images where there are no labels.

    Args:
        output_dir: folder of the picture.
        network: a network of pretraining: it has ``backbone`` and ``level``.
        training: the training set; only its cached items before random transforms are looked at, ``image`` (C, *S) and
            maybe ``label`` (1, *S).
        validation: likewise, images that are not trained on.
        image_size: size of the crops.
        views: random transforms from an item with ``image`` (C, *image_size) to one with two views of it under
            ``view_keys``; None: alignment is left out.
        view_keys: keys of both views.
        interval: epochs from one measurement to the next.
        max_images: crops of each set that are looked at, of as many images as there are.
        seed: of the crops and views.

    Raises:
        ValueError: If the interval is below 1, or there are fewer than 2 images to look at.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        network: nn.Module,
        training: CaseDataset,
        validation: CaseDataset,
        image_size: Sequence[int],
        views: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        view_keys: Sequence[str] = ("image", "view"),
        interval: int = 1,
        max_images: int = 32,
        seed: int = 0,
    ) -> None:
        if interval < 1:
            raise ValueError(f"interval is {interval}; expected 1 or more epochs.")
        if max_images < 2:
            raise ValueError(f"max_images is {max_images}; expected 2 or more, since images are compared.")
        self.output_dir = user_path(output_dir)
        self.network = network
        self.training, self.validation = training, validation
        self.image_size = list(image_size)
        self.views, self.view_keys = deepcopy(views), tuple(view_keys)  # seeded apart from the training's
        self.interval, self.max_images, self.seed = interval, max_images, seed
        self._items: dict[str, list[dict[str, torch.Tensor]]] = {}

    def attach(self, engine: Workflow) -> None:
        """Watch what ``engine``, the trainer, trains."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._after_epoch)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self, engine: Workflow) -> None:
        engine.state.watched = {}
        if idist.get_rank() != 0:
            return
        self._items = {
            name: crops(dataset, self.image_size, self.max_images, self.seed)
            for name, dataset in (("training", self.training), ("validation", self.validation))
        }
        self._has_labels = all("label" in item for items in self._items.values() for item in items)
        if not self._has_labels:
            _logger.info("knn_recall is left out: not all images have labels, which it compares features with")
        if engine.state.epoch == 0:  # no run that goes on
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.measure(engine.state.device).items())
            _logger.info("features before pretraining: %s", numbers)

    def _after_epoch(self, engine: Workflow) -> None:
        engine.state.watched = {}
        if idist.get_rank() == 0 and engine.state.epoch % self.interval == 0:
            engine.state.watched = self.measure(engine.state.device)
            deviation = engine.state.watched["feature_std"]
            if deviation < COLLAPSED:
                _logger.warning(
                    "the features of different images are nearly the same (feature_std %.3g, spread ones have about "
                    "1): they have collapsed; train with another learning_rate, or another method",
                    deviation,
                )

    def measure(self, device: torch.device | str) -> dict[str, float]:
        """The numbers of the network as it is.

        Args:
            device: where the network is.

        Returns:
            Plain numbers by name.
        """
        pooled = self._maps("validation", device).flatten(2).mean(2)  # (N, F)
        found = {"uniformity": uniformity(pooled), "feature_std": feature_spread(pooled)}
        if self.views is not None:
            set_rnd(self.views, self.seed)
            pairs = [self.views(dict(item)) for item in self._items["validation"]]
            first, second = (
                self._features([plain(pair[key]) for pair in pairs], device).flatten(2).mean(2)
                for key in self.view_keys
            )
            found["alignment"] = alignment(first, second)
        if self._has_labels:
            reference, known = self._positions("training", device, even=True)
            queries, truth = self._positions("validation", device, even=False)
            found["knn_recall"] = neighbour_recall(
                reference, known, queries, truth, k=min(NEIGHBOURS, len(known) // len(known.unique()))
            )
        return found

    def _features(self, images: Sequence[torch.Tensor], device: torch.device | str) -> torch.Tensor:
        """Features (N, F, *s) of images (C, *S), on the CPU."""
        network = unwrap_model(self.network)
        has = cast(Pretraining, network)
        with eval_mode(network):
            parts = [
                feature_map(has.backbone, part.to(device), has.level).float().cpu()
                for part in torch.stack(list(images)).split(BATCH_SIZE)
            ]
        return torch.cat(parts)

    def _maps(self, name: str, device: torch.device | str) -> torch.Tensor:
        """Features (N, F, *s) of the crops of a set."""
        return self._features([item["image"] for item in self._items[name]], device)

    def _positions(self, name: str, device: torch.device | str, even: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (N, F) and classes (N) of positions of labelled images, by class.

        Args:
            name: of the set.
            device: where the network is.
            even: as many of each class as of the rarest, so that common classes do not outvote it.
        """
        maps = self._maps(name, device)  # (B, F, *s)
        labels = torch.stack([item["label"] for item in self._items[name]])
        features, classes = maps.movedim(1, -1).flatten(0, -2), main_classes(labels, list(maps.shape[2:])).flatten()
        order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(self.seed))
        of_each = [order[classes[order] == c] for c in classes.unique()]
        most = min([POSITIONS_PER_CLASS, *(len(places) for places in of_each if even)])
        chosen = torch.cat([places[:most] for places in of_each])
        return features[chosen], classes[chosen]

    def _draw(self, engine: Workflow) -> None:
        if idist.get_rank() != 0:
            return
        if self._has_labels:
            points, classes = self._positions("validation", engine.state.device, even=False)
            figure = plot_tsne(points, classes, noun="positions") if enough_points(PICTURE, len(points)) else None
        else:
            points = self._maps("validation", engine.state.device).flatten(2).mean(2)
            figure = plot_tsne(points) if enough_points(PICTURE, len(points)) else None
        if figure is not None:
            write_figure(writable_dir(self.output_dir) / PICTURE, figure)


def crops(dataset: CaseDataset, image_size: Sequence[int], count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    """Crops of images at random places, the same for the same seed; of a volume in 2D one of a random slice.

    Args:
        dataset: items with ``image`` (C, *S) and maybe ``label`` (1, *S).
        image_size: size of the crops.
        count: how many; the images are taken in turn, evenly over the data set where there are more.
        seed: of the places.

    Returns:
        items with ``image`` (C, *image_size) and, where there is one, ``label``.
    """
    images = min(count, len(dataset))
    indices = np.linspace(0, len(dataset) - 1, images).round().astype(int).tolist()
    found = []
    for i in range(count):
        item = dataset.deterministic(indices[i % images])
        part: dict[Hashable, torch.Tensor] = {key: plain(item[key]) for key in ("image", "label") if key in item}
        thin = part["image"].ndim - 1 - len(image_size)  # 1 for a volume in 2D
        roi = [*image_size, *[1] * thin]
        crop = RandSpatialCropd(list(part), roi, random_size=False).set_random_state(seed + i)
        part = crop(SpatialPadd(list(part), roi)(part))
        found.append({str(key): plain(value[..., 0] if thin else value) for key, value in part.items()})
    return found


def plain(image: Any) -> torch.Tensor:
    """An image as a tensor without meta data."""
    return convert_to_tensor(image, track_meta=False)


def main_classes(labels: torch.Tensor, size: list[int]) -> torch.Tensor:
    """The class that fills most of each position of a feature.

    Args:
        labels: (B, 1, *S), classes.
        size: s of the feature along each axis.

    Returns:
        (B, *s); of classes that fill the same share the lowest.
    """
    shares = one_hot(labels, int(labels.max()) + 1, dtype=torch.float)  # (B, K, *S)
    return area_resize(shares, size).argmax(1)
