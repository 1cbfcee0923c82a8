"""HAE: hierarchical auto-encoding and reconstruction."""

from __future__ import annotations

from ..backbones import Backbone
from .reconstruction import Reconstruction


class HAE(Reconstruction):
    """Hierarchical auto-encoder: an image at every level, fused; trained with a pyramid loss.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of the image's channels.
        fusion: how the levels are fused, ``cat``, ``add`` or ``fft``.
        residual: as in :class:`AE`; the input is added to every level, at the level's resolution.

    Raises:
        ValueError: If ``residual`` meets different numbers of input and output channels.
    """

    def __init__(self, backbone: Backbone, fusion: str = "cat", residual: bool = False) -> None:
        super().__init__(backbone, fusion, residual)
