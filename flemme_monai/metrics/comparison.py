"""Generated samples compared with the images they were learned from and with others, as a table of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from .classification import class_accuracy, classifier_outputs
from .distribution import fid, kid, mmd
from .manifold import density_coverage, one_neighbour_accuracy, precision_recall
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


def image_set(
    items: Sequence[tuple[torch.Tensor, int | None]],
    kind: str,
    classifier: torch.nn.Module | None,
    batch_size: int = 64,
) -> ImageSet:
    """A set of images of one size.

    Args:
        items: images (C, *S) and their classes, None where an image has none.
        kind: what they are called.
        classifier: see :func:`classifier_outputs`; None for none.
        batch_size: images that it sees at a time.

    Raises:
        ValueError: If there are no images, or they are of several sizes.
    """
    if not items:
        raise ValueError(f"there are no {kind} images to compare samples with")
    shapes = sorted({tuple(image.shape) for image, _ in items})
    if len(shapes) > 1:
        raise ValueError(
            f"{kind} images are {shapes[0]}, {shapes[1]}, ...; expected one size: bring them to the samples' size"
        )
    images = torch.stack([image for image, _ in items])
    classes = torch.tensor([NO_CLASS if c is None else int(c) for _, c in items])
    if classifier is None:
        return ImageSet(images, classes, standardised(images), torch.empty(len(images), 0))
    return ImageSet(images, classes, *classifier_outputs(classifier, images, batch_size))


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
        FID (and its floor: that of as many training images, from all over their list), KID, MMD, precision, recall,
        density, coverage and 1-NN accuracy against the test images and the share of samples of the right class, where
        there is a classifier; ratio and copies of the nearest neighbours in pixels and features. And the neighbours by
        the space they were found in, "pixel" and "feature".

    Raises:
        ValueError: If the sets are of several sizes.
    """
    if not samples.images.shape[1:] == test.images.shape[1:] == training.images.shape[1:]:
        sizes = [tuple(part.images.shape[1:]) for part in (samples, test, training)]
        raise ValueError(
            f"samples are {sizes[0]}, test images {sizes[1]} and training images {sizes[2]}; expected "
            "equal channels and sizes"
        )
    n, against = len(samples.images), f"{len(test.images)} test images"
    both = f"{len(training.images)} training and {against}"
    neighbours = {"pixel": nearest_neighbours(*(standardised(part.images) for part in (samples, training, test)))}
    scores = []
    if classifier is not None:
        neighbours["feature"] = nearest_neighbours(samples.features, training.features, test.features)
        pair = test.features, samples.features
        values = {"fid": fid(*pair), "kid": kid(*pair), "mmd": mmd(*pair), **precision_recall(*pair)._asdict()}
        values |= {**density_coverage(*pair)._asdict(), "one_nn_accuracy": one_neighbour_accuracy(*pair)}
        scores = [Score(metric, value, n, against, classifier) for metric, value in values.items()]
        some = torch.linspace(0, len(training.images) - 1, min(n, len(training.images))).round().long()
        floor = fid(test.features, training.features[some])
        scores.insert(1, Score("fid_floor", floor, len(some), against, classifier))
    for space, found in neighbours.items():
        features = "pixels" if classifier is None or space == "pixel" else classifier
        scores.append(Score(f"{space}_distance_ratio", found.ratio, n, both, features))
        scores.append(Score(f"{space}_copies", found.copies, n, both, features))
    conditioned = samples.classes != NO_CLASS
    if conditioned.any() and classifier is not None:
        accuracy = class_accuracy(samples.logits[conditioned], samples.classes[conditioned])
        scores.append(Score("class_accuracy", accuracy, int(conditioned.sum()), "classes asked for", classifier))
    return scores, neighbours
