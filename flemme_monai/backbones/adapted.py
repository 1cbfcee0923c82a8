"""Any network as a backbone, where its output is all that is needed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .backbone import Backbone, DecoderOutput, check_image


class WholeImage(nn.Module):
    """An encoder that hands the image on.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        size_divisor: total stride of the network along each axis.
    """

    def __init__(self, spatial_dims: int, in_channels: int, size_divisor: Sequence[int]) -> None:
        super().__init__()
        self.spatial_dims, self.in_channels, self.latent_channels = spatial_dims, in_channels, in_channels
        self.size_divisor = list(size_divisor)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image (B, in_channels, *S) itself, and no features."""
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor)
        skips: list[torch.Tensor] = []
        return x, skips


class WholeNetwork(nn.Module):
    """A decoder that is a network.

    Args:
        network: from an image to an output, or in training to a list or stack of an output and ``num_sides`` others.
        num_sides: side outputs in training.
    """

    def __init__(self, network: nn.Module, num_sides: int) -> None:
        super().__init__()
        self.network, self.num_sides = network, num_sides
        self.feature_channels: list[int] = []

    def forward(self, latent: torch.Tensor, skips: list[torch.Tensor]) -> DecoderOutput:
        """The image (B, in_channels, *S) to the output (B, out_channels, *S) and the side outputs."""
        out = self.network(latent)
        if isinstance(out, torch.Tensor):
            # DynUNet stacks what it supervises: (B, outputs, out_channels, *S)
            outputs = list(out.unbind(1)) if out.dim() > latent.dim() else [out]
        else:
            outputs = [output for output in out]  # noqa: C416, scripting takes no list() of a tuple
        if len(outputs) - 1 != (self.num_sides if self.training else 0):
            raise ValueError(
                f"the network gives {len(outputs)} outputs in {'training' if self.training else 'evaluation'}, and "
                f"num_sides is {self.num_sides}; set num_sides to the outputs in training beside the first, and let "
                "it give one in evaluation."
            )
        return DecoderOutput(outputs[0], [], outputs[1:])


class Adapted(Backbone):
    """Any network from images to images, of MONAI or of your own, as a backbone of SeM and AE.

    Only the output of such a network is known, so what needs its inside is refused: a pyramid, a latent, conditions.
    A network that is to serve all architectures is wrapped in two halves instead (:class:`Backbone`).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the output.
        network: from an image (B, in_channels, *S) to an output (B, out_channels, *S). In training it may give a list,
            a tuple, or a stack (B, outputs, out_channels, *S), of which the first is the output and the others are
            supervised beside it.
        size_divisor: total stride of the network, one number or one per axis; image sizes must be multiples of it.
        num_sides: outputs in training beside the first.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        network: nn.Module,
        size_divisor: int | Sequence[int] = 1,
        num_sides: int = 0,
    ) -> None:
        divisor = [size_divisor] * spatial_dims if isinstance(size_divisor, int) else list(size_divisor)
        if len(divisor) != spatial_dims:
            raise ValueError(f"size_divisor is {size_divisor}; expected a number, or {spatial_dims}, one per axis.")
        reason = f"only the output of {type(network).__name__} is known; wrap its two halves in a Backbone."
        super().__init__(
            WholeImage(spatial_dims, in_channels, divisor),
            WholeNetwork(network, num_sides),
            out_channels,
            family=None,
            refusals=dict.fromkeys(("encode", "decode", "pyramid", "denoise"), reason),
        )

    def input_layers(self) -> list[nn.Module]:
        """The network, whose first convolution sees the image."""
        return [self.decoder]
