"""Compare generated samples with real images, as numbers and pictures."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.engines import Workflow
from torch import nn

from ..io import cell, write_csv, write_figure, write_png
from ..metrics import ImageSet, Neighbours, Score, compare_samples, image_set
from ..utils import load_weights, unwrap_model, user_path, writable_dir
from ..visualize import captioned_rows, enough_points, plain_image, plot_tsne, sample_tile
from .generation import samples_of

PAIRS = 10
_logger = logging.getLogger(__name__)


class GenerationReport:
    """Writes ``summary.csv``, ``nearest_neighbours.png`` and ``tsne.png`` of all samples that an evaluator generates.

    MONAI's ``MetricsSaver`` saves what metrics of pairs of images give; these are of sets, see
    ``flemme_monai.metrics.compare_samples``, and become the engine's metrics. Features are those of the given
    classifier and not of Inception, as the table says in each row: such values compare only under one classifier.

    Without a classifier only what is seen in pixels is reported. Fewer than 5 images make no ``tsne.png``, which is
    logged.

    The evaluator gives items with ``pred`` (C, *S), values 0 to 1, and ``class_label`` where there is one. All
    images are held in memory.

    Args:
        output_dir: folder of the files.
        real: test images, which the generator has not seen: items with ``image`` (C, *S) of the samples' size, values 0
            to 1, and maybe ``class_label``.
        training: as ``real``, the images that the generator was trained on, without random transforms.
        classifier: has ``features``, images (B, C, *S) to (B, F), and ``forward``, images to logits (B, K); on its
            device. None for none.
        classifier_path: the classifier's ``model.pt``; None without one.
        class_names: names of the classes 0, 1, ... for the legend.
        batch_size: images that the classifier sees at a time.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        real: Dataset,
        training: Dataset,
        classifier: nn.Module | None,
        classifier_path: str | os.PathLike | None,
        class_names: Sequence[str] | None = None,
        batch_size: int = 64,
    ) -> None:
        self.output_dir = user_path(output_dir)
        self.real, self.training = real, training
        self.classifier, self.classifier_path = classifier, classifier_path
        self.class_names = class_names
        self.batch_size = batch_size
        self._samples: list[tuple[torch.Tensor, int | None]] = []
        self._known: tuple[ImageSet, ImageSet] | None = None

    def attach(self, engine: Workflow) -> None:
        """Report on ``engine``, an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_samples)
        engine.add_event_handler(Events.COMPLETED, self)

    def _start(self, engine: Workflow) -> None:
        self._samples = []
        if idist.get_rank() != 0:
            return
        writable_dir(self.output_dir)
        if self._known is None:
            if self.classifier is None:
                _logger.info("no classifier_path is given: FID, KID, MMD, precision and recall are left out")
            elif self.classifier_path is None or not user_path(self.classifier_path).is_file():
                raise FileNotFoundError(
                    f"there is no classifier {self.classifier_path}: train one on these images, or name its model.pt "
                    "with classifier_path"
                )
            else:
                load_weights(self.classifier, self.classifier_path)
            self._known = self._read(self.real, "test"), self._read(self.training, "training")

    def _read(self, dataset: Dataset, kind: str) -> ImageSet:
        items = [dataset[i] for i in range(len(dataset))]
        return self._images([(plain_image(item["image"]), item.get("class_label")) for item in items], kind)

    def _images(self, items: Sequence[tuple[torch.Tensor, int | None]], kind: str) -> ImageSet:
        return image_set(items, kind, self.classifier, self.batch_size)

    def _add_samples(self, engine: Workflow) -> None:
        self._samples += samples_of(engine)

    def __call__(self, engine: Workflow) -> None:
        parts = [self._samples]
        if idist.get_world_size() > 1:
            parts = idist.all_gather(self._samples)  # type: ignore[assignment]  # Ignite has no hint for lists of lists
        if idist.get_rank() != 0:
            return
        assert self._known is not None, "read when the engine started"
        samples = self._images([sample for part in parts for sample in part], "generated")
        real, training = self._known
        named = None
        if self.classifier is not None:
            named = f"{type(unwrap_model(self.classifier)).__name__} {self.classifier_path} (not Inception)"
        scores, neighbours = compare_samples(samples, training, real, named)
        cells = ({**score._asdict(), "value": cell(score.value)}.values() for score in scores)
        write_csv(self.output_dir / "summary.csv", Score._fields, cells)
        write_png(self.output_dir / "nearest_neighbours.png", _closest_pairs(samples, training, neighbours))
        if enough_points("tsne.png", len(real.images) + len(samples.images)):
            points = torch.cat([real.features, samples.features])
            classes = torch.cat([real.classes, samples.classes])
            generated = torch.arange(len(points)) >= len(real.images)
            write_figure(self.output_dir / "tsne.png", plot_tsne(points, classes, generated, self.class_names))
        engine.state.metrics |= {score.metric: score.value for score in scores}


def _closest_pairs(samples: ImageSet, training: ImageSet, found: dict[str, Neighbours]) -> np.ndarray:
    """The samples closest to a training image, each above that image."""
    rows = []
    for space, neighbours in found.items():
        closest = neighbours.distances.argsort()[:PAIRS]
        rows.append((f"samples closest in {space}s", [sample_tile(image) for image in samples.images[closest]]))
        nearest = training.images[neighbours.indices[closest]]
        rows.append(("their nearest training images", [sample_tile(image) for image in nearest]))
    return captioned_rows(rows)
