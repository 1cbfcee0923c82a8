"""A ResNet under a Vision Transformer under a U-Net's decoder: TransUNet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ...blocks import ConditionEmbeddings, InterpolateUp
from ..backbone import Backbone, check_image
from ..conditioning import ConditioningConfig
from ..conv import ConvFamily
from ..encoder_weights import load_encoder_weights
from ..extractors.resnetv2 import ResNetV2
from ..extractors.vit import ViTTrunk
from ..fuses import Cat
from ..stages import StageDecoder, conv_stage
from .unet import SKIPS_PASS_THE_LATENT


class HybridEncoder(nn.Module):
    """A ResNet, whose last feature's positions are the tokens of a Vision Transformer.

    Args:
        resnet: from the image to a feature.
        vit: from that feature to the latent.
        min_latent_positions: positions that the latent needs in training.
    """

    weight_names: ClassVar[tuple[tuple[str, str], ...]] = (
        (r"^(conv|gn)_root/", r"resnet.stages.0.blocks.0.\1."),
        (r"^block(\d)/unit(\d+)/(\w+)/", r"resnet.stages.\1.blocks.\2.\3."),
        (r"^(patch_embed|pos_embed|norm)\.", r"vit.\1."),
        (r"^blocks\.(\d+)\.", r"vit.stages.\1.blocks.0."),
        (r"\.attn\.", ".token_mixer."),
    )

    def __init__(self, resnet: ResNetV2, vit: ViTTrunk, min_latent_positions: int) -> None:
        super().__init__()
        self.spatial_dims, self.in_channels = resnet.spatial_dims, resnet.in_channels
        self.size_divisor, self.latent_channels = list(resnet.size_divisor), vit.latent_channels
        self.min_latent_positions = min_latent_positions
        self.resnet, self.vit = resnet, vit

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) to its latent (B, C, *(S / 16)) and the ResNet's features at strides 2, 4, 8.

        Raises:
            ValueError: If the image does not fit.
        """
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, self.min_latent_positions)
        x, skips = self.resnet(x, conditions)
        latent, _ = self.vit(x, conditions)
        return latent, skips

    def forward_order(self) -> list[list[nn.Module]]:
        """The layers of the ResNet; those of the Vision Transformer."""
        return self.resnet.forward_order() + self.vit.forward_order()

    def converted(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Published tensors of JAX's names in the forms that they have here.

        Args:
            state: tensors by name.
        """
        counted_from_0 = {
            re.sub(r"(?<=/unit)\d+", lambda unit: str(int(unit[0]) - 1), key): value for key, value in state.items()
        }
        return self.vit.converted(counted_from_0)


class TransUNet(Backbone):
    """TransUNet (Chen et al., arXiv 2102.04306, 2021; MedIA 2024), R50-ViT-B/16 with three skips.

    The ResNet pads as the code of its weights does, and its shortcuts' norms have 32 groups as there; the authors' code
    pads by the same number on both sides, and gives those norms a group a channel.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        resnet_channels: width of the ResNet's root.
        units: bottlenecks of the ResNet's three blocks.
        channels: of a token.
        depth: blocks of the Vision Transformer.
        num_heads: its heads.
        decoder_channels: after the latent's 3x3 convolution, then after each step up.
        grid_size: points of the table of positions along each axis.
        norm: of the decoder: ``batch``, ``instance``, ``group``, ``layer`` or None.
        act: of the decoder: any activation MONAI names.
        dropout: probability of dropping an embedded token, an attention weight or an activation.
        encoder_weights: a file of weights of ResNet and Vision Transformer, ``.npz`` by JAX's names; None: none.
        conditioning: its conditions; None: not used.
        checkpointing: recompute the activations of every stage in the backward pass.

    Raises:
        ValueError: If ``decoder_channels`` are not five, or ``units`` not three.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        resnet_channels: int = 64,
        units: Sequence[int] = (3, 4, 9),
        channels: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        decoder_channels: Sequence[int] = (512, 256, 128, 64, 16),
        grid_size: int = 14,
        norm: str | None = "batch",
        act: str | tuple = "relu",
        dropout: float = 0.1,
        encoder_weights: str | None = None,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        if len(decoder_channels) != 5 or len(units) != 3:
            raise ValueError(
                f"decoder_channels has {len(decoder_channels)} numbers and units {len(units)}; expected 5, for the "
                "latent and four steps up, and 3, for the ResNet's blocks."
            )
        resnet = ResNetV2(spatial_dims, in_channels, resnet_channels, units)
        vit = ViTTrunk(
            spatial_dims,
            resnet.latent_channels,
            channels,
            depth,
            num_heads,
            patch_size=1,
            grid_size=grid_size,
            dropout=dropout,
        )
        family = ConvFamily(norm=norm, act=act)
        encoder = HybridEncoder(resnet, vit, family.min_latent_positions)
        load_encoder_weights(encoder, encoder_weights)

        head, *steps = decoder_channels
        skips = [*resnet.feature_channels[-2::-1], 0]  # coarse to fine; none at full size
        decoder = StageDecoder(
            ups=[InterpolateUp(spatial_dims, width, width, [2] * spatial_dims) for width in decoder_channels[:-1]],
            fuses=[Cat() for _ in steps],
            stages=[
                conv_stage(spatial_dims, (before + skip, after, after), norm, act)
                for before, skip, after in zip(decoder_channels, skips, steps)
            ],
            feature_channels=steps,
            output_layer=Conv["conv", spatial_dims](steps[-1], out_channels, 3, padding=1),
            center=conv_stage(spatial_dims, (channels, head), norm, act),
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
