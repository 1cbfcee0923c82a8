"""Whether generated images are copies of training images."""

from __future__ import annotations

from typing import NamedTuple

import torch

CLOSEST = 0.01


class Neighbours(NamedTuple):
    """The nearest training image of each generated one, and what that says of copying.

    Attributes:
        distances: (M,) from each generated image to its nearest training image.
        indices: (M,) of that training image.
        ratio: median of ``distances`` divided by the median distance of the test images to their nearest training
            images; about 1 for images as new as unseen ones, well below 1 for copies.
        copies: share of the generated images that are at most as far from the training set as the nearest 1% of the
            test images (quantile 0.01); about 0.01 for images as new as unseen ones.
    """

    distances: torch.Tensor
    indices: torch.Tensor
    ratio: float
    copies: float


def nearest_neighbours(generated: torch.Tensor, training: torch.Tensor, test: torch.Tensor) -> Neighbours:
    """Distances of generated images to the training set, compared with those of real images that were not trained on.

    Args:
        generated: (M, D), for example from ``standardised`` or features of a classifier.
        training: (N, D), the images that the generator was trained on.
        test: (L, D), real images of the same kind that it was not trained on; below 100 the nearest 1% is little more
            than the nearest one.

    Returns:
        The neighbours and both numbers; the ratio is NaN where generated and test images all repeat training images.

    Raises:
        ValueError: If a set is empty or they are no matrices of one width.
    """
    shapes = {"generated": generated.shape, "training": training.shape, "test": test.shape}
    if any(len(shape) != 2 or 0 in shape for shape in shapes.values()) or len({s[1] for s in shapes.values()}) > 1:
        found = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        raise ValueError(f"images are {found}; expected vectors (N, D) of one length")
    distances, indices = _nearest(generated, training)
    unseen, _ = _nearest(test, training)
    ratio = distances.median() / unseen.median()
    copies = (distances <= unseen.quantile(CLOSEST)).double().mean()
    return Neighbours(distances, indices, float(ratio), float(copies))


def standardised(images: torch.Tensor) -> torch.Tensor:
    """Images as vectors of mean 0 and length 1, so that brightness and contrast do not hide a copy.

    The distance of two of them is ``sqrt(2 - 2 r)``, where r is the correlation of their pixels.

    Args:
        images: (N, C, *S).

    Returns:
        Vectors (N, D); zeros for an image of one value.
    """
    flat = images.flatten(1).float()
    flat = flat - flat.mean(1, keepdim=True)
    return torch.nn.functional.normalize(flat)


def _nearest(query: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance to the nearest row of ``reference`` (N, D) for each row of ``query`` (M, D), and that row's index."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(reference.numpy())
    indices = torch.from_numpy(search.kneighbors(query.numpy(), return_distance=False)[:, 0])
    # again without scikit-learn's matrix product, which gives equal rows a distance of about 1e-8
    return (query.double() - reference[indices].double()).norm(dim=1), indices
