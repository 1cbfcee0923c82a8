"""What the architectures of segmentation share: logits in the image's own frame."""

from __future__ import annotations

import torch

from ..backbones import Backbone
from .aligned import SpatialTransformer
from .pyramid import Predictor


class Segmentation(Predictor):
    """A backbone, plain or hierarchical, that may see the image through a spatial transformer.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of classes, the background counted.
        fusion: as :class:`Predictor`.
        alignment: warps the image before the backbone and every prediction back behind it, at the prediction's own
            resolution; None: not used.

    Raises:
        ValueError: If the alignment is of images with other axes or channels, or an image is the backbone's context,
            which would not be warped.
    """

    def __init__(
        self, backbone: Backbone, fusion: str | None = None, alignment: SpatialTransformer | None = None
    ) -> None:
        super().__init__(backbone, fusion)
        self.alignment = alignment
        if alignment is None:
            return
        own, its = ((of.spatial_dims, of.in_channels) for of in (backbone, alignment))
        if own != its:
            raise ValueError(
                f"alignment has spatial_dims {its[0]} and in_channels {its[1]}; expected the backbone's, {own[0]} and "
                f"{own[1]}: give both the same."
            )
        if backbone.conditioning is not None and backbone.conditioning.context == "image":
            raise ValueError(
                "alignment warps the image alone and the backbone's context is an image; expected none or another "
                "context: leave one of the two out."
            )

    def input_layers(self) -> list[torch.nn.Module]:
        """The backbone's, and the network that aligns."""
        own = super().input_layers()
        return own if self.alignment is None else [*own, self.alignment]

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Image (B, in_channels, *S) to logits (B, num_classes, *S).

        In training ``[logits, ...]`` with the predictions of levels or side outputs, where there are any, and as the
        last the parameters (B, P) of the alignment, where there is one.
        """
        if self.alignment is None:
            return self.for_loss(self.predict(x, timesteps, context))
        size = list(x.shape[2:])
        parameters = self.alignment(x)
        predictions = self.predict(self.alignment.warp(x, parameters), timesteps, context)
        aligned = [self.alignment.warp_back(prediction, parameters, size) for prediction in predictions]
        if self.training and not torch.jit.is_scripting():
            return aligned + [parameters]
        return aligned[0]
