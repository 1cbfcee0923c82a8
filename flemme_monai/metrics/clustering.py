"""How well the latents of images fall into clusters that are their classes."""

from __future__ import annotations

import numpy as np
import torch


def cluster_scores(latents: torch.Tensor, classes: torch.Tensor, seed: int = 0) -> dict[str, float]:
    """Scores of k-means with as many clusters as there are classes, by scikit-learn.

    Args:
        latents: (N, F).
        classes: (N,), all known.
        seed: of the first centres.

    Returns:
        ``rand``, ``adjusted_rand``, ``mutual_information`` (in nats), ``normalized_`` and
        ``adjusted_mutual_information``, and ``accuracy``: the share of images in the cluster that is matched with their
        class, over the best of all matchings.

    Raises:
        ValueError: If there are fewer than two classes.
    """
    from sklearn import metrics
    from sklearn.cluster import KMeans

    truth = classes.numpy()
    count = len(np.unique(truth))
    if count < 2:
        raise ValueError(f"the images have {count} class; expected two or more, to compare clusters with")
    found = KMeans(count, n_init=10, random_state=seed).fit_predict(latents.double().numpy())
    return {
        "rand": float(metrics.rand_score(truth, found)),
        "adjusted_rand": float(metrics.adjusted_rand_score(truth, found)),
        "mutual_information": float(metrics.mutual_info_score(truth, found)),
        "normalized_mutual_information": float(metrics.normalized_mutual_info_score(truth, found)),
        "adjusted_mutual_information": float(metrics.adjusted_mutual_info_score(truth, found)),
        "accuracy": _matched(truth, found),
    }


def _matched(truth: np.ndarray, found: np.ndarray) -> float:
    """The share of images whose cluster is matched with their class."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    table = contingency_matrix(truth, found)  # (classes, clusters)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(truth))
