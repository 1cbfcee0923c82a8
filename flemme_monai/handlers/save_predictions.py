"""Save predictions in the input's own kind of file, with its geometry."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import Workflow

from ..data.files import safe_name
from ..data.predictions import new_prediction_name
from ..io import has_place, restored_intensities, restored_std, turned_like, write_image, write_nifti, write_png
from ..utils import user_path, writable_dir
from ..visualize import ERROR_GAIN, PICTURES, is_volume, label_map

TASKS = (*PICTURES, "uncertainty", "label_uncertainty", "probabilities")
PROBABILITY_STEP = 1 / 65535  # NIfTI has no half precision; whole numbers of 16 bits with a factor are finer


class SavePredictions:
    """Writes ``<stem>_<postfix>`` of each case, PNG for pictures and NIfTI for volumes, and a PNG overlay beside it.

    MONAI's ``SaveImage`` writes one kind of file for all inputs, with an affine and no other geometry, over the output
    of another input of that name, and leaves half a file where it dies.

    A volume goes back to the axes and affine that its file has. Label maps are uint8 (uint16 above 255 labels) with the
    labels as values. Reconstructions get the file's dtype and value range back where ``meta["intensity_range"]`` of the
    image holds the values that became 0 and 1; uncertainties are differences of such values, in a PNG five times as
    bright. Of two inputs with one stem the second is named after its folder too.

    Args:
        output_dir: where the files go.
        postfix: end of their names.
        task: "segmentation" (``pred`` is a label map or has a channel per class), "reconstruction", "uncertainty" (a
            reconstruction's standard deviation), "label_uncertainty" (that of a label map's probabilities, in a PNG
            twice as bright, so that 0.5 is white) or "probabilities" (of each class, NIfTI of pictures too, in steps of
            1/65535); the last three have no overlay.
        overlay: whether to draw overlays.
        key: what is saved of an evaluator's output.

    Raises:
        ValueError: If the task is unknown, or the postfix is empty or no part of a file's name.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        postfix: str = "pred",
        task: str = "segmentation",
        overlay: bool = True,
        key: str = "pred",
    ) -> None:
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; expected {', '.join(map(repr, TASKS[:-1]))} or {TASKS[-1]!r}")
        if not postfix or safe_name(postfix) != postfix:
            raise ValueError(f"postfix is {postfix!r}; expected letters that can stand in a file's name")
        self.output_dir = user_path(output_dir)
        self.postfix = postfix
        self.task = task
        self.key = key
        self._draw = PICTURES.get(task) if overlay else None
        self._names: set[str] = set()

    def attach(self, engine: Workflow) -> None:
        """Save what ``engine``, an evaluator, predicts."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _start(self, engine: Workflow) -> None:
        writable_dir(self.output_dir)
        self._names = set()

    def __call__(self, engine: Workflow) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.save(output["image"], output[self.key], output.get("label"), str(batch.get("case", "case")))

    def save(
        self, image: torch.Tensor, pred: torch.Tensor, label: torch.Tensor | None = None, case: str = "case"
    ) -> Path:
        """Write one case.

        Args:
            image: the network's input (C, *S) with the meta data of its file.
            pred: the prediction (C_out, *S), on the image's grid or put back on that of its file by ``Invertd``.
            label: the truth (C_label, *S), for the overlay.
            case: names an image that comes from no file.

        Returns:
            The file of the prediction.

        Raises:
            ValueError: If ``pred`` has another size than ``image``.
        """
        meta = getattr(image, "meta", {})
        on_image = turned_like(pred, image)
        if on_image.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"the prediction of {case} is {tuple(on_image.shape[1:])} and its image {tuple(image.shape[1:])}"
            )
        name = new_prediction_name(self._names, str(meta.get("filename_or_obj", "")), case)
        volume = image.ndim == 4 or is_volume(image)
        as_nifti = volume or self.task == "probabilities"
        path = self.output_dir / f"{name}_{self.postfix}{'.nii.gz' if as_nifti else '.png'}"
        slope = 1.0
        if self.task == "segmentation":
            labels = label_map(pred)[None]
            values = labels.astype(np.uint8 if labels.max() < 256 else np.uint16)
        elif self.task == "probabilities":
            values, slope = _in_steps(pred), PROBABILITY_STEP
        elif self.task == "uncertainty":
            values = restored_std(pred, meta) if volume else ERROR_GAIN * pred.detach().cpu().numpy()
        elif self.task == "label_uncertainty":
            values = (1 if volume else 2) * pred.detach().cpu().numpy()
        else:  # a PNG has no floats
            whole = np.dtype(meta.get("original_dtype", np.float32)).kind in "iu"
            values = restored_intensities(pred, meta if volume or whole else {})
        if as_nifti:
            write_nifti(path, values, {**meta, "affine": pred.affine} if has_place(pred) else meta, slope)
        else:
            write_image(path, values)
        if self._draw is not None:
            picture = self._draw(image, on_image, label, volume=is_volume(image))
            write_png(self.output_dir / f"{name}_{self.postfix}_overlay.png", picture)
        return path


def _in_steps(probabilities: torch.Tensor) -> np.ndarray:
    """Probabilities (C, *S) as whole numbers of steps, a class at a time."""
    steps = np.empty(tuple(probabilities.shape), np.uint16)
    for values, given in zip(steps, probabilities.detach()):
        values[:] = np.rint(given.cpu().numpy() / PROBABILITY_STEP)
    return steps
