"""What all architectures share."""

from __future__ import annotations

from ..backbones.backbone import ImageEncoder
from ..utils.network_config import ConfiguredModule


class Architecture(ConfiguredModule):
    """What a backbone is for; exporters and checks ask the backbone what its architecture takes.

    Args:
        backbone: whole, or its first half alone.
    """

    def __init__(self, backbone: ImageEncoder) -> None:
        super().__init__()
        self.backbone = backbone
