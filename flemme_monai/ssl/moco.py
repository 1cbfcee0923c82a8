"""MoCo: contrastive learning with a bank of negatives."""

from __future__ import annotations

import copy

import torch
from torch.nn import functional as F

from ..backbones.backbone import Backbone
from .features import LATENT, pooled_features
from .negatives import allowed_negatives
from .two_views import TwoViews

UNKNOWN = -1  # the case of an entry of the bank that is of no image


class MoCo(TwoViews):
    """Momentum contrast, version 2 (He et al., CVPR 2020; Chen et al., arXiv 2003.04297).

    A query, the projection of one view, is to find its key, the other view's, among the keys of earlier batches. Keys
    come from a second encoder, whose weights follow the first one's slowly, so that keys of several batches compare.
    No gradient goes into keys. The second encoder normalises by running statistics that it averages too (Cai et al.,
    CVPR 2021): those of a batch would let a query recognise the batch that its key was in.

    Images of small sets come back before the bank has forgotten them, and slices beside each other look alike: keys of
    a case are no negatives of its slices that are at most ``negative_distance`` apart.

    Args:
        backbone, level, projection_channels: as of :class:`TwoViews`.
        temperature: divides the similarities.
        bank_size: keys that are kept.
        momentum: share of the second encoder's weights that stays at a step; less at the first steps, t / (t + 1).
        negative_distance: slices of a case that are at most as many apart are not each other's negatives; 0: a slice
            (an image, a volume) and itself alone, see :func:`.allowed_negatives`.

    Raises:
        ValueError: If a setting is out of range, or the backbone has no such level.
    """

    bank: torch.Tensor
    bank_cases: torch.Tensor
    bank_positions: torch.Tensor
    bank_next: torch.Tensor
    steps: torch.Tensor

    def __init__(
        self,
        backbone: Backbone,
        level: int | str = LATENT,
        temperature: float = 0.2,
        bank_size: int = 1024,
        momentum: float = 0.99,
        negative_distance: int = 4,
        projection_channels: int = 128,
    ) -> None:
        if temperature <= 0 or bank_size < 1 or not 0 <= momentum < 1 or negative_distance < 0:
            raise ValueError(
                f"temperature, bank_size, momentum and negative_distance are {temperature}, {bank_size}, {momentum}, "
                f"{negative_distance}; expected above 0, from 1, from 0 to below 1, and from 0"
            )
        super().__init__(backbone, level, projection_channels)
        self.temperature, self.momentum, self.negative_distance = temperature, momentum, negative_distance
        self.key_encoder = copy.deepcopy(backbone.without_decoder()).requires_grad_(False)
        self.key_head = copy.deepcopy(self.head).requires_grad_(False)
        self.register_buffer("bank", F.normalize(torch.randn(bank_size, projection_channels)))
        self.register_buffer("bank_cases", torch.full((bank_size,), UNKNOWN))
        self.register_buffer("bank_positions", torch.zeros(bank_size, dtype=torch.long))
        self.register_buffer("bank_next", torch.zeros((), dtype=torch.long))  # the oldest entry
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def train(self, mode: bool = True) -> MoCo:
        """The second encoder never learns, drops or updates statistics itself."""
        super().train(mode)
        self.key_encoder.eval()
        self.key_head.eval()
        return self

    def forward(
        self,
        image: torch.Tensor,
        view: torch.Tensor,
        case: torch.Tensor | None = None,
        position: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Two views (B, in_channels, *S) of the same images to logits (B, 1 + bank_size), the other view's first.

        Args:
            image, view: the views.
            case: (B,), a number from 0 of each image's case; None: not known, all of the bank are negatives.
            position: (B,), the index of the slice; None: 0.
        """
        queries = F.normalize(self.project(image))
        with torch.no_grad():
            if self.training:
                self.follow()
            keys = F.normalize(self.key_head(pooled_features(self.key_encoder, view, self.level)).float())
        case = torch.full_like(self.bank_cases[:1], UNKNOWN).expand(len(keys)) if case is None else case
        position = torch.zeros_like(case) if position is None else position
        allowed = allowed_negatives(case, position, self.negative_distance, self.bank_cases, self.bank_positions)
        allowed |= self.bank_cases == UNKNOWN  # (B, K)
        positive = (queries * keys).sum(1, keepdim=True)  # (B, 1)
        negative = queries @ self.bank.clone().T  # (B, K)
        if self.training:
            self.remember(keys, case, position)
        return torch.cat([positive, negative.masked_fill(~allowed, -torch.inf)], 1) / self.temperature

    @torch.no_grad()
    def follow(self) -> None:
        """Move the second encoder and its head towards the first."""
        steps = int(self.steps)
        stays = min(self.momentum, steps / (steps + 1))
        for follower, leader in (self.key_encoder, self.backbone.without_decoder()), (self.key_head, self.head):
            for own, new in zip(follower.state_dict().values(), leader.state_dict().values(), strict=True):
                if own.is_floating_point():
                    own.lerp_(new, 1 - stays)
                else:
                    own.copy_(new)
        self.steps.add_(1)

    @torch.no_grad()
    def remember(self, keys: torch.Tensor, case: torch.Tensor, position: torch.Tensor) -> None:
        """Put keys (B, projection_channels) in the places of the oldest; of a batch above ``bank_size`` the last."""
        size = len(self.bank)
        keys, case, position = keys[-size:], case[-size:], position[-size:]
        places = (self.bank_next + torch.arange(len(keys), device=keys.device)) % size
        self.bank[places], self.bank_cases[places], self.bank_positions[places] = keys, case, position
        self.bank_next.add_(len(keys)).remainder_(size)
