"""Generated samples compared with the images they were learned from and with others, as a table of scores."""

from __future__ import annotations

from typing import NamedTuple

import torch

from .classification import class_accuracy
from .distribution import fid, kid, mmd
from .manifold import precision_recall
from .neighbours import Neighbours, nearest_neighbours, standardised

NO_CLASS = -1


class Score(NamedTuple):
    """One score of n samples, what they are compared with, and in which features."""

    metric: str
    value: float
    n: int
    compared_with: str
    features: str


class ImageSet(NamedTuple):
    """A set of images and what a classifier makes of them.

    Attributes:
        images: (N, C, *S).
        classes: (N,), -1 where an image has none.
        features: (N, F); without a classifier the standardised pixels.
        logits: (N, K); (N, 0) without a classifier.
    """

    images: torch.Tensor
    classes: torch.Tensor
    features: torch.Tensor
    logits: torch.Tensor


def compare_samples(
    samples: ImageSet, training: ImageSet, test: ImageSet, classifier: str | None
) -> tuple[list[Score], dict[str, Neighbours]]:
    """Scores of samples, and their nearest training images.

    Args:
        samples: the generated images; their classes are those they were conditioned on.
        training: the images that the generator was trained on.
        test: images that it has not seen.
        classifier: names whose features the sets have; None without one, then only pixels are compared.

    Returns:
        FID, KID, MMD, precision and recall against the test images and the share of samples of the right class, where
        there is a classifier; ratio and copies of the nearest neighbours in pixels and features. And the neighbours by
        the space they were found in, "pixel" and "feature".
    """
    n, against = len(samples.images), f"{len(test.images)} test images"
    both = f"{len(training.images)} training and {against}"
    neighbours = {"pixel": nearest_neighbours(*(standardised(part.images) for part in (samples, training, test)))}
    scores = []
    if classifier is not None:
        neighbours["feature"] = nearest_neighbours(samples.features, training.features, test.features)
        pair = test.features, samples.features
        values = {"fid": fid(*pair), "kid": kid(*pair), "mmd": mmd(*pair), **precision_recall(*pair)._asdict()}
        scores = [Score(metric, value, n, against, classifier) for metric, value in values.items()]
    for space, found in neighbours.items():
        features = "pixels" if classifier is None or space == "pixel" else classifier
        scores.append(Score(f"{space}_distance_ratio", found.ratio, n, both, features))
        scores.append(Score(f"{space}_copies", found.copies, n, both, features))
    conditioned = samples.classes != NO_CLASS
    if conditioned.any() and classifier is not None:
        accuracy = class_accuracy(samples.logits[conditioned], samples.classes[conditioned])
        scores.append(Score("class_accuracy", accuracy, int(conditioned.sum()), "classes asked for", classifier))
    return scores, neighbours
