"""What all architectures share."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from ..backbones.backbone import ImageEncoder
from ..utils.network_config import ConfiguredModule


class Architecture(ConfiguredModule):
    """What a backbone is for; exporters and checks ask the backbone what its architecture takes.

    Args:
        backbone: whole, or its first half alone.

    Attributes:
        data_statistics: names of buffers that training computes from its data before it begins.
    """

    data_statistics: ClassVar[tuple[str, ...]] = ()

    def __init__(self, backbone: ImageEncoder) -> None:
        super().__init__()
        self.backbone = backbone

    def input_layers(self) -> list[nn.Module]:
        """The modules whose first convolution sees an image."""
        return self.backbone.input_layers()

    def output_layers(self) -> list[nn.Module]:
        """The modules whose shapes follow the number of output channels or classes."""
        return self.backbone.output_layers()
