"""U-Nets of convolutions and pooling alone: ClassicUNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from monai.networks.layers.factories import Conv, Pool
from torch import nn

from ...blocks import ConvBlock, Stage
from ...blocks.resampling import InterpolateUp, TransposedConv
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import Cat
from ..stages import StageDecoder, StageEncoder

SKIPS_PASS_THE_LATENT = "its skips show the decoder the image past the latent; use an encoder without, such as CNN."


class ClassicUNet(Backbone):
    """U-Net (Ronneberger, Fischer, Brox, MICCAI 2015) with padded convolutions and norms, as it is used today.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of each level, fine to coarse.
        up: ``interpolate`` (linear), or ``conv`` (transposed, as published), which has twice the last width at the
            bottom.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after a convolution.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If ``up`` is another word.
    """

    ups: ClassVar[tuple[str, ...]] = ("interpolate", "conv")

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512),
        up: str = "interpolate",
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.0,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        if up not in self.ups:
            raise ValueError(f"up is {up!r}; expected one of {', '.join(self.ups)}.")

        def double_conv(before: int, middle: int, after: int) -> Stage:
            blocks = [
                ConvBlock(spatial_dims, a, b, norm, act, dropout=dropout)
                for a, b in ((before, middle), (middle, after))
            ]
            return Stage(blocks, [middle, after])

        linear = up == "interpolate"
        levels = [*channels, channels[-1] if linear else 2 * channels[-1]]
        pool = Pool["max", spatial_dims]
        family = ConvFamily(norm=norm, act=act)
        encoder = StageEncoder(
            spatial_dims,
            in_channels,
            downs=[nn.Identity(), *(pool(2) for _ in channels)],
            stages=[double_conv(before, after, after) for before, after in zip([in_channels, *levels], levels)],
            strides=[1, *[2] * len(channels)],
            latent_channels=levels[-1],
            min_latent_positions=family.min_latent_positions,
        )
        skips = list(channels[::-1])  # coarse to fine
        after = [*skips[1:], skips[-1]] if linear else skips
        ups: list[nn.Module] = []
        stages: list[Stage] = []
        before = levels[-1]
        for skip, width in zip(skips, after):
            raised = before if linear else skip
            stride = [2] * spatial_dims
            if linear:
                ups.append(InterpolateUp(spatial_dims, before, before, stride))
            else:
                ups.append(TransposedConv(spatial_dims, before, raised, stride, overlap=False))
            stages.append(double_conv(skip + raised, (skip + raised) // 2, width))
            before = width
        decoder = StageDecoder(
            ups, [Cat() for _ in skips], stages, after, Conv["conv", spatial_dims](before, out_channels, 1)
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
