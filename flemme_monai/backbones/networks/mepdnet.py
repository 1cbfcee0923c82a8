"""A slice segmented beside its two neighbours: MEPDNet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv, Pool
from torch import nn

from ...blocks import ConditionEmbeddings, ConvBlock, InterpolateUp, Stage
from ...blocks.layers import groups_of_16
from ...blocks.select import KernelSelection, SelectiveFusion
from ..backbone import Backbone, DecoderOutput, check_image
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily

SLICES = 3


class DoubleConvs:
    """Makes stages of two 3x3 convolutions, whose group norm has groups of 16 channels.

    Args:
        groups: of the convolutions.
        norm: a name of :func:`flemme_monai.blocks.make_norm`.
        act: any activation MONAI names.
    """

    def __init__(self, groups: int, norm: str | None, act: str | tuple) -> None:
        self.groups, self.norm, self.act = groups, norm, act

    def stage(self, before: int, after: int, grouped: bool = True, last_act: bool = True) -> Stage:
        """From (B, before, H, W) to (B, after, H, W)."""
        convs = [
            ConvBlock(
                2,
                channels,
                after,
                groups=self.groups if grouped else 1,
                norm=self.norm,
                act=self.act if last_act or i == 0 else None,
                num_groups=groups_of_16(after, after),
            )
            for i, channels in enumerate((before, after))
        ]
        return Stage(convs, [after, after])


class SlicesEncoder(nn.Module):
    """One encoder for each of three slices -> selective fusion -> beside the middle slice -> two levels down.

    Args:
        in_channels: channels of the three slices.
        channels: width of the three levels of a slice.
        convs: makes the stages.
        norm, act: of the fusion.
        groups: of the convolutions.
        min_latent_positions: positions that the latent needs in training.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        convs: DoubleConvs,
        norm: str | None,
        act: str | tuple,
        groups: int,
        min_latent_positions: int,
    ) -> None:
        super().__init__()
        width = channels[-1]
        self.spatial_dims, self.in_channels, self.latent_channels = 2, in_channels, 4 * width
        self.size_divisor = [16, 16]
        self.min_latent_positions = min_latent_positions
        self.pool = Pool["max", 2](2)
        self.first = convs.stage(in_channels // SLICES, channels[0], grouped=False)
        self.stages = nn.ModuleList([convs.stage(a, b) for a, b in pairwise(channels)])
        self.fuse = SelectiveFusion(2, width, SLICES, norm, act, residual=True)
        compress = ConvBlock(
            2,
            2 * width,
            width,
            kernel_size=1,
            groups=groups,
            norm=norm,
            act=act,
            num_groups=groups_of_16(width, width),
            bias=False,
        )
        self.compress = Stage([compress], [width])
        self.downs = nn.ModuleList([convs.stage(width, 2 * width), convs.stage(2 * width, 4 * width)])

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Three slices (B, in_channels, H, W) to the latent (B, 4 C, H / 16, W / 16) and the features at strides 4, 8.

        Raises:
            ValueError: If the image does not fit.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, self.min_latent_positions)
        slices: list[torch.Tensor] = []
        for one in x.chunk(3, 1):
            one = self.first(one) if conditions is None else self.first(one, conditions)
            for stage in self.stages:
                one = self.pool(one)
                one = stage(one) if conditions is None else stage(one, conditions)
            slices.append(one)
        x = torch.cat([slices[1], self.fuse(slices)], 1)
        x = self.compress(x) if conditions is None else self.compress(x, conditions)
        skips: list[torch.Tensor] = []
        for down in self.downs:
            skips.append(x)
            x = self.pool(x)
            x = down(x) if conditions is None else down(x, conditions)
        return x, skips

    def forward_order(self) -> list[list[nn.Module]]:
        """The levels of a slice, the fusion, the levels below it."""
        return [
            [self.first],
            *([stage] for stage in self.stages),
            [self.fuse, self.compress],
            *([d] for d in self.downs),
        ]


