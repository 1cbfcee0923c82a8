"""What a backbone gives. No postponed annotations here, which TorchScript could not read in a named tuple."""

from typing import NamedTuple

import torch


class BackboneOutput(NamedTuple):
    """What a backbone gives to an architecture.

    Attributes:
        output: the image (B, out_channels, *S).
        features: the decoder stages' features (B, C_i, *s_i) from coarse to fine.
        latent: the feature (B, C, *s) between encoder and decoder.
        time, context: what the stages were told, embedded (B, E, *s); None where there is nothing to tell.
    """

    output: torch.Tensor
    features: list[torch.Tensor]
    latent: torch.Tensor
    time: torch.Tensor | None
    context: torch.Tensor | None
