"""Compare generated samples with real images, as numbers and pictures."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch.utils.data import Dataset

from ..metrics import (
    Neighbours,
    class_accuracy,
    classifier_outputs,
    fid,
    kid,
    latent_picture,
    mmd,
    nearest_neighbours,
    precision_recall,
    standardised,
)
from ..metrics.tsne import FEWEST_POINTS, NO_CLASS
from ..utils import bare, load_weights, text_file, user_path, writable_dir
from .case_report import cell
from .save_samples import plain, samples_of, tile, write_sheet

PAIRS = 10
_logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """A row of the summary: n samples, what they are compared with, and in which features."""

    metric: str
    value: float
    n: int
    compared_with: str
    features: str


class Images(NamedTuple):
    """A set of images (N, C, *S), their classes (N,), -1 without, and what the classifier makes of them."""

    images: torch.Tensor
    classes: torch.Tensor
    features: torch.Tensor  # (N, F); without a classifier the standardised pixels
    logits: torch.Tensor  # (N, K); (N, 0) without one


class GenerationReport:
    """Writes ``summary.csv``, ``nearest_neighbours.png`` and ``tsne.png`` of all samples that an evaluator generates.

    The numbers become the engine's metrics: FID, KID, MMD, precision and recall against the test images; the check
    against copying of ``flemme_monai.metrics.nearest_neighbours``, in pixels (standardised) and in features; and, where
    classes were asked for, the share of samples whose class the classifier names. Features are those of the given
    classifier and not of Inception, as the table says in each row: such values compare only under one classifier.

    Without a classifier only what is seen in pixels is reported. Fewer than 5 images make no ``tsne.png``, which is
    logged.

    The evaluator gives items with ``pred`` (C, *S), values 0 to 1, and ``class_label`` where one was asked for. All
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
        classifier: torch.nn.Module | None,
        classifier_path: str | os.PathLike | None,
        class_names: Sequence[str] | None = None,
        batch_size: int = 64,
    ) -> None:
        self.output_dir = user_path(output_dir)
        self.real = real
        self.training = training
        self.classifier = classifier
        self.classifier_path = classifier_path
        self.class_names = class_names
        self.batch_size = batch_size
        self._samples: list[tuple[torch.Tensor, int | None]] = []
        self._known: tuple[Images, Images] | None = None

    def attach(self, engine: Engine) -> None:
        """Report on ``engine``, an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_samples)
        engine.add_event_handler(Events.COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        self._samples = []
        if idist.get_rank() != 0:
            return
        writable_dir(self.output_dir)
        if self._known is None:
            if self.classifier is None:
                _logger.info("no classifier_path is given: FID, KID, MMD, precision and recall are left out")
            elif not user_path(self.classifier_path).is_file():
                raise FileNotFoundError(
                    f"there is no classifier {self.classifier_path}: train one on these images, or name its model.pt "
                    "with classifier_path"
                )
            else:
                load_weights(self.classifier, self.classifier_path)
            self._known = self._read(self.real, "test"), self._read(self.training, "training")

    def _read(self, dataset: Dataset, kind: str) -> Images:
        items = [dataset[i] for i in range(len(dataset))]
        if not items:
            raise ValueError(f"there are no {kind} images to compare samples with")
        return self._images([(plain(item["image"]), item.get("class_label")) for item in items], kind)

    def _images(self, items: Sequence[tuple[torch.Tensor, Any]], kind: str) -> Images:
        shapes = sorted({tuple(image.shape) for image, _ in items})
        if len(shapes) > 1:
            raise ValueError(f"{kind} images are {shapes[0]}, {shapes[1]}, ...: bring them to the samples' size")
        images = torch.stack([image for image, _ in items])
        classes = torch.tensor([NO_CLASS if c is None else int(c) for _, c in items])
        if self.classifier is None:
            return Images(images, classes, standardised(images), torch.empty(len(images), 0))
        return Images(images, classes, *classifier_outputs(self.classifier, images, self.batch_size))

    def _add_samples(self, engine: Engine) -> None:
        self._samples += samples_of(engine)

    def __call__(self, engine: Engine) -> None:
        parts = idist.all_gather(self._samples) if idist.get_world_size() > 1 else [self._samples]
        if idist.get_rank() != 0:
            return
        samples = self._images([sample for part in parts for sample in part], "generated")
        real, training = self._known
        if not samples.images.shape[1:] == real.images.shape[1:] == training.images.shape[1:]:
            found = [tuple(part.images.shape[1:]) for part in (samples, real, training)]
            raise ValueError(
                f"samples are {found[0]}, test images {found[1]} and training images {found[2]}: all need "
                "the same channels and size"
            )
        found = {"pixel": nearest_neighbours(*(standardised(part.images) for part in (samples, training, real)))}
        if self.classifier is not None:
            found["feature"] = nearest_neighbours(samples.features, training.features, real.features)
        rows = self._rows(samples, real, training, found)
        self._write(rows)
        self._draw_pairs(samples, training, found)
        self._draw_tsne(samples, real)
        engine.state.metrics |= {row.metric: row.value for row in rows}

    def _rows(self, samples: Images, real: Images, training: Images, found: dict[str, Neighbours]) -> list[Row]:
        n, test = len(samples.images), f"{len(real.images)} test images"
        named = f"{type(bare(self.classifier)).__name__} {self.classifier_path} (not Inception)"
        values: dict[str, float] = {}
        if self.classifier is not None:
            precision, recall = precision_recall(real.features, samples.features)
            values = {
                "fid": fid(real.features, samples.features),
                "kid": kid(real.features, samples.features),
                "mmd": mmd(real.features, samples.features),
                "precision": precision,
                "recall": recall,
            }
        rows = [Row(metric, value, n, test, named) for metric, value in values.items()]
        both = f"{len(training.images)} training and {test}"
        for space, neighbours in found.items():
            features = "pixels" if space == "pixel" else named
            rows.append(Row(f"{space}_distance_ratio", neighbours.ratio, n, both, features))
            rows.append(Row(f"{space}_copies", neighbours.copies, n, both, features))
        asked = samples.classes != NO_CLASS
        if asked.any() and self.classifier is not None:
            accuracy = class_accuracy(samples.logits[asked], samples.classes[asked])
            rows.append(Row("class_accuracy", accuracy, int(asked.sum()), "classes asked for", named))
        return rows

    def _write(self, rows: Sequence[Row]) -> None:
        with text_file(self.output_dir / "summary.csv") as file:
            table = csv.writer(file)
            table.writerow(Row._fields)
            table.writerows(row._replace(value=cell(row.value)) for row in rows)

    def _draw_tsne(self, samples: Images, real: Images) -> None:
        points = torch.cat([real.features, samples.features])
        if len(points) < FEWEST_POINTS:
            _logger.info("tsne.png is left out: %d images, a t-SNE needs %d", len(points), FEWEST_POINTS)
            return
        generated = torch.arange(len(points)) >= len(real.images)
        classes = torch.cat([real.classes, samples.classes])
        latent_picture(self.output_dir / "tsne.png", points, classes, generated, self.class_names)

    def _draw_pairs(self, samples: Images, training: Images, found: dict[str, Neighbours]) -> None:
        """The samples closest to a training image, each above that image."""
        rows = []
        for space, neighbours in found.items():
            closest = neighbours.distances.argsort()[:PAIRS]
            rows.append((f"samples closest in {space}s", [tile(image) for image in samples.images[closest]]))
            nearest = training.images[neighbours.indices[closest]]
            rows.append(("their nearest training images", [tile(image) for image in nearest]))
        write_sheet(self.output_dir / "nearest_neighbours.png", rows)
