"""What a classification says of cases, how well it knows each class, and what a classifier says of many images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from monai.networks.utils import eval_mode


@dataclass
class ClassifiedCase:
    """One case and its classes.

    Args:
        case: its name, with the index of the slice where it is one.
        file: path of the image, "" where it comes from none.
        probabilities: one per class.
        truth: the true class where it is known.
        name: the true class's name where it is known.
    """

    case: str
    file: str
    probabilities: list[float]
    truth: int | None = None
    name: str | None = None

    @property
    def predicted(self) -> int:
        """The most probable class."""
        return int(np.argmax(self.probabilities))

    @property
    def wrong(self) -> bool:
        """Whether the true class is known and another one is predicted."""
        return self.truth is not None and self.truth != self.predicted


def classified_case(item: Mapping[str, Any], output: Mapping[str, Any]) -> ClassifiedCase:
    """Reads one case of an evaluator.

    Args:
        item: of ``engine.state.batch``: ``case`` and, where known, ``slice``, ``class_label`` and ``class_name``.
        output: of ``engine.state.output``: ``image`` (C, *S) and ``pred``, the probabilities (K,).

    Raises:
        ValueError: If ``pred`` are no probabilities, or the class is none of theirs.
    """
    case = str(item.get("case", "case")) + (f"_{int(item['slice']):03d}" if "slice" in item else "")
    pred = torch.as_tensor(output["pred"]).detach().cpu().double()
    if pred.ndim != 1 or not torch.isclose(pred.sum(), pred.new_ones(()), atol=0.02) or pred.min() < 0:
        raise ValueError(
            f"pred of {case} has shape {tuple(pred.shape)} and sum {pred.sum():.4g}; expected probabilities (classes,) "
            "that sum to 1: give the logits a softmax in postprocessing"
        )
    truth = None if item.get("class_label") is None else int(item["class_label"])
    if truth is not None and not 0 <= truth < len(pred):
        raise ValueError(
            f"{case} has class {truth}; expected 0 to {len(pred) - 1}, the classes of the network: set num_classes"
        )
    file = str(getattr(output["image"], "meta", {}).get("filename_or_obj", ""))
    return ClassifiedCase(case, file, pred.tolist(), truth, item.get("class_name"))


def names_of_classes(cases: Iterable[ClassifiedCase], given: Sequence[str] | None, count: int) -> list[str]:
    """The names of ``count`` classes: the given ones, else those that cases know, else numbers.

    Raises:
        ValueError: If ``given`` are not ``count`` names.
    """
    if given is not None:
        if isinstance(given, str) or len(given) != count:
            raise ValueError(f"class_names is {given!r}; expected a list of {count} names, one per class in order")
        return [str(name) for name in given]
    known = {case.truth: case.name for case in cases if case.truth is not None and case.name is not None}
    return [known.get(label, str(label)) for label in range(count)]


def class_scores(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and the area under the ROC curve (one against the rest) of each class, by scikit-learn.

    Args:
        truth: true classes (N,).
        probabilities: (N, K).

    Returns:
        "precision", "recall", "f1" and "auc", each (K,); NaN for a class without cases, and as AUC of an only class.
        A class that is never predicted has a precision of 0.
    """
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    classes = range(probabilities.shape[1])
    *values, counts = precision_recall_fscore_support(truth, probabilities.argmax(1), labels=classes, zero_division=0.0)
    present = counts > 0
    names = ("precision", "recall", "f1")
    scores = {name: np.where(present, value, np.nan) for name, value in zip(names, values, strict=True)}
    several = present.sum() > 1
    auc = [roc_auc_score(truth == c, probabilities[:, c]) if present[c] and several else np.nan for c in classes]
    return scores | {"auc": np.array(auc)}


def classifier_outputs(
    classifier: torch.nn.Module, images: torch.Tensor, batch_size: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and logits of images, computed in batches on the classifier's device and kept on the CPU.

    Args:
        classifier: has ``features``, images (B, C, *S) to (B, F), and ``forward``, images to logits (B, K).
        images: (N, C, *S), values as in the classifier's training.
        batch_size: images at a time.

    Returns:
        Features (N, F) and logits (N, K), float32.
    """
    device = next(classifier.parameters()).device
    features_of = cast("Callable[[torch.Tensor], torch.Tensor]", classifier.features)
    features, logits = [], []
    with eval_mode(classifier):
        for batch in images.split(batch_size):
            batch = batch.to(device)
            features.append(features_of(batch).float().cpu())
            logits.append(classifier(batch).float().cpu())
    return torch.cat(features), torch.cat(logits)


def class_accuracy(logits: torch.Tensor, class_labels: torch.Tensor) -> float:
    """Share of the samples that the classifier assigns to the class they were generated for.

    Args:
        logits: (N, K) of the samples.
        class_labels: the classes they were conditioned on (N,), 0 to K - 1.

    Returns:
        The share, 0 to 1.

    Raises:
        ValueError: If there are not as many labels as samples, or one is no class of the classifier.
    """
    if len(class_labels) != len(logits):
        raise ValueError(f"there are {len(class_labels)} class labels; expected one for each of {len(logits)} samples")
    low, high = int(class_labels.min()), int(class_labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"class labels are {low} to {high}; expected the classifier's 0 to {logits.shape[1] - 1}: "
            "evaluate with a classifier of the generator's classes"
        )
    return float((logits.argmax(1) == class_labels).double().mean())
