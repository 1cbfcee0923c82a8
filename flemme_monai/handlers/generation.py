"""Generated samples and latents as files and pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.engines import Workflow
from monai.networks.utils import eval_mode
from monai.utils import convert_to_tensor
from torch.utils.data import DataLoader

from ..inferers import latents_of
from ..io import cell, write_csv, write_figure, write_gif, write_image, write_nifti, write_png
from ..metrics import NO_CLASS, cluster_scores
from ..utils import atomic_write, unwrap_model, user_path, writable_dir
from ..visualize import (
    captioned_rows,
    denoising_frames,
    enough_points,
    plain_image,
    plot_tsne,
    sample_tile,
    there_and_back,
)

if TYPE_CHECKING:
    from ..architectures import AE, VAE

COLUMNS = 8
MOST_TILES = 64
BATCH_SIZE = 32


def samples_of(engine: Workflow) -> list[tuple[torch.Tensor, int | None]]:
    """The samples (C, *S) of an evaluator's iteration, on the CPU, with the class they were conditioned on or None.

    Raises:
        ValueError: If a sample has values that are not finite.
    """
    samples: list[tuple[torch.Tensor, int | None]] = []
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

    The evaluator gives items with ``pred`` (C, *S), values 0 to 1, and with ``class_label`` where there is one;
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
            raise ValueError(f"columns is {columns}; expected 1 or more")
        self.output_dir = user_path(output_dir)
        self.columns = columns
        self.class_names = None if class_names is None else list(class_names)
        self.frames = frames
        self._images: list[tuple[int | None, np.ndarray]] = []

    def attach(self, engine: Workflow) -> None:
        """Save what ``engine``, an evaluator, generates."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self, engine: Workflow) -> None:
        if idist.get_world_size() > 1:
            raise ValueError("SaveSamples numbers the samples of one process: start inference without torchrun")
        writable_dir(self.output_dir)
        self._images = []

    def __call__(self, engine: Workflow) -> None:
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
        path = self.output_dir / f"sample_{len(self._images):03d}{suffix}{'.nii.gz' if sample.ndim == 4 else '.png'}"
        if sample.ndim == 4:
            write_nifti(path, sample.numpy(), {})
        else:
            write_image(path, sample.numpy())
        self._images.append((class_label, sample_tile(sample)))
        return path

    def _draw(self, engine: Workflow) -> None:
        write_png(self.output_dir / "samples.png", captioned_rows(self._rows()))

    def _rows(self) -> list[tuple[str, list[np.ndarray]]]:
        """The picture's rows under their captions."""
        images = [picture for _, picture in self._images]
        classes = sorted({c for c, _ in self._images if c is not None})
        if not classes:
            images = images[:MOST_TILES]
            return [("", images[i : i + self.columns]) for i in range(0, len(images), self.columns)]
        by_class = {c: [picture for other, picture in self._images if other == c] for c in classes}
        return [(self._name(c), pictures[: self.columns]) for c, pictures in by_class.items()]

    def _name(self, c: int) -> str:
        if self.class_names is None:
            return f"class {c}"
        if not 0 <= c < len(self.class_names):
            raise ValueError(f"class label {c} has no name, class_names are {self.class_names}")
        return self.class_names[c]


class SaveInterpolation(SaveSamples):
    """Writes each sample as ``SaveSamples`` does, all in one row as ``way.png``, and there and back as ``way.gif``.

    Args:
        output_dir, class_names: as of :class:`SaveSamples`.
        square: the samples lie between four corners, row by row; ``way.png`` has as many rows as columns.
    """

    def __init__(
        self, output_dir: str | os.PathLike, class_names: Sequence[str] | None = None, square: bool = False
    ) -> None:
        super().__init__(output_dir, class_names=class_names)
        self.square = square

    def _draw(self, engine: Workflow) -> None:
        images = [picture for _, picture in self._images]
        caption = "" if self._images[0][0] is None else self._name(self._images[0][0])
        columns = math.isqrt(len(images)) if self.square else len(images)
        rows = [images[start : start + columns] for start in range(0, len(images), columns)]
        write_png(
            self.output_dir / "way.png", captioned_rows([("" if i else caption, row) for i, row in enumerate(rows)])
        )
        write_gif(self.output_dir / "way.gif", *there_and_back(images))


class SaveLatentTSNE:
    """Writes ``latents.png``, scikit-learn's t-SNE of the latents of images, with a colour per class where known.

    Fewer than 5 images make no picture, which is logged. Where every image has a class, of two or more,
    ``clusters.csv`` says how well k-means finds them, see :func:`.cluster_scores`.

    Args:
        output_dir: folder of the picture.
        dataset: items with ``image`` (C, *S) of one size, and maybe ``class_label`` and ``class_name``.
        autoencoder: has ``encode``; of a variational one the means are shown.
        condition_key: the autoencoder's context in an item; None for none.
        class_names: names of the classes 0, 1, ... for the legend; by default the ones that the items know.
        dims: 2 or 3, of the picture.
        save: whether ``latents.npz`` is written too: ``latents`` (N, F), the cases' names and their classes (-1: none).
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        dataset: Dataset,
        autoencoder: AE | VAE,
        condition_key: str | None = None,
        class_names: Sequence[str] | None = None,
        dims: int = 2,
        save: bool = False,
    ) -> None:
        self.output_dir = user_path(output_dir)
        self.dataset, self.autoencoder = dataset, autoencoder
        self.condition_key, self.class_names = condition_key, class_names
        self.dims, self.save = dims, save

    def attach(self, engine: Workflow) -> None:
        """Draw when ``engine``, an evaluator, is done."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        if idist.get_rank() != 0 or not enough_points("latents.png", len(self.dataset)):
            return
        autoencoder = unwrap_model(self.autoencoder)
        device = next(autoencoder.parameters()).device
        latents, classes, cases = [], [], []
        known: dict[int, str] = {}
        with eval_mode(autoencoder):
            for batch in DataLoader(self.dataset, BATCH_SIZE):
                images = convert_to_tensor(batch["image"]).to(device)
                context = None if self.condition_key is None else batch[self.condition_key].to(device)
                latents.append(latents_of(autoencoder, images, context).flatten(1).float().cpu())
                classes.append(batch.get("class_label", torch.full((len(images),), NO_CLASS)))
                known |= dict(zip(classes[-1].tolist(), batch.get("class_name", [])))
                cases += [str(case) for case in batch.get("case", [""] * len(images))]
        names = self.class_names
        if names is None and known:
            names = [known.get(label, str(label)) for label in range(max(known) + 1)]
        points, labels = torch.cat(latents), torch.cat(classes)
        folder = writable_dir(self.output_dir)
        if self.save:
            with atomic_write(folder / "latents.npz") as part, part.open("wb") as file:
                np.savez(file, latents=points.numpy(), cases=np.array(cases), classes=labels.numpy())
        if int(labels.min()) != NO_CLASS and len(labels.unique()) > 1:
            scores = cluster_scores(points, labels)
            rows = ([name, cell(value), len(labels)] for name, value in scores.items())
            write_csv(folder / "clusters.csv", ["metric", "value", "n"], rows)
        figure = plot_tsne(points, labels, class_names=names, dims=self.dims)
        write_figure(folder / "latents.png", figure)
