"""EDM: generation by a preconditioned denoiser."""

from __future__ import annotations

from ..backbones import Backbone
from .denoiser import Denoiser


class EDM(Denoiser):
    """Elucidated diffusion model (Karras et al. 2022): the image in a noisy one, preconditioned for every sigma.

    Args:
        backbone: as :class:`Denoiser`, with equal channels of input and output.
        fusion, sigma_data: as :class:`Denoiser`.
    """

    def __init__(self, backbone: Backbone, fusion: str | None = None, sigma_data: float = 0.5) -> None:
        super().__init__(backbone, fusion, sigma_data)
