"""What goes into a network and what comes out of it, as files, for a look inside."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import Workflow

from ..data.predictions import new_prediction_name
from ..io import has_place, write_nifti
from ..utils import user_path, writable_dir

OUTPUTS = {"input": "image", "target": "label", "logits": "logits", "probabilities": "probabilities"}


class SaveOutputs:
    """Writes ``<stem>_<name>.nii.gz`` of each case in float32, as the network has it: transformed input and target,
    logits or probabilities of each class.

    A case without a target has no such file. MONAI's ``SaveImage`` writes one key, under one name for all.

    Args:
        output_dir: where the files go.
        outputs: of ``input``, ``target``, ``logits``, ``probabilities``; none writes nothing.

    Raises:
        ValueError: If one is another.
    """

    def __init__(self, output_dir: str | os.PathLike, outputs: Sequence[str] = ()) -> None:
        self.output_dir = user_path(output_dir)
        self.outputs = list(outputs)
        wrong = [name for name in self.outputs if name not in OUTPUTS]
        if wrong:
            raise ValueError(f"save_outputs has {wrong[0]!r}; expected some of {', '.join(OUTPUTS)}")
        self._names: set[str] = set()

    def attach(self, engine: Workflow) -> None:
        """Save what ``engine``, an evaluator, sees and gives."""
        if self.outputs:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _start(self, engine: Workflow) -> None:
        writable_dir(self.output_dir)
        self._names = set()

    def __call__(self, engine: Workflow) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            image = output["image"]
            meta = getattr(image, "meta", {})
            source = str(meta.get("filename_or_obj", ""))
            stem = new_prediction_name(self._names, source, str(batch.get("case", "case")))
            for name in self.outputs:
                values = output.get(OUTPUTS[name])
                if isinstance(values, torch.Tensor):
                    self._write(f"{stem}_{name}", values, image)

    def _write(self, name: str, values: torch.Tensor, image: torch.Tensor) -> None:
        array = np.asarray(values.detach().cpu(), np.float32)
        placed = values if has_place(values) else image
        meta = {"affine": placed.affine} if has_place(placed) and image.ndim == 4 else {}
        write_nifti(self.output_dir / f"{name}.nii.gz", array, meta)
