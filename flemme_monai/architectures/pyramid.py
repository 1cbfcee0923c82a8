"""A backbone's output as a prediction, and the pyramid of hierarchical networks, which predict at every level."""

from __future__ import annotations

from typing import ClassVar

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ..backbones import Backbone, BackboneOutput
from ..blocks import ConditionEmbeddings, FourierFusion, PositionEmbedding, linear_resize
from .architecture import Architecture

FUSIONS = ("cat", "add", "fft")
MAX_CHANNELS = 256


class PyramidLevel(nn.Module):
    """A residual block of the backbone's family and a 1x1 projection: a prediction at a feature's resolution.

    Args:
        backbone: the backbone that makes the block.
        channels: channels of the feature; above 256 a 1x1 convolution reduces them first, since a block's weights grow
            with their square.
        level: of the feature, counted from the finest decoder stage (0) to the latent.
    """

    def __init__(self, backbone: Backbone, channels: int, level: int) -> None:
        super().__init__()
        conv, width = Conv["conv", backbone.spatial_dims], min(channels, MAX_CHANNELS)
        self.reduction = None if channels == width else conv(channels, width, 1)
        self.block = backbone.pyramid_block(width, level)
        self.head = conv(width, backbone.out_channels, 1)

    def forward(self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None) -> torch.Tensor:
        """A feature (B, C, *s) to a prediction (B, out_channels, *s)."""
        if self.reduction is not None:
            x = self.reduction(x)
        return self.head(self.block(x) if conditions is None else self.block(x, conditions))


class Pyramid(nn.Module):
    """Predictions at the latent and at every decoder stage, and their fusion with the backbone's own output.

    All levels and the output are resized to full size, given a position embedding, fused and projected.

    Args:
        backbone: the backbone whose features come in.
        fusion: ``cat``, ``add`` or ``fft``, a sum whose weights are learned for each level and band of frequency.

    Attributes:
        num_levels: the latent and the decoder's stages.

    Raises:
        ValueError: If the fusion is another, or the backbone has no features.
    """

    def __init__(self, backbone: Backbone, fusion: str = "cat") -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion is {fusion!r}; expected one of {', '.join(FUSIONS)}.")
        backbone.require("pyramid", "a hierarchical architecture")
        dims, out_channels = backbone.spatial_dims, backbone.out_channels
        channels = [backbone.latent_channels, *backbone.feature_channels]
        self.num_levels = len(channels)
        self.cat = fusion == "cat"
        self.levels = nn.ModuleList([PyramidLevel(backbone, c, len(channels) - 1 - i) for i, c in enumerate(channels)])
        self.positions = nn.ModuleList([PositionEmbedding(dims, out_channels) for _ in range(len(channels) + 1)])
        fused = out_channels * (len(channels) + 1) if self.cat else out_channels
        self.spectrum = FourierFusion(dims, len(channels) + 1) if fusion == "fft" else None
        self.fuse = Conv["conv", dims](fused, out_channels, 1)

    def forward(self, out: BackboneOutput) -> list[torch.Tensor]:
        """The output of the backbone to ``[final, level_0, ...]``: the final prediction (B, C, *S) and the levels
        (B, C, *s_i), coarse to fine."""
        inputs = [out.latent] + out.features
        levels: list[torch.Tensor] = []
        for i, level in enumerate(self.levels):
            feature = inputs[i]
            levels.append(level(feature) if out.conditions is None else level(feature, out.conditions))
        size = out.output.shape[2:]
        maps: list[torch.Tensor] = []
        for i, position in enumerate(self.positions):
            prediction = out.output if i == len(levels) else levels[i]
            if prediction.shape[2:] != size:
                prediction = linear_resize(prediction, list(size))
            maps.append(position(prediction))
        if self.cat:
            fused = torch.cat(maps, dim=1)
        elif self.spectrum is not None:
            fused = self.spectrum(maps)
        else:
            fused = maps[0]
            for prediction in maps[1:]:
                fused = fused + prediction
        return [self.fuse(fused)] + levels


class Predictor(Architecture):
    """A backbone, plain or hierarchical.

    Args:
        backbone: makes the features and the output.
        fusion: None, or ``cat``, ``add`` or ``fft`` for a hierarchical network, which predicts at the latent and at
            every decoder stage too and fuses these (:class:`Pyramid`).

    Attributes:
        supervises_sides: whether the backbone's side outputs have a loss.
        num_levels: predictions in training beside the final one.

    Raises:
        ValueError: If the backbone has side outputs that have no loss.
    """

    supervises_sides: ClassVar[bool] = False

    def __init__(self, backbone: Backbone, fusion: str | None = None) -> None:
        if not self.supervises_sides:
            backbone.require_no_sides(type(self).__name__)
        super().__init__(backbone)
        self.backbone: Backbone
        self.pyramid = None if fusion is None else Pyramid(backbone, fusion)
        self.num_levels: int = 0 if self.pyramid is None else self.pyramid.num_levels

    def output_layers(self) -> list[nn.Module]:
        """The backbone's, and the pyramid's projections, position embeddings and fusion."""
        own = super().output_layers()
        if self.pyramid is None:
            return own
        return [*own, *(level.head for level in self.pyramid.levels), self.pyramid.positions, self.pyramid.fuse]

    def predict(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """The final prediction (B, C, *S); in training also those of the levels (B, C, *s_i), coarse to fine."""
        out = self.backbone(x, timesteps, context)
        if self.pyramid is None:
            return [out.output]
        predictions = self.pyramid(out)
        return predictions if self.training else predictions[:1]

    @torch.jit.unused
    def level_predictions(
        self, x: torch.Tensor, timesteps: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """The predictions of the levels (B, C, *s_i) of an image, coarse to fine, in evaluation too; none without."""
        return [] if self.pyramid is None else self.pyramid(self.backbone(x, timesteps, context))[1:]

    def for_loss(self, predictions: list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """``[final, level_0, ...]`` in training where there are levels, else the final prediction."""
        if self.training and self.num_levels > 0 and not torch.jit.is_scripting():
            return predictions
        return predictions[0]
