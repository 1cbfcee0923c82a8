"""``examples.png``: what the network makes of some validation cases, at the best validation of a training."""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Events
from monai.engines import Workflow
from PIL import Image

from ..io import write_gif, write_png
from ..metrics import ClassifiedCase, classified_case, names_of_classes
from ..utils import user_path
from ..visualize import (
    Example,
    Tile,
    classification_tile,
    example_grid,
    fullest_slice,
    is_volume,
    label_map,
    multi_label_row,
    plain_image,
    plain_masks,
    reconstruction_row,
    segmentation_row,
    upright,
)
from .events import EpochEnd, at_epoch_end, hold_while_running
from .history import EXAMPLES, SECONDS_BETWEEN_DRAWINGS

NUM_CASES = 3
NUM_CLASSIFIED, COLUMNS = 8, 4
PICTURES, EVOLUTION = "pictures", "evolution.gif"
FRAME, LAST_FRAME = 400, 2000  # ms
ROWS = {"segmentation": segmentation_row, "multi_label": multi_label_row, "reconstruction": reconstruction_row}
TASKS = (*ROWS, "classification")


class Examples:
    """Base of what draws ``examples.png`` at the best validation, on the first process alone.

    The cases are always the same: spread evenly over the validation set, of a distributed run over the part of the
    first process; in the place of one without foreground the next that has some. A training draws at its end, and
    before that now and then, so that a killed one has its examples too. No random number is drawn, and processes do not
    wait for each other.

    With an interval each of its epochs has a picture, whether it was the best or not, in the folder ``pictures``, and
    the training ends with all of them as ``evolution.gif``.

    Args:
        output_dir: folder of the picture.
        evaluator: the trainer's; its cases are shown, and its key metric says which validation is the best.
        num_cases: how many cases.
        interval: epochs from picture to picture, each at the first validation from there on; 0 draws the best alone.
    """

    def __init__(self, output_dir: str | os.PathLike, evaluator: Workflow, num_cases: int, interval: int = 0) -> None:
        self.output_dir = user_path(output_dir)
        self.evaluator = evaluator
        self.num_cases = num_cases
        self.interval = interval
        self._last = 0  # epoch of the last picture of the interval
        self._seen: list[Any] = []  # cases of the last validation
        self._full = False  # whether the last of them has foreground
        self._index = 0
        self._epoch = 0  # of the best validation that was seen, 0 without any
        self._drawn = 0  # that of the picture

    def attach(self, engine: Workflow) -> None:
        """Draw for ``engine``, the trainer."""
        hold_while_running(engine, self.output_dir)
        engine.add_event_handler(Events.STARTED, self._start)
        at_epoch_end(engine, EpochEnd.EXAMPLES, self._end_epoch)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def keep(self, item: Mapping[str, Any], output: Mapping[str, Any], number: int) -> Any:
        """What is needed of a case to draw it.

        Args:
            item: of the evaluator's batch.
            output: of the evaluator's output.
            number: which of the cases, from 0.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it keeps of a case")

    def has_foreground(self, output: Mapping[str, Any]) -> bool:
        """Whether there is something to see in the label of a case."""
        return True

    def draw(self, engine: Workflow) -> None:
        """Write the picture of the best validation; ``engine`` is the trainer."""
        raise NotImplementedError(f"{type(self).__name__} does not draw")

    def present(self, epoch: int) -> np.ndarray:
        """The picture of the last validation, which was that of an epoch."""
        raise NotImplementedError(f"{type(self).__name__} does not draw")

    def due(self) -> bool:
        """Whether there is time for a picture before the training's end."""
        raise NotImplementedError(f"{type(self).__name__} does not say when it draws")

    def note(self, what: str, epoch: int) -> str:
        """The line above the picture: what it shows, and of which epoch's weights."""
        state = self.evaluator.state
        name = state.key_metric_name
        best = state.best_metric_epoch == epoch and name is not None
        return f"{what} at epoch {epoch}" + (f", the best: {name} {float(state.best_metric):.4g}" if best else "")

    def _start(self, engine: Workflow) -> None:
        # not before: the evaluator may run alone, without a training
        if idist.get_rank() == 0 and not self.evaluator.has_event_handler(self._add, Events.ITERATION_COMPLETED):
            self.evaluator.add_event_handler(Events.EPOCH_STARTED, self._first)
            self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._add)
            self._last = max((epoch for epoch, _ in self._pictures()), default=0)

    def _pictures(self) -> list[tuple[int, Path]]:
        """The pictures of the interval, by their epochs."""
        return sorted((int(path.stem), path) for path in (self.output_dir / PICTURES).glob("[0-9]*.png"))

    def _first(self, evaluator: Workflow) -> None:
        self._seen, self._index = [], 0
        sampler = getattr(evaluator.data_loader, "sampler", None)
        count = evaluator.state.epoch_length if sampler is None else len(sampler)
        shown = min(self.num_cases, count)
        self._firsts = [int((i + 0.5) * count / shown) for i in range(shown)]

    def _add(self, evaluator: Workflow) -> None:
        for item, output in zip(evaluator.state.batch, evaluator.state.output, strict=True):
            number = bisect_right(self._firsts, self._index) - 1
            if number == len(self._seen):
                self._seen.append(self.keep(item, output, number))
                self._full = self.has_foreground(output)
            elif number >= 0 and not self._full and self.has_foreground(output):
                self._seen[number] = self.keep(item, output, number)
                self._full = True
            self._index += 1

    def _end_epoch(self, engine: Workflow) -> None:
        state = self.evaluator.state
        validated = bool(self._seen) and state.epoch == engine.state.epoch
        if self.interval and validated and state.epoch // self.interval > self._last // self.interval:
            (self.output_dir / PICTURES).mkdir(exist_ok=True)
            engine.state.example_picture = self.present(state.epoch)  # for TensorBoard too
            write_png(self.output_dir / PICTURES / f"{state.epoch:05d}.png", engine.state.example_picture)
            self._last = state.epoch
        if self._seen and state.best_metric_epoch == state.epoch == engine.state.epoch:
            self._epoch = engine.state.epoch
            self.remember()
            if self.due():
                self._write(engine)
        # before the last epoch is saved: a run that is killed after that has nothing left to draw
        ends = engine.should_terminate or engine.state.epoch == engine.state.max_epochs
        if ends and self._epoch != self._drawn:
            self._write(engine)

    def remember(self) -> None:
        """Called at a new best validation."""

    def _finish(self, engine: Workflow) -> None:
        if idist.get_rank() != 0:
            return
        if self.interval and (pictures := self._pictures()):
            frames = same_size([np.asarray(Image.open(path)) for _, path in pictures])
            write_gif(self.output_dir / EVOLUTION, frames, [FRAME] * (len(frames) - 1) + [LAST_FRAME])
        # a resumed run without a better validation leaves the picture of what came before
        if self._epoch != self._drawn or not (self._drawn or (self.output_dir / EXAMPLES).is_file()):
            self._write(engine)

    def _write(self, engine: Workflow) -> None:
        self.draw(engine)
        self._drawn = self._epoch


