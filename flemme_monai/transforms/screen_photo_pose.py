"""Where on a screen each pixel of its photograph lies: a pinhole camera with a lens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from monai.transforms.utils import create_rotate
from torch.nn import functional as F

DISTANCE = 3.0  # of the camera from the screen, in halves of its shorter side


@dataclass(frozen=True)
class CameraPose:
    """How a camera is held; at zeros it sees the screen as it is.

    Args:
        yaw, pitch, roll: turns of the camera, in degrees.
        zoom: relative enlargement.
        shift: of the view along both axes, in halves of the shorter side.
        distortion: radial, of the lens, at half of the shorter side.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    zoom: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    distortion: float = 0.0

    def to_screen(self, points: torch.Tensor) -> torch.Tensor:
        """Points (2, ...) of the photograph to points of the screen, in halves of the shorter side from the centre."""
        bend = (1 + self.distortion * (points[0] ** 2 + points[1] ** 2)) / (1 + self.zoom)
        first, second = (place * bend + shift for place, shift in zip(points, self.shift))
        angles = [math.radians(angle) for angle in (self.yaw, self.pitch, self.roll)]
        turn = create_rotate(3, angles)[:3, :3].tolist()  # its columns: the screen's axes and its normal
        # the ray (first, second, DISTANCE) meets the plane through (0, 0, DISTANCE) at this multiple
        reach = DISTANCE * turn[2][2] / (first * turn[0][2] + second * turn[1][2] + DISTANCE * turn[2][2])
        hit = (first * reach, second * reach, DISTANCE * (reach - 1))
        return torch.stack([sum(part * row[axis] for part, row in zip(hit, turn)) for axis in (0, 1)])


def places_on_screen(size: tuple[int, int], pose: CameraPose) -> torch.Tensor:
    """Pixel coordinates on the screen (2, H, W) of all pixels of a photograph of the screen's own size.

    Args:
        size: (H, W).
        pose: of the camera.
    """
    unit = min(size) / 2
    centre = torch.tensor([(side - 1) / 2 for side in size]).view(2, 1, 1)
    pixels = torch.stack(torch.meshgrid(*[torch.arange(float(side)) for side in size], indexing="ij"))
    return pose.to_screen((pixels - centre) / unit) * unit + centre


def sampled(values: torch.Tensor, places: torch.Tensor, mode: str) -> torch.Tensor:
    """An image at places, 0 outside.

    Args:
        values: (C, H, W), float.
        places: pixel coordinates (2, H', W').
        mode: of the interpolation, "bilinear" or "nearest".

    Returns:
        (C, H', W').
    """
    first, second = ((2 * place + 1) / side - 1 for place, side in zip(places, values.shape[1:]))
    grid = torch.stack([second, first], -1)[None].to(values)  # (1, H', W', 2), PyTorch has the last axis first
    return F.grid_sample(values[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
