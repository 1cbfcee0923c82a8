"""Pretraining by views that are compared within a batch: SimCLR and Barlow Twins."""

from __future__ import annotations

import torch
from monai.losses.barlow_twins import BarlowTwinsLoss as MonaiBarlowTwinsLoss
from torch.nn import functional as F

from ..backbones.backbone import Backbone
from .features import LATENT
from .negatives import allowed_negatives
from .two_views import TwoViews


class SimCLR(TwoViews):
    """Contrastive learning with the other images of a batch as negatives (Chen et al., ICML 2020).

    With :class:`.InfoNCE` its loss is MONAI's ``ContrastiveLoss``, which takes no mask of what is no negative, and
    holds all pairs of projections in memory at once.

    Args:
        backbone, level, projection_channels: as of :class:`TwoViews`.
        temperature: divides the similarities.
        negative_distance: as of :class:`.MoCo`.

    Raises:
        ValueError: If a setting is out of range, or the backbone has no such level.
    """

    def __init__(
        self,
        backbone: Backbone,
        level: int | str = LATENT,
        temperature: float = 0.2,
        negative_distance: int = 4,
        projection_channels: int = 128,
    ) -> None:
        if temperature <= 0 or negative_distance < 0:
            raise ValueError(
                f"temperature and negative_distance are {temperature}, {negative_distance}; expected above 0, and from "
                "0"
            )
        super().__init__(backbone, level, projection_channels)
        self.temperature, self.negative_distance = temperature, negative_distance

    def forward(
        self,
        image: torch.Tensor,
        view: torch.Tensor,
        case: torch.Tensor | None = None,
        position: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Two views (B, in_channels, *S) of the same images to logits (B, 2, 1 + 2 B), of each view the other's first.

        Args:
            image, view: the views.
            case: (B,), a number of each image's case; None: each is another.
            position: (B,), the index of the slice; None: 0.
        """
        batch = len(image)
        projections = F.normalize(torch.cat([self.project(image), self.project(view)]))  # (2 B, F)
        similarities = projections @ projections.T
        case = torch.arange(batch, device=image.device) if case is None else case
        position = torch.zeros_like(case) if position is None else position
        allowed = allowed_negatives(case, position, self.negative_distance)  # (B, B), never of an image itself
        negatives = similarities.masked_fill(~allowed.repeat(2, 2), -torch.inf)
        positives = similarities.diagonal(batch).repeat(2)[:, None]  # the same from either side
        logits = torch.cat([positives, negatives], 1) / self.temperature  # (2 B, 1 + 2 B)
        return logits.unflatten(0, (2, batch)).movedim(0, 1)


class BarlowTwins(TwoViews):
    """Views whose features agree and do not repeat each other (Zbontar et al., ICML 2021); no negatives.

    Args:
        backbone, level, projection_channels: as of :class:`TwoViews`.

    Raises:
        ValueError: If the backbone has no such level.
    """

    def __init__(self, backbone: Backbone, level: int | str = LATENT, projection_channels: int = 128) -> None:
        super().__init__(backbone, level, projection_channels, num_hidden=2)

    def forward(
        self,
        image: torch.Tensor,
        view: torch.Tensor,
        case: torch.Tensor | None = None,
        position: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Two views (B, in_channels, *S) of the same images to their projections (B, 2, projection_channels).

        Args:
            image, view: the views.
            case, position: what the other methods take; not read, since there are no negatives.
        """
        return torch.stack([self.project(image), self.project(view)], 1)


class BarlowTwinsLoss(MonaiBarlowTwinsLoss):
    """MONAI's loss of Barlow Twins, of both projections in one tensor.

    Args:
        lambd: weight of the redundancy.
    """

    def forward(self, projections: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
        """Projections (B, 2, F) to the sum over the F x F cross-correlations.

        Args:
            projections: of both views.
            target: what engines give to every loss; not read.
        """
        return super().forward(projections[:, 0], projections[:, 1])
