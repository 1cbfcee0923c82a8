"""How well a classification knows each class, as tables and a picture."""

from __future__ import annotations

import csv

import numpy as np
import torch
from ignite.engine import Engine
from monai.metrics import compute_roc_auc

from ..utils import replacing, text_file
from ..utils.pictures import confusion_picture
from .case_report import cell
from .classified import ClassifiedCase, ClassifiedCases


class ClassReport(ClassifiedCases):
    """Writes ``confusion_matrix.csv``, ``confusion_matrix.png`` (rows true, columns predicted) and ``summary.csv``.

    The summary has the accuracy over all cases; precision, recall, F1 and AUC (one against the rest) of each class and
    their mean over classes; and the number of cases. A class without cases has empty cells and does not count in the
    means. These and the accuracy become the engine's metrics.

    Args:
        output_dir: folder of the files.
        class_names: a name a class; by default the ones that the cases know (``class_name``), else numbers.
    """

    def write(self, engine: Engine, cases: list[ClassifiedCase], names: list[str]) -> None:
        """Write the files.

        Raises:
            ValueError: no case has a true class.
        """
        known = [case for case in cases if case.truth is not None]
        if not known:
            raise ValueError(
                f"none of {len(cases)} cases has a class: an evaluation needs a folder of images a class in dataset_dir"
            )
        truth = np.array([case.truth for case in known])  # (N,)
        probabilities = np.array([case.probabilities for case in known])  # (N, K)
        matrix = confusion_matrix(truth, probabilities.argmax(1), len(names))
        with text_file(self.output_dir / "confusion_matrix.csv") as file:
            csv.writer(file).writerows([["true", *names], *([name, *row] for name, row in zip(names, matrix.tolist()))])
        with replacing(self.output_dir / "confusion_matrix.png") as part:
            from PIL import Image

            Image.fromarray(confusion_picture(matrix, names)).save(part)
        engine.state.metrics |= self._write_summary(matrix, class_scores(truth, probabilities, matrix), names)

    def _write_summary(self, matrix: np.ndarray, scores: dict[str, np.ndarray], names: list[str]) -> dict[str, float]:
        """Write the table; the accuracy and the mean of each score over the classes that have cases."""
        counts = matrix.sum(1)
        accuracy = float(np.trace(matrix) / counts.sum())
        means = {name: float(values[counts > 0].mean()) for name, values in scores.items()}
        with text_file(self.output_dir / "summary.csv") as file:
            table = csv.writer(file)
            table.writerow(["metric", "class", "value", "n"])
            table.writerow(["accuracy", "all", cell(accuracy), counts.sum()])
            for metric, values in scores.items():
                table.writerows([metric, name, cell(value), n] for name, value, n in zip(names, values, counts))
                table.writerow([metric, "mean", cell(means[metric]), counts.sum()])
        return {"accuracy": accuracy, **means}


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """How many cases of each class are taken for which.

    Args:
        truth: true classes (N,).
        predicted: predicted classes (N,).
        num_classes: number of classes K.

    Returns:
        Counts (K, K); rows are true, columns predicted classes.
    """
    return np.bincount(truth * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_scores(truth: np.ndarray, probabilities: np.ndarray, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and the area under the ROC curve (one against the rest) of each class.

    Args:
        truth: true classes (N,).
        probabilities: (N, K).
        matrix: their confusion matrix (K, K).

    Returns:
        "precision", "recall", "f1" and "auc", each (K,); NaN for a class without cases, and as AUC of an only class.
    """
    counts, hits = matrix.sum(1), np.diag(matrix)  # (K,)
    present = counts > 0
    scores = {
        "precision": hits / np.maximum(matrix.sum(0), 1),
        "recall": hits / np.maximum(counts, 1),
        "f1": 2 * hits / np.maximum(matrix.sum(0) + counts, 1),
    }
    scores = {name: np.where(present, values, np.nan) for name, values in scores.items()}
    scores["auc"] = np.full(len(counts), np.nan)
    for label in np.flatnonzero(present) if present.sum() > 1 else ():
        own = torch.from_numpy((truth == label).astype(np.int64))
        scores["auc"][label] = compute_roc_auc(torch.from_numpy(probabilities[:, label].copy()), own)
    return scores
