"""Write generated samples as files, as one picture, and their denoising as an animation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from ..utils import replacing, user_path, writable_dir
from ..utils.pictures import plane
from .save_predictions import write_nifti, write_picture

COLUMNS = 8
MOST_TILES = 64
TILE = 96
MOST_MOVING = 16
MOST_FRAMES = 60
FRAME_MS, LAST_FRAME_MS = 80, 2000


class SaveSamples:
    """Writes each sample as ``sample_000.png`` (2D) or ``.nii.gz`` (3D), all as ``samples.png``, and ``denoising.gif``.

    The evaluator gives items with ``pred`` (C, *S), values 0 to 1, and with ``class_label`` where one was asked for;
    then the files are ``sample_000_class2.png`` and the picture has a row a class. The picture has up to 64 samples, or
    one row of each class; of a volume it shows the middle axial slice, of other channels than 1 or 3 the first.

    Args:
        output_dir: where the files go.
        columns: samples in a row of the picture.
        class_names: names of the classes 0, 1, ... for the picture.
        frames: gives the denoising steps of the last batch, first to last, each (B, C, *S) with values -1 to 1, such as
            ``lambda: inferer.steps``; up to 16 samples of the first batch are animated in up to 60 frames.

    Raises:
        ValueError: ``columns`` is less than 1.
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
            write_animation(self.output_dir / "denoising.gif", self.frames())

    def save(self, sample: torch.Tensor, class_label: int | None = None) -> Path:
        """Write one sample.

        Args:
            sample: (C, *S), values 0 to 1.
            class_label: the class asked for.

        Returns:
            Its file.
        """
        suffix = "" if class_label is None else f"_class{class_label}"
        path = self.output_dir / f"sample_{len(self._tiles):03d}{suffix}{'.nii.gz' if sample.ndim == 4 else '.png'}"
        if sample.ndim == 4:
            write_nifti(path, sample.numpy(), {})
        else:
            write_picture(path, sample.numpy())
        self._tiles.append((class_label, tile(sample)))
        return path

    def _draw(self, engine: Engine) -> None:
        write_sheet(self.output_dir / "samples.png", self._rows())

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


def samples_of(engine: Engine) -> list[tuple[torch.Tensor, int | None]]:
    """The samples (C, *S) of an evaluator's iteration, on the CPU, with the class asked for or None.

    Raises:
        ValueError: a sample has values that are not finite.
    """
    samples = []
    for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
        item: dict[str, Any] = {**batch, **output}
        sample = plain(item["pred"])
        if not torch.isfinite(sample).all():
            raise ValueError(
                f"sample {item.get('case', len(samples))} of iteration {engine.state.iteration} has values that are "
                "not finite: is the network trained, and with these settings?"
            )
        label = item.get("class_label")
        samples.append((sample, None if label is None else int(label)))
    return samples


def plain(image: torch.Tensor | np.ndarray) -> torch.Tensor:
    """An image as float32 on the CPU without meta data."""
    return torch.as_tensor(np.asarray(torch.as_tensor(image).detach().cpu(), np.float32))


def tile(image: torch.Tensor) -> np.ndarray:
    """An image as a small picture.

    Args:
        image: (C, *S), values 0 to 1.

    Returns:
        (H, W, 3), uint8, at least about 96 pixels wide or high.
    """
    channels = image if len(image) == 3 else image[:1].expand(3, *image.shape[1:])
    flat = np.stack([plane(c, c.shape[-1] // 2, volume=False) for c in channels.numpy()], -1)  # (H, W, 3)
    factor = max(1, round(TILE / max(flat.shape[:2])))
    levels = np.rint(np.clip(flat, 0, 1) * 255).astype(np.uint8)
    return levels.repeat(factor, 0).repeat(factor, 1)


def sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> np.ndarray:
    """Rows of pictures, each row under its caption.

    Args:
        rows: caption, without a line of its own where empty, and pictures (H, W, 3) of one size.

    Returns:
        (H, W, 3), uint8.
    """
    from PIL import Image, ImageDraw, ImageFont

    gap, head = 2, 18
    height, width = rows[0][1][0].shape[:2]
    tops = np.cumsum([0] + [height + gap + (head if caption else 0) for caption, _ in rows])
    picture = Image.new("RGB", ((width + gap) * max(len(tiles) for _, tiles in rows) - gap, int(tops[-1]) - gap))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    for top, (caption, tiles) in zip(tops.tolist(), rows):
        if caption:
            draw.text((3, top + 2), caption, font=font, fill=(220, 220, 220))
            top += head
        for i, levels in enumerate(tiles):
            picture.paste(Image.fromarray(levels), (i * (width + gap), top))
    return np.asarray(picture)


def write_sheet(path: Path, rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> None:
    """Write rows of pictures, see ``sheet``, as PNG."""
    from PIL import Image

    with replacing(path) as part:
        Image.fromarray(sheet(rows)).save(part)


def write_animation(path: Path, steps: Sequence[torch.Tensor]) -> None:
    """Write denoising steps as an animated GIF that rests on the last.

    Args:
        path: ends in ``.gif``.
        steps: each (B, C, *S), values -1 to 1; of more than 60 every n-th is shown.

    Raises:
        ValueError: there are no steps.
    """
    from PIL import Image

    if not steps:
        raise ValueError("frames gave no denoising steps: let the inferer keep its steps, or leave frames out")
    shown = np.linspace(0, len(steps) - 1, min(len(steps), MOST_FRAMES)).round().astype(int).tolist()
    columns = math.ceil(math.sqrt(min(len(steps[0]), MOST_MOVING)))
    mode = "RGB" if steps[0].shape[1] == 3 else "L"
    pictures = []
    for i in shown:
        tiles = [tile((plain(image) + 1) / 2) for image in steps[i][:MOST_MOVING]]
        rows = [("", tiles[j : j + columns]) for j in range(0, len(tiles), columns)]
        rows[0] = (f"{i + 1} / {len(steps)}", rows[0][1])
        pictures.append(Image.fromarray(sheet(rows)).convert(mode))
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_FRAME_MS]
    with replacing(path) as part:
        pictures[0].save(part, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
