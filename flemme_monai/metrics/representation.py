"""What features of images are like: close for the same image, spread over the sphere, and alike within a class."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def alignment(first: torch.Tensor, second: torch.Tensor) -> float:
    """The mean squared distance of features of two views, on the unit sphere (Wang and Isola, ICML 2020, alpha = 2).

    Args:
        first, second: features (N, F) of a view of each image and of another.

    Returns:
        0 for equal features, 2 for unrelated ones, at most 4.
    """
    first, second = (F.normalize(x.double(), dim=1) for x in (first, second))
    return float((first - second).square().sum(1).mean())


def uniformity(features: torch.Tensor) -> float:
    """The logarithm of the mean Gaussian potential of pairs on the unit sphere (Wang and Isola, ICML 2020, t = 2).

    Args:
        features: (N, F) of different images, at least two.

    Returns:
        log of the mean over pairs of exp(-2 d^2), where d is a distance: 0 for equal features, about -4 for features
        spread evenly in many dimensions.

    Raises:
        ValueError: If there is one image.
    """
    if len(features) < 2:
        raise ValueError(f"features are of {len(features)} images; expected 2 or more, since pairs are compared.")
    distances = torch.pdist(F.normalize(features.double(), dim=1))  # (N (N - 1) / 2)
    return float(distances.square().mul(-2).exp().mean().log())


def feature_spread(features: torch.Tensor) -> float:
    """The standard deviation of features on the unit sphere, as a share of the largest (Chen and He, CVPR 2021).

    Args:
        features: (N, F) of different images.

    Returns:
        the mean over the F values of their deviation over images, times sqrt(F): 0 where features have collapsed to
        one, about 1 where they are spread evenly.
    """
    unit = F.normalize(features.double(), dim=1)
    return float(unit.std(0, correction=0).mean() * unit.shape[1] ** 0.5)


def neighbour_recall(
    reference: torch.Tensor,
    reference_classes: torch.Tensor,
    queries: torch.Tensor,
    query_classes: torch.Tensor,
    k: int = 20,
) -> float:
    """The share of features whose nearest neighbours have their class (a k-NN probe, Wu et al., CVPR 2018).

    scikit-learn's classifier votes by cosine distance among the ``k`` nearest of the reference.

    Args:
        reference: (N, F).
        reference_classes: (N,).
        queries: (M, F).
        query_classes: (M,).
        k: neighbours, or all of the reference if they are fewer.

    Returns:
        the mean over the classes of the queries of the share that is found, 0 to 1; guessing makes one over their
        number.
    """
    from sklearn.metrics import recall_score
    from sklearn.neighbors import KNeighborsClassifier

    search = KNeighborsClassifier(min(k, len(reference)), metric="cosine", algorithm="brute")
    found = search.fit(reference.numpy(), reference_classes.numpy()).predict(queries.numpy())
    present = query_classes.unique().numpy()
    return float(recall_score(query_classes.numpy(), found, labels=present, average="macro", zero_division=0))
