"""HSeM: hierarchical segmentation."""

from __future__ import annotations

from ..backbones import Backbone
from .aligned import SpatialTransformer
from .segmentation import Segmentation


class HSeM(Segmentation):
    """Hierarchical segmentation model: logits at every level, fused; trained with a pyramid loss.

    Args:
        backbone: a backbone whose ``out_channels`` is the number of classes, the background counted.
        fusion: how the levels are fused, ``cat``, ``add`` or ``fft``.
        alignment: as :class:`Segmentation`.
    """

    def __init__(self, backbone: Backbone, fusion: str = "cat", alignment: SpatialTransformer | None = None) -> None:
        super().__init__(backbone, fusion, alignment)