class VLambdaDecoder(nn.Module):
    """Up to the fused slices and on to full size, down to them again, and up to the output (V-Lambda block).

    Args:
        channels: width of the fused slices.
        out_channels: channels of the output.
        convs: makes the stages.
        norm, act: of the selection among kernels at full size.
    """

    def __init__(
        self, channels: int, out_channels: int, convs: DoubleConvs, norm: str | None, act: str | tuple
    ) -> None:
        super().__init__()
        c = channels
        self.feature_channels, self.num_sides = [2 * c, c, c // 2, c // 4], 0
        self.pool = Pool["max", 2](2)
        self.up = InterpolateUp(2, c, c, [2, 2])
        self.v_up1, self.v_up2 = convs.stage(6 * c, 2 * c), convs.stage(3 * c, c)
        self.lambda_up1, self.lambda_up2 = convs.stage(c, c // 2), convs.stage(c // 2, c // 4)
        self.top = Stage([KernelSelection(2, c // 4, norm=norm, act=act)], [c // 4])
        self.lambda_down1 = convs.stage(c // 2 + c // 4, c // 2)
        self.lambda_down2 = convs.stage(c + c // 2, c, last_act=False)
        self.up1, self.up2 = convs.stage(c, c // 2), convs.stage(c // 2, c // 4)
        self.output_layer = Conv["conv", 2](c // 4, out_channels, 1)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        """A latent (B, 4 C, H / 16, W / 16) and the features at strides 4 and 8 to the output."""
        fused = skips[0]
        eighth = torch.cat([skips[1], self.up(latent)], 1)
        eighth = self.v_up1(eighth) if conditions is None else self.v_up1(eighth, conditions)
        x = torch.cat([fused, self.up(eighth)], 1)
        x = self.v_up2(x) if conditions is None else self.v_up2(x, conditions)
        x = self.up(x)
        half = self.lambda_up1(x) if conditions is None else self.lambda_up1(x, conditions)
        x = self.up(half)
        x = self.lambda_up2(x) if conditions is None else self.lambda_up2(x, conditions)
        x = self.top(x) if conditions is None else self.top(x, conditions)
        x = torch.cat([half, self.pool(x)], 1)
        x = self.lambda_down1(x) if conditions is None else self.lambda_down1(x, conditions)
        x = torch.cat([fused, self.pool(x)], 1)
        x = self.lambda_down2(x) if conditions is None else self.lambda_down2(x, conditions)
        quarter = F.relu(x + fused)
        x = self.up(quarter)
        second = self.up1(x) if conditions is None else self.up1(x, conditions)
        x = self.up(second)
        first = self.up2(x) if conditions is None else self.up2(x, conditions)
        sides: list[torch.Tensor] = []
        return DecoderOutput(self.output_layer(first), [eighth, quarter, second, first], sides)

    def forward_order(self) -> list[list[nn.Module]]:
        """The stages."""
        v, lambda_ = [self.v_up1, self.v_up2], [self.lambda_up1, self.lambda_up2, self.top]
        return [[stage] for stage in (*v, *lambda_, self.lambda_down1, self.lambda_down2, self.up1, self.up2)]


class MEPDNet(Backbone):
    """MEPDNet (Shi, Liu, Tao, He, Huo, ICIP 2021), after its authors' code: the paper's text is not open.

    Args:
        spatial_dims: 2.
        in_channels: channels of three neighbouring slices, one slice after another; the middle one is segmented.
        out_channels: channels of the output.
        channels: width of the three levels of a slice.
        groups: of the 3x3 convolutions but the first two.
        norm: ``batch``, ``instance``, ``group``, ``layer`` or None; group norms have groups of 16 channels.
        act: any activation MONAI names.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If it is asked for in 3D, or the channels are not those of three slices.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256),
        groups: int = 8,
        norm: str | None = "group",
        act: str | tuple = "relu",
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        if spatial_dims != 2:
            raise ValueError(
                f"spatial_dims is {spatial_dims}; expected 2: MEPDNet segments a slice beside its two neighbours, "
                "which are its third dimension."
            )
        if in_channels % SLICES:
            raise ValueError(
                f"in_channels is {in_channels}; expected a multiple of 3: MEPDNet takes the channels of three "
                "neighbouring slices, one slice after another."
            )
        convs = DoubleConvs(groups, norm, act)
        family = ConvFamily(norm=norm, act=act, num_groups=groups_of_16(channels[-1] // 4, channels[-1]))
        super().__init__(
            SlicesEncoder(in_channels, channels, convs, norm, act, groups, family.min_latent_positions),
            VLambdaDecoder(channels[-1], out_channels, convs, norm, act),
            out_channels,
            family,
            conditioning,
            refusals={
                "decode": "its decoder sees the fused slices past the latent.",
                "denoise": "it takes three slices and gives one.",
            },
            checkpointing=checkpointing,
        )
