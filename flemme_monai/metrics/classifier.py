"""What a trained classifier says of images."""

from __future__ import annotations

import torch
from monai.networks.utils import eval_mode


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
    """Share of the samples whose asked class the classifier names.

    Args:
        logits: (N, K) of the samples.
        class_labels: the classes asked for (N,), 0 to K - 1.

    Returns:
        The share, 0 to 1.

    Raises:
        ValueError: there are not as many labels as samples, or one is no class of the classifier.
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
