"""MultiResUNet: a U-Net of multi-resolution blocks and residual paths."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.layers.factories import Conv

from ...blocks import Stage, TransposedConv
from ...blocks.multires import MultiRes, multires_channels
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import ResPath
from ..stages import StageDecoder, pooled_encoder
from .unet import SKIPS_PASS_THE_LATENT


class MultiResUNet(Backbone):
    """MultiResUNet (Ibtehaz, Rahman, Neural Networks 2020).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        channels: width of the U-Net whose stages the blocks replace, fine to coarse; the last is the latent's.
        alpha: factor of these widths.
        norm: ``batch``, ``instance``, ``layer`` or None; the blocks have few widths that groups divide.
        act: any activation MONAI names.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        alpha: float = 1.67,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        def stage(before: int, width: int) -> Stage:
            block = MultiRes(spatial_dims, before, width, alpha, norm, act)
            return Stage([block], [block.out_channels])

        family, stride = ConvFamily(norm=norm, act=act), [2] * spatial_dims
        after = [sum(multires_channels(width, alpha)) for width in channels]  # channels after the blocks
        encoder = pooled_encoder(
            spatial_dims,
            in_channels,
            [stage(before, width) for before, width in zip([in_channels, *after], channels)],
            after[-1],
            family.min_latent_positions,
        )
        levels = range(len(channels) - 2, -1, -1)
        decoder = StageDecoder(
            [TransposedConv(spatial_dims, after[i + 1], channels[i], stride, overlap=False) for i in levels],
            # one unit more for each level that a skip lies above the lowest
            [ResPath(spatial_dims, after[i], channels[i], len(channels) - 1 - i, norm, act) for i in levels],
            [stage(2 * channels[i], channels[i]) for i in levels],
            [after[i] for i in levels],
            Conv["conv", spatial_dims](after[0], out_channels, 1),
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