class SaveExamples(Examples):
    """Draws validation cases with their predictions: a segmentation's, a reconstruction's or a classification's.

    The predictions are the validation's own, so nothing is computed twice; MONAI's ``TensorBoardImageHandler`` writes
    events, which need a viewer. Of a volume one slice is shown, that with most foreground for a segmentation, else the
    middle one.

    Args:
        output_dir: folder of the picture.
        evaluator: the trainer's.
        task: "segmentation", "multi_label" (masks of classes that may overlap), "reconstruction" or "classification".
        interval: epochs from picture to picture of the training's evolution; 0 draws none.

    Raises:
        ValueError: If the task is another.
    """

    def __init__(self, output_dir: str | os.PathLike, evaluator: Workflow, task: str, interval: int = 0) -> None:
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; expected {', '.join(map(repr, TASKS))}")
        super().__init__(output_dir, evaluator, NUM_CLASSIFIED if task == "classification" else NUM_CASES, interval)
        self.task = task
        self._best: list[Any] = []
        self._written = time.monotonic()

    def keep(self, item: Mapping[str, Any], output: Mapping[str, Any], number: int) -> Any:
        """The example, with what is known of its class."""
        image, pred, label = output["image"], output["pred"], output.get("label")
        index = self._slice(image, label)
        name = str(item.get("case", f"case {number + 1}")) + (
            f", slice {int(item['slice'])}" if "slice" in item else ""
        )
        picture, volume = sliced(image, index), is_volume(image)
        if self.task == "classification":
            return upright(picture, volume), classified_case(item, output)
        target = None if label is None else self._prediction(sliced(label, index))
        return Example(name, picture, self._prediction(sliced(pred, index)), target, volume)

    def _prediction(self, image: np.ndarray) -> np.ndarray:
        return label_map(image)[None] if self.task == "segmentation" else image

    def has_foreground(self, output: Mapping[str, Any]) -> bool:
        """Whether the label has any, of a segmentation."""
        label = output.get("label")
        if label is None or self.task not in ("segmentation", "multi_label"):
            return True
        return bool((label_map(label) if self.task == "segmentation" else plain_masks(label)).any())

    def _slice(self, image: torch.Tensor, label: Any) -> int | None:
        """The slice to show."""
        if image.ndim != 4:
            return None
        if self.task == "segmentation" and label is not None:
            return fullest_slice(label_map(label))
        if self.task == "multi_label" and label is not None:
            return fullest_slice(np.asarray(plain_masks(label).any(0)))
        return image.shape[-1] // 2

    def due(self) -> bool:
        """Every half minute."""
        return time.monotonic() - self._written > SECONDS_BETWEEN_DRAWINGS

    def remember(self) -> None:
        """Keep the cases of the best validation."""
        self._best = self._seen

    def draw(self, engine: Workflow) -> None:
        """Write the picture."""
        cases, epoch = self._best or self._seen, self._epoch or self.evaluator.state.epoch
        if cases:  # none without a validation
            write_png(self.output_dir / EXAMPLES, self._grid(cases, epoch))
        self._written = time.monotonic()

    def present(self, epoch: int) -> np.ndarray:
        """The cases of the last validation."""
        return self._grid(self._seen, epoch)

    def _grid(self, cases: Sequence[Any], epoch: int) -> np.ndarray:
        return example_grid(self.note("validation cases", epoch), self._rows(cases))

    def _rows(self, cases: Sequence[Any]) -> list[list[Tile]]:
        if self.task == "classification":
            known: list[ClassifiedCase] = [case for _, case in cases]
            names = names_of_classes(known, None, len(known[0].probabilities))
            cells = [
                classification_tile(picture, names[case.predicted], None if case.truth is None else names[case.truth])
                for picture, case in cases
            ]
            return [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
        draw = ROWS[self.task]
        return [draw(case) for case in cases]


def same_size(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pictures (H, W, 3), each with white below and to the right up to the size of the largest."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    filled = np.full((len(pictures), height, width, 3), 255, np.uint8)
    for whole, picture in zip(filled, pictures):
        whole[: picture.shape[0], : picture.shape[1]] = picture
    return list(filled)


def middle(image: torch.Tensor) -> int | None:
    """The index of the middle slice of a volume (C, X, Y, Z); None of an image (C, X, Y)."""
    return image.shape[-1] // 2 if image.ndim == 4 else None


def sliced(image: torch.Tensor, index: int | None) -> np.ndarray:
    """An image (C, X, Y), or a slice of a volume (C, X, Y, Z), on the CPU without meta data."""
    return plain_image(image if index is None else image[..., index]).numpy()
