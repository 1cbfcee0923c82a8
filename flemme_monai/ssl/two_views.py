"""What all contrastive pretraining shares: the features of a backbone's encoder, and their projection."""

from __future__ import annotations

import torch
from torch import nn

from ..architectures.architecture import Architecture
from ..backbones.backbone import Backbone
from .features import LATENT, check_pretrainable, feature_map, freeze_unused, pooled_features


def keep_what_makes(backbone: Backbone, level: int | str, asker: str) -> int:
    """Freeze the parameters of a backbone that have no part in a feature, such as its decoder's.

    They would get no gradient, and what is frozen is not written as pretrained.

    Args:
        backbone: the backbone.
        level: as of :func:`.feature_map`.
        asker: who needs the feature, for messages.

    Returns:
        The channels of the feature.

    Raises:
        ValueError: If the backbone shows no features, takes conditions, or has no such level.
    """
    check_pretrainable(backbone, asker)
    return freeze_unused(backbone, lambda image: feature_map(backbone, image, level)).shape[1]


class ProjectionHead(nn.Sequential):
    """A perceptron from pooled features to the space in which views are compared (Chen et al. 2020).

    Hidden layers are normalised over the batch: pooled features of a network with instance norm are nearly the same
    for all images, and what differs between images would be lost beside what does not.

    Args:
        in_channels: of the features.
        out_channels: of the projection.
        num_hidden: hidden layers, each as wide as the features.
    """

    def __init__(self, in_channels: int, out_channels: int, num_hidden: int = 1) -> None:
        layers: list[nn.Module] = []
        for _ in range(num_hidden):
            layers += [nn.Linear(in_channels, in_channels, bias=False), nn.BatchNorm1d(in_channels), nn.ReLU()]
        super().__init__(*layers, nn.Linear(in_channels, out_channels))


class TwoViews(Architecture):
    """A backbone whose encoder learns to give two views of one image the same features.

    The rest of the backbone is kept, under its names, and does not learn.

    Args:
        backbone: the backbone, with the weights that pretraining begins with.
        level: the feature that is compared, pooled over its positions: ``latent``, or the index of one of the features
            that the encoder keeps, from the finest, 0.
        projection_channels: channels of the projection.
        num_hidden: hidden layers of the projection.

    Raises:
        ValueError: If the backbone shows no features, or has no such level.
    """

    def __init__(
        self,
        backbone: Backbone,
        level: int | str = LATENT,
        projection_channels: int = 128,
        num_hidden: int = 1,
    ) -> None:
        channels = keep_what_makes(backbone, level, type(self).__name__)
        super().__init__(backbone)
        self.backbone: Backbone = backbone
        self.level = level
        self.head = ProjectionHead(channels, projection_channels, num_hidden)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Images (B, in_channels, *S) to pooled features (B, F), not normalised."""
        return pooled_features(self.backbone, image, self.level)

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """Images (B, in_channels, *S) to projections (B, projection_channels) in single precision.

        Raises:
            ValueError: If there is one image in training: it has nothing to differ from.
        """
        if self.training and len(image) < 2:
            raise ValueError(
                f"a batch of 1 image; expected 2 or more for {type(self).__name__}: raise batch_size, or give more "
                "images"
            )
        return self.head(self.features(image)).float()
