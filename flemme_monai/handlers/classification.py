"""Predictions of a classification by case, and its scores by class, as tables and pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Events
from monai.engines import Workflow
from monai.utils import string_list_all_gather

from ..io import cell, write_csv, write_png
from ..metrics import ClassifiedCase, class_scores, classified_case, names_of_classes
from ..utils import user_path, writable_dir
from ..visualize import ClassSheet, confusion_picture


class ClassifiedCases:
    """Collects the classified cases of an evaluator, and writes them when it is done, on the first process.

    Args:
        output_dir: folder of what is written.
        class_names: one name per class; by default the ones that the cases know (``class_name``), else numbers.
    """

    def __init__(self, output_dir: str | os.PathLike, class_names: Sequence[str] | None = None) -> None:
        self.output_dir = user_path(output_dir)
        self.class_names = class_names
        self._cases: list[ClassifiedCase] = []

    def attach(self, engine: Workflow) -> None:
        """Collect what ``engine``, an evaluator, predicts."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self)

    def _start(self, engine: Workflow) -> None:
        self._cases = []
        if idist.get_rank() == 0:
            writable_dir(self.output_dir)

    def _add(self, engine: Workflow) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.add(classified_case(item, output), output["image"])

    def add(self, case: ClassifiedCase, image: torch.Tensor) -> None:
        """Keep a case; ``image`` is (C, *S)."""
        if not self._cases:  # names that do not fit are found before the other cases are waited for
            names_of_classes([case], self.class_names, len(case.probabilities))
        self._cases.append(case)

    def __call__(self, engine: Workflow) -> None:
        cases = self._cases
        if idist.get_world_size() > 1:
            lines = string_list_all_gather([json.dumps(asdict(case)) for case in cases])
            cases = [ClassifiedCase(**json.loads(line)) for line in lines]
        if idist.get_rank() == 0 and cases:
            names = names_of_classes(cases, self.class_names, len(cases[0].probabilities))
            self.write(engine, sorted(cases, key=lambda case: case.case), names)

    def write(self, engine: Workflow, cases: list[ClassifiedCase], names: list[str]) -> None:
        """Write what is known of all cases, sorted by name; a subclass does."""
        raise NotImplementedError


class ClassReport(ClassifiedCases):
    """Writes ``confusion_matrix.csv``, ``confusion_matrix.png`` (rows true, columns predicted) and ``summary.csv``.

    The numbers are scikit-learn's; Ignite's ``Precision``, ``Recall`` and ``Fbeta`` count a class without cases as 0 in
    their means. The summary has the accuracy over all cases; precision, recall, F1 and AUC (one against the rest) of
    each class and their mean over classes; and the number of cases. A class without cases has empty cells and does not
    count in the means. These and the accuracy become the engine's metrics.

    Args:
        output_dir: folder of the files.
        class_names: one name per class; by default the ones that the cases know (``class_name``), else numbers.
        top_k: the share of cases whose class is among the k most probable ones is reported too; None: not.

    Raises:
        ValueError: If k is below 1.
    """

    def __init__(
        self, output_dir: str | os.PathLike, class_names: Sequence[str] | None = None, top_k: int | None = None
    ) -> None:
        super().__init__(output_dir, class_names)
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}; expected 1 or more, or none")
        self.top_k = top_k

    def write(self, engine: Workflow, cases: list[ClassifiedCase], names: list[str]) -> None:
        """Write the files.

        Raises:
            ValueError: If no case has a true class.
        """
        from sklearn.metrics import confusion_matrix

        known = [case for case in cases if case.truth is not None]
        if not known:
            raise ValueError(
                f"none of {len(cases)} cases has a class; expected a folder of images per class in dataset_dir"
            )
        truth = np.array([case.truth for case in known])  # (N,)
        probabilities = np.array([case.probabilities for case in known])  # (N, K)
        matrix = confusion_matrix(truth, probabilities.argmax(1), labels=range(len(names)))
        counts = matrix.sum(1)
        scores = class_scores(truth, probabilities)
        means = {"accuracy": float(np.trace(matrix) / len(truth))}
        rows = [["accuracy", "all", cell(means["accuracy"]), len(truth)]]
        if self.top_k is not None:
            best = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.top_k]  # (N, k)
            name = f"top_{self.top_k}_accuracy"
            means[name] = float((best == truth[:, None]).any(1).mean())
            rows.append([name, "all", cell(means[name]), len(truth)])
        for metric, values in scores.items():
            means[metric] = float(values[counts > 0].mean())
            rows += [[metric, name, cell(value), n] for name, value, n in zip(names, values, counts)]
            rows.append([metric, "mean", cell(means[metric]), len(truth)])
        table = ([name, *row] for name, row in zip(names, matrix.tolist()))
        write_csv(self.output_dir / "confusion_matrix.csv", ["true", *names], table)
        write_png(self.output_dir / "confusion_matrix.png", confusion_picture(matrix, names))
        write_csv(self.output_dir / "summary.csv", ["metric", "class", "value", "n"], rows)
        engine.state.metrics |= means


class SaveClasses(ClassifiedCases):
    """Writes ``predictions.csv``, a row per case with its class, all probabilities and, where known, the true class.

    MONAI's ``ClassificationSaver`` writes a path and a row of numbers without names, and slices of one volume alike.
    ``predictions.png`` shows some cases of each class, wrong ones first and in red.

    Args:
        output_dir: folder of both files.
        class_names: one name per class; by default the ones that the cases know (``class_name``), else numbers.
        num_images: number of cases in the picture, 0 draws none.
    """

    def __init__(
        self, output_dir: str | os.PathLike, class_names: Sequence[str] | None = None, num_images: int = 48
    ) -> None:
        super().__init__(output_dir, class_names)
        self.num_images = num_images

    def _start(self, engine: Workflow) -> None:
        super()._start(engine)
        self._sheet = ClassSheet(self.num_images)

    def add(self, case: ClassifiedCase, image: torch.Tensor) -> None:
        """Keep a case; ``image`` is (C, *S)."""
        super().add(case, image)
        if self.num_images:
            self._sheet.add(case, image)

    def write(self, engine: Workflow, cases: list[ClassifiedCase], names: list[str]) -> None:
        """Write both files."""
        known = any(case.truth is not None for case in cases)
        header = ["case", "file", "class", "name", *(["true_class", "true_name"] if known else [])]
        rows = []
        for case in cases:
            truth = ["", ""] if case.truth is None else [case.truth, names[case.truth]]
            row = [case.case, case.file, case.predicted, names[case.predicted], *(truth if known else [])]
            rows.append([*row, *(f"{p:.6g}" for p in case.probabilities)])
        write_csv(self.output_dir / "predictions.csv", [*header, *(f"p_{name}" for name in names)], rows)
        if self.num_images:
            write_png(self.output_dir / "predictions.png", self._sheet.picture(names))
