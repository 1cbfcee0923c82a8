"""MONAI's SegResNet in two halves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from monai.networks.nets import SegResNet as MonaiSegResNet
from torch import nn

from ...blocks import Stage
from ...blocks.resampling import InterpolateUp
from ..backbone import Backbone
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..fuses import Add
from ..stages import StageDecoder, StageEncoder
from .unet import SKIPS_PASS_THE_LATENT


class SegResNet(Backbone):
    """MONAI's SegResNet (Myronenko, 3D MRI brain tumor segmentation using autoencoder regularization, BrainLes 2018),
    without that paper's variational autoencoder.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        init_filters: width of the first stage, which doubles from stage to stage.
        blocks_down: residual blocks in each stage of the encoder, fine to coarse.
        blocks_up: those of the decoder, coarse to fine: one stage fewer.
        norm: ``group``, ``batch`` or ``instance``.
        num_groups: groups of a group norm.
        act: any activation MONAI names.
        dropout: probability that a channel is dropped after the first convolution.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If the norm is another, or the numbers of stages do not fit each other.
    """

    norms: ClassVar[tuple[str, ...]] = ("group", "batch", "instance")

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        init_filters: int = 8,
        blocks_down: Sequence[int] = (1, 2, 2, 4),
        blocks_up: Sequence[int] = (1, 1, 1),
        norm: str = "group",
        num_groups: int = 8,
        act: str | tuple = "relu",
        dropout: float = 0.0,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        if norm not in self.norms:
            raise ValueError(f"norm is {norm!r}; expected one of {', '.join(self.norms)}.")
        if len(blocks_up) != len(blocks_down) - 1:
            raise ValueError(
                f"blocks_up is {list(blocks_up)}; expected {len(blocks_down) - 1} entries, one fewer than blocks_down."
            )
        options: dict[str, Any] = {"num_groups": num_groups} if norm == "group" else {"affine": True}
        network = MonaiSegResNet(
            spatial_dims,
            init_filters,
            in_channels,
            out_channels,
            dropout or None,
            act,
            (norm, options),
            blocks_down=tuple(blocks_down),
            blocks_up=tuple(blocks_up),
        )
        levels = [init_filters * 2**i for i in range(len(blocks_down))]
        stem = [network.convInit, network.dropout] if dropout else [network.convInit]
        family = ConvFamily(norm=norm, act=act, num_groups=num_groups)
        encoder = StageEncoder(
            spatial_dims,
            in_channels,
            downs=[nn.Sequential(*stem), *(layers[0] for layers in network.down_layers[1:])],
            stages=[Stage([*layers[1:]], [c] * (len(layers) - 1)) for layers, c in zip(network.down_layers, levels)],
            strides=[1] + [2] * (len(levels) - 1),
            latent_channels=levels[-1],
            min_latent_positions=family.min_latent_positions,
        )
        skips = levels[-2::-1]  # coarse to fine
        decoder = StageDecoder(
            ups=[
                nn.Sequential(layers[0], InterpolateUp(spatial_dims, c, c, [2] * spatial_dims))
                for layers, c in zip(network.up_samples, skips)
            ],
            fuses=[Add() for _ in skips],
            stages=[Stage([*layers], [c] * len(layers)) for layers, c in zip(network.up_layers, skips)],
            feature_channels=skips,
            output_layer=network.conv_final,
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
