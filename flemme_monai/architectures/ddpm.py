"""DDPM: generation by denoising diffusion; and denoisers under an image (SDM, DSeM), which may be EDM's too."""

from __future__ import annotations

from ..backbones import Backbone
from .denoiser import Denoiser


class DDPM(Denoiser):
    """Denoising diffusion probabilistic model (Ho et al. 2020): predicts noise, velocity or image from a noisy image.

    What it predicts is what it is trained on; sampling by DDPM, DDIM or PNDM is the scheduler's.

    Args:
        backbone, fusion: as :class:`Denoiser`.
    """

    def __init__(self, backbone: Backbone, fusion: str | None = None) -> None:
        super().__init__(backbone, fusion)


class SDM(Denoiser):
    """Supervised diffusion model: generates the full image under a degraded one (Saharia et al. 2022).

    Args:
        backbone: takes an image as context.
        fusion, sigma_data: as :class:`Denoiser`.

    Raises:
        ValueError: If the backbone takes none.
    """

    def __init__(self, backbone: Backbone, fusion: str | None = None, sigma_data: float | None = None) -> None:
        super().__init__(backbone, fusion, sigma_data)
        if backbone.conditioning is None or backbone.conditioning.context != "image":
            raise ValueError(
                f"{type(self).__name__} needs a backbone under an image: set conditioning#context to 'image'."
            )


class DSeM(SDM):
    """Diffusion segmentation model: generates the label map of an image (Wolleb et al. 2022, Amit et al. 2021).

    Several samples are an implicit ensemble: their mean are probabilities, their deviation is the uncertainty.

    Args:
        backbone: takes an image as context; its ``in_channels`` and ``out_channels`` are the number of classes.
        fusion, sigma_data: as :class:`Denoiser`.
    """
