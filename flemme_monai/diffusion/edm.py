"""Preconditioning and loss weight of EDM (Karras et al. 2022)."""

from __future__ import annotations

import torch
from torch import nn


class Preconditioning(nn.Module):
    """Table 1, last column: what makes a network's input, target and loss of unit variance at every noise level.

    The denoiser is ``D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)`` (equation 7). All methods take and give sigmas
    and factors of any one shape.

    Args:
        sigma_data: standard deviation of the images.

    Raises:
        ValueError: If it is not positive.
    """

    def __init__(self, sigma_data: float = 0.5) -> None:
        super().__init__()
        if sigma_data <= 0:
            raise ValueError(f"sigma_data is {sigma_data}; expected the images' standard deviation, more than 0.")
        self.sigma_data = float(sigma_data)

    def c_skip(self, sigma: torch.Tensor) -> torch.Tensor:
        """``sigma_data² / (sigma² + sigma_data²)``."""
        return self.sigma_data**2 / (sigma**2 + self.sigma_data**2)

    def c_out(self, sigma: torch.Tensor) -> torch.Tensor:
        """``sigma sigma_data / sqrt(sigma² + sigma_data²)``."""
        return sigma * self.sigma_data / (sigma**2 + self.sigma_data**2).sqrt()

    def c_in(self, sigma: torch.Tensor) -> torch.Tensor:
        """``1 / sqrt(sigma² + sigma_data²)``."""
        return (sigma**2 + self.sigma_data**2).rsqrt()

    def c_noise(self, sigma: torch.Tensor) -> torch.Tensor:
        """``ln(sigma) / 4``."""
        return sigma.log() / 4

    def weight(self, sigma: torch.Tensor) -> torch.Tensor:
        """lambda, the weight of the squared error: ``(sigma² + sigma_data²) / (sigma sigma_data)²``."""
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
