"""Save the masks of each class: a file per class and case, and all of them as run-length codes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import Workflow

from ..data.class_masks import case_file
from ..data.predictions import SUBMISSION
from ..data.run_length import encode
from ..io import has_place, turned_like, write_csv, write_image, write_nifti, write_png
from ..utils import user_path, writable_dir
from ..visualize import is_volume, multi_label_picture, plain_masks


class SaveClassMasks:
    """Writes ``<class>/<case>`` of each class, PNG (0 and 255) for pictures and NIfTI (0 and 1) for volumes.

    MONAI's ``SaveImage`` writes all channels of a case into one file and knows no names of classes and no run-length
    codes. That is the layout of ``masks/<class>/``, so a folder of predictions can be a data set's masks. Beside them
    are an overlay of each case, and of pictures ``submission.csv``: a line of id, class and run-length code per class,
    where the id is the last part of the case's name.

    Args:
        output_dir: where the files go.
        class_names: the classes in the order of the network's outputs; None names them 1, 2, ...
    """

    def __init__(self, output_dir: str | os.PathLike, class_names: Sequence[str] | None = None) -> None:
        self.output_dir = user_path(output_dir)
        self.class_names = class_names
        self._rows: list[list[str]] = []

    def attach(self, engine: Workflow) -> None:
        """Save what ``engine``, an evaluator, predicts."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Workflow) -> None:
        writable_dir(self.output_dir)
        self._rows = []

    def __call__(self, engine: Workflow) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.save(output["image"], output["pred"], output.get("label"), str(batch.get("case", "case")))

    def _finish(self, engine: Workflow) -> None:
        if self._rows:
            write_csv(self.output_dir / SUBMISSION, ["id", "class", "predicted"], self._rows)

    def save(
        self, image: torch.Tensor, pred: torch.Tensor, label: torch.Tensor | None = None, case: str = "case"
    ) -> list[Path]:
        """Write one case.

        Args:
            image: the network's input (C, *S) with the meta data of its file.
            pred: masks (classes, *S), put back on the grid of the image's file by ``Invertd``.
            label: true masks, on the image's grid, for the overlay.
            case: its name.

        Returns:
            The files, in the order of the classes.
        """
        meta = getattr(image, "meta", {})
        masks = plain_masks(pred)
        names = [str(i + 1) for i in range(len(masks))] if self.class_names is None else self.class_names
        volume = masks.ndim == 4 or is_volume(image)
        paths = [case_file(self.output_dir, case, name, ".nii.gz" if volume else ".png") for name in names]
        for name, path, mask in zip(names, paths, masks, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            if volume:
                write_nifti(path, mask[None], {**meta, "affine": pred.affine} if has_place(pred) else meta, 1.0)
            else:
                write_image(path, mask[None] * np.uint8(255))
                self._rows.append([case.rpartition("/")[2], name, encode(mask.T)])
        on_image = turned_like(pred, image)
        if on_image.shape[1:] == image.shape[1:]:  # not where images are resized
            overlay = case_file(self.output_dir, case, "overlays", ".png")
            overlay.parent.mkdir(parents=True, exist_ok=True)
            write_png(overlay, multi_label_picture(image, on_image, label, volume=is_volume(image)))
        return paths
