"""Scores of each class of a classification, and what a trained classifier says of images."""

from __future__ import annotations

import numpy as np
import torch
from monai.networks.utils import eval_mode


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
    features, logits = [], []
    with eval_mode(classifier):
        for batch in images.split(batch_size):
            batch = batch.to(device)
            features.append(classifier.features(batch).float().cpu())
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
        raise ValueError(f"there are {len(logits)} samples and {len(class_labels)} class labels")
    low, high = int(class_labels.min()), int(class_labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"class labels are {low} to {high} and the classifier knows 0 to {logits.shape[1] - 1}: "
            "evaluate with a classifier of the generator's classes"
        )
    return float((logits.argmax(1) == class_labels).double().mean())
