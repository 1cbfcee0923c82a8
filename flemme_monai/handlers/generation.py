"""Generated samples and latents as files and pictures, and a comparison of samples with real images."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.networks.utils import eval_mode
from monai.utils import convert_to_tensor
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..inferers import latents_of
from ..io import cell, write_csv, write_figure, write_gif, write_image, write_nifti, write_png
from ..metrics import NO_CLASS, ImageSet, Neighbours, Score, compare_samples, image_set
from ..utils import bare, load_weights, user_path, writable_dir
from ..visualize import (
    FEWEST_POINTS,
    captioned_rows,
    denoising_frames,
    plain_image,
    plot_tsne,
    sample_tile,
    there_and_back,
)

COLUMNS = 8
MOST_TILES = 64
PAIRS = 10
BATCH_SIZE = 32
_logger = logging.getLogger(__name__)


def samples_of(engine: Engine) -> list[tuple[torch.Tensor, int | None]]:
    """The samples (C, *S) of an evaluator's iteration, on the CPU, with the class they were conditioned on or None.

    Raises:
        ValueError: If a sample has values that are not finite.
    """
    samples = []
    for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
        item: dict[str, Any] = {**batch, **output}
        sample = plain_image(item["pred"])
        if not torch.isfinite(sample).all():
            raise ValueError(
                f"sample {item.get('case', len(samples))} of iteration {engine.state.iteration} has values that are "
                "not finite: is the network trained, and with these settings?"
            )
        label = item.get("class_label")
        samples.append((sample, None if label is None else int(label)))
    return samples


class SaveSamples:
    """Writes each sample as ``sample_000.png`` (2D) or ``.nii.gz`` (3D), all as ``samples.png``, and ``denoising.gif``.

    MONAI's ``SaveImage`` names files after an input, which a sample does not have, and knows no classes.

    The evaluator gives items with ``pred`` (C, *S), values 0 to 1, and with ``class_label`` where one was asked for;
    then the files are ``sample_000_class2.png`` and the picture has a row per class. The picture has up to 64 samples,
    or one row of each class; of a volume it shows the middle axial slice, of other channels than 1 or 3 the first.

    Args:
        output_dir: where the files go.
        columns: samples in a row of the picture.
        class_names: names of the classes 0, 1, ... for the picture.
        frames: gives the denoising steps of the last batch, first to last, each (B, C, *S) with values -1 to 1, such as
            ``lambda: inferer.steps``; up to 16 samples of the first batch are animated in up to 60 frames.

    Raises:
        ValueError: If ``columns`` is less than 1.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        columns: int = COLUMNS,
        class_names: Sequence[str] | None = None,
        frames: Callable[[], Sequence[torch.Tensor]] | None = None,
    ) -> None:
        if columns < 1:
            raise ValueError(f"columns is {columns}, expected 1 or more")
        self.output_dir = user_path(output_dir)
        self.columns = columns
        self.class_names = None if class_names is None else list(class_names)
        self.frames = frames
        self._tiles: list[tuple[int | None, np.ndarray]] = []

    def attach(self, engine: Engine) -> None:
        """Save what ``engine``, an evaluator, generates."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self, engine: Engine) -> None:
        if idist.get_world_size() > 1:
            raise ValueError("SaveSamples numbers the samples of one process: start inference without torchrun")
        writable_dir(self.output_dir)
        self._tiles = []

    def __call__(self, engine: Engine) -> None:
        for sample, class_label in samples_of(engine):
            self.save(sample, class_label)
        if self.frames is not None and engine.state.iteration == 1:
            write_gif(self.output_dir / "denoising.gif", *denoising_frames(self.frames()))

    def save(self, sample: torch.Tensor, class_label: int | None = None) -> Path:
        """Write one sample.

        Args:
            sample: (C, *S), values 0 to 1.
            class_label: the class it was conditioned on.

        Returns:
            Its file.
        """
        suffix = "" if class_label is None else f"_class{class_label}"
        path = self.output_dir / f"sample_{len(self._tiles):03d}{suffix}{'.nii.gz' if sample.ndim == 4 else '.png'}"
        if sample.ndim == 4:
            write_nifti(path, sample.numpy(), {})
        else:
            write_image(path, sample.numpy())
        self._tiles.append((class_label, sample_tile(sample)))
        return path

    def _draw(self, engine: Engine) -> None:
        write_png(self.output_dir / "samples.png", captioned_rows(self._rows()))

    def _rows(self) -> list[tuple[str, list[np.ndarray]]]:
        """The picture's rows under their captions."""
        tiles = [picture for _, picture in self._tiles]
        classes = sorted({c for c, _ in self._tiles if c is not None})
        if not classes:
            tiles = tiles[:MOST_TILES]
            return [("", tiles[i : i + self.columns]) for i in range(0, len(tiles), self.columns)]
        by_class = {c: [picture for other, picture in self._tiles if other == c] for c in classes}
        return [(self._name(c), pictures[: self.columns]) for c, pictures in by_class.items()]

    def _name(self, c: int) -> str:
        if self.class_names is None:
            return f"class {c}"
        if not 0 <= c < len(self.class_names):
            raise ValueError(f"class label {c} has no name, class_names are {self.class_names}")
        return self.class_names[c]


