"""Follow a run in TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Events
from monai.data import MetaTensor, list_data_collate
from monai.engines import SupervisedEvaluator, Workflow
from monai.transforms import ResizeWithPadOrCrop

from ..metrics import classified_case
from ..utils import naming, unwrap_model, user_path
from ..visualize import PICTURES, ClassSheet, is_volume, level_picture
from .events import EpochEnd, at_epoch_end


class TensorBoard:
    """Writes the rows of the trainer's ``History`` as curves, and pictures of some validation cases.

    MONAI's ``TensorBoardStatsHandler`` and ``TensorBoardImageHandler`` open their files when they are made, on each
    process; the former writes at the end of an epoch, where a validation may not have run yet, and a run that is taken
    up again leaves the curves of what was lost; the latter shows label maps as gray levels.

    Args:
        log_dir: folder of the event files.
        evaluator: its first cases are shown, for classification some cases of each class on one sheet.
        task: "segmentation", "reconstruction" or "classification".
        num_images: validation cases to show, for the first two.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike,
        evaluator: Workflow | None = None,
        task: str = "segmentation",
        num_images: int = 2,
    ) -> None:
        if task not in (*PICTURES, "classification"):
            raise ValueError(f"task is {task!r}; expected {', '.join(map(repr, PICTURES))} or 'classification'")
        self.log_dir = user_path(log_dir)
        self.evaluator = evaluator
        self.num_images = num_images
        self._draw = PICTURES.get(task)
        self._writer: Any = None
        self._shown = 0

    def attach(self, engine: Workflow) -> None:
        """Follow ``engine``, the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        at_epoch_end(engine, EpochEnd.REPORT, self._write_row)
        at_epoch_end(engine, EpochEnd.SAVE, self._write_examples)
        engine.add_event_handler(Events.COMPLETED, self._close)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.STARTED, self._first)
            if self._draw is None:
                self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._add_to_sheet)
                self.evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._write_sheet)
            else:
                self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._write_pictures, self._draw)

    def _open(self, engine: Workflow) -> None:
        if self._writer is None and idist.get_rank() == 0:
            from torch.utils.tensorboard import SummaryWriter

            with naming(self.log_dir / "events.out.tfevents"):
                self._writer = SummaryWriter(str(self.log_dir), purge_step=engine.state.epoch)

    def _write_row(self, engine: Workflow) -> None:
        if self._writer is None:
            return
        row = engine.state.history.rows[-1]
        with naming(self.log_dir / "events.out.tfevents"):
            for name, value in row.items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, row["epoch"])
            self._writer.flush()

    def _write_examples(self, engine: Workflow) -> None:
        """The picture that an interval of epochs has, such as the samples of a denoiser."""
        picture = getattr(engine.state, "example_picture", None)
        if picture is not None and self._writer is not None:
            self._add_image("examples", picture, engine)
            engine.state.example_picture = None

    def _first(self, evaluator: Workflow) -> None:
        self._shown = 0
        self._sheet = ClassSheet()

    def _add_to_sheet(self, evaluator: Workflow) -> None:
        if self._writer is not None:
            for item, output in zip(evaluator.state.batch, evaluator.state.output, strict=True):
                self._sheet.add(classified_case(item, output), output["image"])

    def _write_sheet(self, evaluator: Workflow) -> None:
        if self._writer is not None:
            self._add_image("cases", self._sheet.picture(), evaluator)

    def _write_pictures(self, evaluator: SupervisedEvaluator, draw: Callable[..., np.ndarray]) -> None:
        for case, item in zip(evaluator.state.batch, evaluator.state.output, strict=True):
            if self._shown >= self.num_images or self._writer is None:
                return
            picture = draw(item["image"], item["pred"], item.get("label"), volume=is_volume(item["image"]))
            self._add_image(f"case_{self._shown}", picture, evaluator)
            if self._shown == 0:
                self._write_levels(evaluator, case, item["image"])
            self._shown += 1

    def _write_levels(self, evaluator: SupervisedEvaluator, case: dict[str, Any], image: torch.Tensor) -> None:
        """What every level of a hierarchical network makes of the middle of a case's image (C, *S)."""
        network: Any = unwrap_model(evaluator.network)
        if not getattr(network, "num_levels", 0) or not hasattr(network, "level_predictions"):
            return
        size = getattr(evaluator.inferer, "sizes", None)
        if size is None:
            return
        if image.ndim - 1 > len(size):  # of a volume that is seen slice by slice
            image = image[..., image.shape[-1] // 2]
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        device = next(network.parameters()).device
        window = ResizeWithPadOrCrop(size)(plain.cpu()).to(device)
        _, _, *more = evaluator.prepare_batch(list_data_collate([case]), device)
        context = more[1].get("context") if more else None
        levels = network.level_predictions(window[None], context=context)
        self._add_image("levels", level_picture(window.cpu(), [level[0].float().cpu() for level in levels]), evaluator)

    def _add_image(self, name: str, picture: np.ndarray, evaluator: Workflow) -> None:
        with naming(self.log_dir / "events.out.tfevents"):
            self._writer.add_image(name, picture, evaluator.state.epoch, dataformats="HWC")

    def _close(self, engine: Workflow) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
