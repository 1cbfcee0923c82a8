"""Attention among the frequencies of a feature, and a fusion of maps by bands of frequency.

Glossary: B batch, C channels, s size of a feature along each axis, f size of its real Fourier transform, K bands.
"""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from .attention import SpatialSelfAttention


class FourierAttention(nn.Module):
    """Self-attention among the frequencies of a feature, added to it.

    A frequency is a position of the feature's Fourier transform, with real and imaginary part as channels: every one
    weighs all others, and so each position of the feature all others too, at half as many tokens as attention over
    positions has. The last map begins as 0. Flemme has an attention of this kind; its formula was not looked at.

    Args:
        spatial_dims: 2 or 3.
        channels: number of channels.
        num_heads: heads; must divide twice the channels.
    """

    def __init__(self, spatial_dims: int, channels: int, num_heads: int = 4) -> None:
        super().__init__()
        self.axes = list(range(2, 2 + spatial_dims))
        self.norm = nn.GroupNorm(1, channels)
        self.attention = SpatialSelfAttention(spatial_dims, 2 * channels, num_heads)
        self.proj = Conv["conv", spatial_dims](channels, channels, 1)
        nn.init.zeros_(self.proj.weight)
        if self.proj.bias is not None:
            nn.init.zeros_(self.proj.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over the frequencies of ``x`` (B, C, *s)."""
        size = list(x.shape[2:])
        wave = torch.fft.rfftn(self.norm(x).float(), dim=self.axes, norm="ortho")  # (B, C, *f), complex
        parts = torch.cat([wave.real, wave.imag], 1).to(x.dtype)  # (B, 2C, *f)
        real, imag = self.attention(parts).float().chunk(2, 1)
        mixed = torch.fft.irfftn(torch.complex(real, imag), s=size, dim=self.axes, norm="ortho")
        return x + self.proj(mixed.to(x.dtype))


class FourierFusion(nn.Module):
    """Several maps of one size as one: at each frequency a weighted sum, whose weights are learned per band.

    A band is a range of distances from the lowest frequency, up to that of neighbouring pixels, so that a coarse map
    may give the lows of a prediction and a fine one its edges. The weights begin as the mean of the maps.

    Args:
        spatial_dims: 2 or 3.
        maps: number of maps M.
        bands: number of bands K.
    """

    def __init__(self, spatial_dims: int, maps: int, bands: int = 8) -> None:
        super().__init__()
        self.axes = list(range(2, 2 + spatial_dims))
        self.bands = bands
        self.weight = nn.Parameter(torch.full((maps, bands), 1.0 / maps))

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """``maps``, each (B, C, *s), to (B, C, *s)."""
        size = list(maps[0].shape[2:])
        band = self._band(size, maps[0].device)  # (*f)
        total = torch.zeros(1, device=maps[0].device, dtype=torch.complex64)
        for weight, each in zip(self.weight, maps):
            total = total + weight[band] * torch.fft.rfftn(each.float(), dim=self.axes, norm="ortho")
        return torch.fft.irfftn(total, s=size, dim=self.axes, norm="ortho").to(maps[0].dtype)

    def _band(self, size: list[int], device: torch.device) -> torch.Tensor:
        """The band of each frequency (*f)."""
        square = torch.zeros(1, device=device)
        for axis, n in enumerate(size):
            last = axis == len(size) - 1
            frequency = torch.fft.rfftfreq(n, device=device) if last else torch.fft.fftfreq(n, device=device)
            shape = [1] * len(size)
            shape[axis] = -1
            square = square + frequency.view(shape) ** 2
        share = 2 * square.sqrt()  # 1 at the frequency of neighbouring pixels along an axis
        return (share * self.bands).long().clamp_max(self.bands - 1)