class SaveWay(SaveSamples):
    """Writes each sample as ``SaveSamples`` does, all in one row as ``way.png``, and there and back as ``way.gif``."""

    def _draw(self, engine: Engine) -> None:
        tiles = [picture for _, picture in self._tiles]
        caption = "" if self._tiles[0][0] is None else self._name(self._tiles[0][0])
        write_png(self.output_dir / "way.png", captioned_rows([(caption, tiles)]))
        write_gif(self.output_dir / "way.gif", *there_and_back(tiles))


class LatentPicture:
    """Writes ``latents.png``, scikit-learn's t-SNE of the latents of images, with a colour per class where known.

    Comes after the handler that loads the autoencoder. Fewer than 5 images make no picture, which is logged.

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
        if idist.get_rank() != 0 or not _enough_points("latents.png", len(self.dataset)):
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
        figure = plot_tsne(torch.cat(latents), torch.cat(classes), class_names=names)
        write_figure(writable_dir(self.output_dir) / "latents.png", figure)


class GenerationReport:
    """Writes ``summary.csv``, ``nearest_neighbours.png`` and ``tsne.png`` of all samples that an evaluator generates.

    MONAI's ``MetricsSaver`` saves what metrics of pairs of images give; these are of sets, see
    ``flemme_monai.metrics.compare_samples``, and become the engine's metrics. Features are those of the given
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

    def _read(self, dataset: Dataset, kind: str) -> ImageSet:
        items = [dataset[i] for i in range(len(dataset))]
        return self._images([(plain_image(item["image"]), item.get("class_label")) for item in items], kind)

    def _images(self, items: Sequence[tuple[torch.Tensor, int | None]], kind: str) -> ImageSet:
        return image_set(items, kind, self.classifier, self.batch_size)

    def _add_samples(self, engine: Engine) -> None:
        self._samples += samples_of(engine)

    def __call__(self, engine: Engine) -> None:
        parts = idist.all_gather(self._samples) if idist.get_world_size() > 1 else [self._samples]
        if idist.get_rank() != 0:
            return
        samples = self._images([sample for part in parts for sample in part], "generated")
        real, training = self._known
        named = None
        if self.classifier is not None:
            named = f"{type(bare(self.classifier)).__name__} {self.classifier_path} (not Inception)"
        scores, neighbours = compare_samples(samples, training, real, named)
        cells = (score._replace(value=cell(score.value)) for score in scores)
        write_csv(self.output_dir / "summary.csv", Score._fields, cells)
        write_png(self.output_dir / "nearest_neighbours.png", _closest_pairs(samples, training, neighbours))
        if _enough_points("tsne.png", len(real.images) + len(samples.images)):
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


def _enough_points(name: str, count: int) -> bool:
    if count < FEWEST_POINTS:
        _logger.info("%s is left out: %d images, a t-SNE needs %d", name, count, FEWEST_POINTS)
    return count >= FEWEST_POINTS
