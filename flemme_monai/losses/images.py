"""Weighted sums of losses between images, of which each term is known for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from monai.losses import SSIMLoss
from torch import nn

from .terms import term_of

IMAGE_LOSSES = ("mse", "l1", "smooth_l1", "ssim")


class ImageLoss(nn.Module):
    """A weighted sum of losses of an image (B, C, *S) and its target.

    Args:
        terms: the losses: ``mse``, ``l1``, ``smooth_l1`` or ``ssim`` (1 - structural similarity; images of at least 11
            pixels along each axis), or ``{"loss": ..., "weight": ...}`` with a name, or a loss, and what it is
            multiplied by (1 by default); beside them stand arguments of a loss that is named.
        spatial_dims: 2 or 3, of ``ssim``.
        data_range: highest less lowest value of the images, of ``ssim``.

    Attributes:
        recorded: of the last call, each term times its weight, by name.

    Raises:
        ValueError: If there is no term, one is none of these, or a weight is not above 0.
    """

    def __init__(
        self, terms: Sequence[str | Mapping[str, Any]] = ("mse",), spatial_dims: int = 2, data_range: float = 1.0
    ) -> None:
        super().__init__()
        known: dict[str, Callable[..., nn.Module]] = {
            "mse": nn.MSELoss,
            "l1": nn.L1Loss,
            "smooth_l1": nn.SmoothL1Loss,
            "ssim": partial(SSIMLoss, spatial_dims=spatial_dims, data_range=data_range),
        }
        entries = [terms] if isinstance(terms, str | Mapping) else list(terms)
        if not entries:
            raise ValueError("the loss has no terms; expected one or more, such as ['l1', 'ssim'].")
        self.losses = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        for entry in entries:
            name, loss, weight = term_of(entry, known)
            if name in self.losses:
                raise ValueError(f"the loss has the term {name!r} twice; expected it once, with both weights' sum.")
            self.losses[name], self.weights[name] = loss, weight
        self.recorded: dict[str, torch.Tensor] = {}

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The sum, one number."""
        input, target = input.as_subclass(torch.Tensor), target.as_subclass(torch.Tensor)  # of a MetaTensor
        terms = {name: self.weights[name] * loss(input, target).mean() for name, loss in self.losses.items()}
        self.recorded = {name: term.detach() for name, term in terms.items()}
        return torch.stack(list(terms.values())).sum()
