"""FancyUNet, a densely connected U-Net of a study on the gastrointestinal tract."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer
from torch import nn

from ...blocks import Stage, make_norm
from ...blocks.resampling import InterpolateUp
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import Cat
from ..stages import StageDecoder, pooled_encoder
from .unet import SKIPS_PASS_THE_LATENT


class DenseConvs(nn.Module):
    """Convolutions with activations and one norm after all, whose output is concatenated to the input.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        growth: channels of every convolution.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(self, spatial_dims: int, in_channels: int, growth: int, norm: str | None, act: str | tuple) -> None:
        super().__init__()
        self.layers = activated(spatial_dims, in_channels, growth, (1, 3, 3), norm, act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, C + growth, *s), the new channels last."""
        return torch.cat([x, self.layers(x)], 1)


class LastUp(nn.Module):
    """The last channels of a feature, at twice the resolution.

    Args:
        spatial_dims: 2 or 3.
        channels: how many.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.up = InterpolateUp(spatial_dims, channels, channels, [2] * spatial_dims)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (B, C, *s) to (B, channels, *(2 s))."""
        return self.up(x[:, x.shape[1] - self.channels :])


class FancyUNet(Backbone):
    """FancyUNet: a U-Net whose levels are dense convolutions and pass on only what is new (course project, no paper).

    What a level of the decoder passes on is what came from below and what it adds itself, without the encoder's
    feature. In the original's order of channels the encoder's feature was passed on in place of what came from below;
    here the encoder's feature stands first, which keeps every number of channels. Features are interpolated by
    positions of pixels, not with aligned corners, and images are not resized inside.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: of the stem, and new ones of every dense block.
        depth: how often the resolution is halved.
        blocks: dense blocks of a level.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: int = 48,
        depth: int = 5,
        blocks: int = 2,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        new = blocks * channels

        def dense(before: int) -> list[nn.Module]:
            inputs = range(before, before + new, channels)
            return [DenseConvs(spatial_dims, width, channels, norm, act) for width in inputs]

        def stage(before: int, first: list[nn.Module]) -> Stage:
            after = range(before + channels, before + new + 1, channels)
            return Stage([*first, *dense(before)], [0] * len(first) + list(after))

        stem = activated(spatial_dims, in_channels, channels, (7, 5), norm, act)
        levels = [channels + i * new for i in range(depth + 1)]
        family = ConvFamily(norm=norm, act=act)
        encoder = pooled_encoder(
            spatial_dims,
            in_channels,
            [stage(before, [stem] if i == 0 else []) for i, before in enumerate(levels)],
            levels[-1] + new,
            family.min_latent_positions,
        )
        passed = [new * i for i in range(1, depth + 1)]
        skips = [before + new for before in levels[-2::-1]]  # coarse to fine
        after = [skip + below + new for skip, below in zip(skips, passed)]
        conv = Conv["conv", spatial_dims]
        head = activated(spatial_dims, after[-1], channels, (1, 3), None, act)
        output_layer = nn.Sequential(head, conv(channels, out_channels, 3, padding=1))
        decoder = StageDecoder(
            [LastUp(spatial_dims, below) for below in passed],
            [Cat() for _ in skips],
            [stage(skip + below, []) for skip, below in zip(skips, passed)],
            after,
            output_layer,
        )
        super().__init__(
            encoder,
            decoder,
            out_channels,
            family,
            conditioning,
            refusals={"decode": SKIPS_PASS_THE_LATENT},
            checkpointing=checkpointing,
        )


def activated(
    spatial_dims: int, before: int, channels: int, kernels: tuple[int, ...], norm: str | None, act: str | tuple
) -> nn.Sequential:
    """Convolutions with an activation after each, and a norm after all."""
    conv = Conv["conv", spatial_dims]
    layers: list[nn.Module] = []
    for i, kernel in enumerate(kernels):
        layers += [conv(channels if i else before, channels, kernel, padding=kernel // 2), get_act_layer(act)]
    return nn.Sequential(*layers, *([] if norm is None else [make_norm(norm, spatial_dims, channels)]))
