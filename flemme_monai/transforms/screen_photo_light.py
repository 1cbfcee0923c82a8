"""The light of a screen on its way through a phone's camera into a JPEG file; light is linear, from 0 to 1."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from torch.nn import functional as F


def pixel_grid(places: torch.Tensor, channels: int, depth: float, frequency: float, phase: float) -> torch.Tensor:
    """How much light the pixels of a screen let through where a sensor samples them: aliased, this is moiré.

    Args:
        places: (2, H, W), coordinates on the screen in pixels of the image.
        channels: of the image; three are stripes beside each other, one is the pixel as a whole.
        depth: 0 lets all light through, 1 only that of the pixels' centres.
        frequency: screen pixels per pixel of the image.
        phase: of the grid, in screen pixels.

    Returns:
        (channels, H, W), 1 on average.
    """
    turns = 2 * math.pi * (places * frequency + phase)
    stripes = 2 * math.pi * torch.arange(channels).view(-1, 1, 1) / channels
    return 1 + depth * (torch.cos(turns[0] + stripes) + torch.cos(turns[1])) / 2


def add_glare(
    light: torch.Tensor, haze: float, glare: float, place: tuple[float, float], radius: float
) -> torch.Tensor:
    """Adds what a screen reflects: the room evenly, a lamp as a round spot.

    Args:
        light: (C, H, W).
        haze: light of the room.
        glare: light at the spot's centre.
        place: of the centre, in halves of the shorter side from the image's centre.
        radius: standard deviation of the spot, in the same unit.
    """
    return light + haze + glare * torch.exp(-_squares(light.shape[1], light.shape[2], place) / (2 * radius**2))


def vignette(size: tuple[int, int], amount: float) -> torch.Tensor:
    """The share of light (H, W) that reaches a sensor: 1 in the centre, ``1 - amount`` in the corners."""
    squares = _squares(*size)
    return 1 - amount * squares / squares.max()


def _squares(height: int, width: int, place: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    """Squared distances (H, W) of pixels from a place, both in halves of the shorter side, from the centre."""
    axes = [(torch.arange(side) - (side - 1) / 2) * 2 / min(height, width) for side in (height, width)]
    return (axes[0] - place[0]).square()[:, None] + (axes[1] - place[1]).square()


def defocus_kernel(radius: float) -> torch.Tensor:
    """The disc (K, K) that a point becomes; of a radius below half a pixel the point."""
    reach = math.ceil(radius)
    axis = torch.arange(-reach, reach + 1.0)
    disc = (radius + 0.5 - torch.hypot(axis[:, None], axis)).clamp(0, 1)
    return disc / disc.sum()


def motion_kernel(length: float, angle: float) -> torch.Tensor:
    """The line (K, K) that a point becomes.

    Args:
        length: in pixels.
        angle: in degrees from the second axis.
    """
    reach = math.ceil(length / 2)
    along = torch.linspace(-length / 2, length / 2, 8 * reach + 1)
    direction = torch.tensor([math.sin(math.radians(angle)), math.cos(math.radians(angle))])
    axis = torch.arange(-reach, reach + 1.0)
    first, second = ((1 - (axis[:, None] - along * part).abs()).clamp(min=0) for part in direction)  # (K, N) each
    line = first @ second.T
    return line / line.sum()


def filtered(light: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Light (C, H, W) filtered by an odd kernel (K, K), the border repeated."""
    if len(kernel) == 1:
        return light
    reach = len(kernel) // 2
    padded = F.pad(light[None], [reach] * 4, mode="replicate")
    return F.conv2d(padded, kernel.to(light).expand(len(light), 1, -1, -1), groups=len(light))[0]


def sensor_noise(light: torch.Tensor, read: float, shot: float, seed: int) -> torch.Tensor:
    """The noise of a sensor: a part that is always there, and one that grows with the root of the light.

    Args:
        light: (C, H, W).
        read: standard deviation in the dark.
        shot: further standard deviation of light of 1.
        seed: of the noise.
    """
    normal = torch.from_numpy(np.random.RandomState(seed).standard_normal(tuple(light.shape))).to(light)
    return normal * (read**2 + shot**2 * light.clamp(min=0)).sqrt()


def compress(levels: torch.Tensor, quality: float) -> torch.Tensor:
    """An image after JPEG.

    Args:
        levels: (1, H, W) or (3, H, W), from 0 to 1.
        quality: from 1 to 100.
    """
    from PIL import Image

    pixels = (levels * 255).round().to(torch.uint8).movedim(0, -1).numpy()  # (H, W, C)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if len(levels) == 1 else pixels).save(file, "JPEG", quality=max(1, round(quality)))
    with Image.open(file) as image:
        read = np.asarray(image).reshape(pixels.shape)
    return torch.from_numpy(read.copy()).movedim(-1, 0).to(levels) / 255
