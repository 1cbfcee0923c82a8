"""Save the classes of a classification as a table and a picture."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence

import torch
from ignite.engine import Engine

from ..utils import replacing, text_file
from .classified import ClassifiedCase, ClassifiedCases, ClassSheet


class SaveClasses(ClassifiedCases):
    """Writes ``predictions.csv``, a row a case with its class, all probabilities and, where known, the true class.

    ``predictions.png`` shows some cases of each class, wrong ones first and in red.

    Args:
        output_dir: folder of both files.
        class_names: a name a class; by default the ones that the cases know (``class_name``), else numbers.
        num_images: number of cases in the picture, 0 draws none.
    """

    def __init__(
        self, output_dir: str | os.PathLike, class_names: Sequence[str] | None = None, num_images: int = 48
    ) -> None:
        super().__init__(output_dir, class_names)
        self.num_images = num_images

    def _start(self, engine: Engine) -> None:
        super()._start(engine)
        self._sheet = ClassSheet(self.num_images)

    def add(self, case: ClassifiedCase, image: torch.Tensor) -> None:
        """Keep a case; ``image`` is (C, *S)."""
        super().add(case, image)
        if self.num_images:
            self._sheet.add(case, image)

    def write(self, engine: Engine, cases: list[ClassifiedCase], names: list[str]) -> None:
        """Write both files."""
        known = any(case.truth is not None for case in cases)
        with text_file(self.output_dir / "predictions.csv") as file:
            table = csv.writer(file)
            truth = ["true_class", "true_name"] if known else []
            table.writerow(["case", "file", "class", "name", *truth, *(f"p_{name}" for name in names)])
            for case in cases:
                row = [case.case, case.file, case.predicted, names[case.predicted]]
                if known:
                    row += ["", ""] if case.truth is None else [case.truth, names[case.truth]]
                table.writerow([*row, *(f"{p:.6g}" for p in case.probabilities)])
        if self.num_images:
            from PIL import Image

            with replacing(self.output_dir / "predictions.png") as part:
                Image.fromarray(self._sheet.picture(names)).save(part)
