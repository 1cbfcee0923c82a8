"""Keeps some cases of an evaluation with their predictions as arrays, to be drawn beside those of other networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import Workflow

from ..utils import user_path
from ..utils.files import atomic_write
from ..visualize import fullest_slice, is_volume, label_map
from .examples import middle, sliced

SHOWN_TASKS = ("segmentation", "reconstruction")


class SaveShownCases:
    """Writes image, label and prediction of cases spread evenly over an evaluation, of a volume one slice.

    MONAI's ``SaveImage`` writes whole files of all cases, in the geometry of their inputs.

    Args:
        path: the ``.npz`` file: ``names``, ``volumes`` (which cases are slices of one), and for each case ``image_0``,
            ``label_0``, ``pred_0``, each (C, X, Y).
        task: "segmentation", of which label and prediction are label maps, or "reconstruction".
        num_cases: how many cases.

    Raises:
        ValueError: If the task is another.
    """

    def __init__(self, path: str | os.PathLike, task: str, num_cases: int = 4) -> None:
        if task not in SHOWN_TASKS:
            raise ValueError(f"task is {task!r}; expected {' or '.join(map(repr, SHOWN_TASKS))}: leave the handler out")
        self.path = user_path(path)
        self.task = task
        self.num_cases = num_cases

    def attach(self, engine: Workflow) -> None:
        """Keep cases of ``engine``, an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Workflow) -> None:
        count = len(getattr(engine.data_loader, "dataset", ())) or engine.state.epoch_length
        shown = min(self.num_cases, count)
        self._shown = {int((i + 0.5) * count / shown) for i in range(shown)}
        self._index = 0
        self._names: list[str] = []
        self._volumes: list[bool] = []
        self._arrays: dict[str, np.ndarray] = {}

    def _add(self, engine: Workflow) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            if self._index in self._shown:
                self._keep(item, output)
            self._index += 1

    def _keep(self, item: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        image, pred, label = output["image"], output["pred"], output.get("label")
        index = middle(image)
        if index is not None and label is not None and self.task == "segmentation":
            index = fullest_slice(label_map(label))
        found = {"image": image, "pred": pred, "label": image if label is None else label}
        for name, tensor in found.items():
            self._arrays[f"{name}_{len(self._names)}"] = self._array(tensor, index, name)
        self._volumes.append(image.ndim == 4 or is_volume(image))
        slice_ = f", slice {int(item['slice'])}" if "slice" in item else ""
        self._names.append(str(item.get("case", f"case {self._index + 1}")) + slice_)

    def _array(self, tensor: torch.Tensor, index: int | None, name: str) -> np.ndarray:
        array = sliced(tensor, index)
        return label_map(array)[None] if self.task == "segmentation" and name != "image" else array

    def _write(self, engine: Workflow) -> None:
        with atomic_write(self.path) as part, part.open("wb") as file:
            arrays: dict[str, Any] = {"names": self._names, "volumes": self._volumes, **self._arrays}
            np.savez_compressed(file, **arrays)
