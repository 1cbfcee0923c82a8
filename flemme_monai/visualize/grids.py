"""Pictures beside and under each other, with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from .slices import axial_slice, plain_image

CAPTION = 18
CAPTION_COLOUR = (220, 220, 220)
TILE = 96
ROW_GAP = 2
MOST_MOVING = 16
MOST_FRAMES = 60
FRAME_MS, LAST_FRAME_MS = 80, 2000
STEP_MS, END_MS = 150, 800


def image_grid(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Pictures (H, W, 3) of one size side by side under their captions, as uint8 RGB."""
    from PIL import Image, ImageDraw, ImageFont

    gap = 4
    height, width = next(iter(pictures.values())).shape[:2]
    image = Image.new("RGB", ((width + gap) * len(pictures) - gap, height + CAPTION))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    for i, (caption, picture) in enumerate(pictures.items()):
        left = i * (width + gap)
        draw.text((left + 3, 2), caption, font=font, fill=CAPTION_COLOUR)
        image.paste(Image.fromarray(picture.round().astype(np.uint8)), (left, CAPTION))
    return np.asarray(image)


def captioned_rows(rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> np.ndarray:
    """Rows of pictures, each row under its caption.

    Args:
        rows: caption, without a line of its own where empty, and pictures (H, W, 3) of one size, uint8.

    Returns:
        (H, W, 3), uint8.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = rows[0][1][0].shape[:2]
    tops = np.cumsum([0] + [height + ROW_GAP + (CAPTION if caption else 0) for caption, _ in rows])
    size = ((width + ROW_GAP) * max(len(pictures) for _, pictures in rows) - ROW_GAP, int(tops[-1]) - ROW_GAP)
    picture = Image.new("RGB", size)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    for top, (caption, pictures) in zip(tops.tolist(), rows):
        if caption:
            draw.text((3, top + 2), caption, font=font, fill=CAPTION_COLOUR)
            top += CAPTION
        for i, levels in enumerate(pictures):
            picture.paste(Image.fromarray(levels), (i * (width + ROW_GAP), top))
    return np.asarray(picture)


def sample_tile(image: torch.Tensor) -> np.ndarray:
    """An image as a small picture.

    Args:
        image: (C, *S), values 0 to 1; of other channels than 3 the first, of a volume the middle axial slice is shown.

    Returns:
        (H, W, 3), uint8, at least about 96 pixels wide or high.
    """
    channels = image if len(image) == 3 else image[:1].expand(3, *image.shape[1:])
    flat = np.stack([axial_slice(c, c.shape[-1] // 2, volume=False) for c in channels.numpy()], -1)  # (H, W, 3)
    factor = max(1, round(TILE / max(flat.shape[:2])))
    levels = np.rint(np.clip(flat, 0, 1) * 255).astype(np.uint8)
    return levels.repeat(factor, 0).repeat(factor, 1)


def denoising_frames(steps: Sequence[torch.Tensor]) -> tuple[list[np.ndarray], list[int]]:
    """The frames of an animation of denoising that rests on the last step.

    Args:
        steps: each (B, C, *S), values -1 to 1; of more than 60 every n-th is shown.

    Returns:
        Frames (H, W), or (H, W, 3) of images of three channels, uint8, and how many ms each is shown.

    Raises:
        ValueError: If there are no steps.
    """
    if not steps:
        raise ValueError("frames gave no denoising steps: let the inferer keep its steps, or leave frames out")
    shown = np.linspace(0, len(steps) - 1, min(len(steps), MOST_FRAMES)).round().astype(int).tolist()
    columns = math.ceil(math.sqrt(min(len(steps[0]), MOST_MOVING)))
    frames = []
    for i in shown:
        pictures = [sample_tile((plain_image(image) + 1) / 2) for image in steps[i][:MOST_MOVING]]
        rows = [("", pictures[j : j + columns]) for j in range(0, len(pictures), columns)]
        rows[0] = (f"{i + 1} / {len(steps)}", rows[0][1])
        frames.append(_without_colour(captioned_rows(rows), steps[0].shape[1] == 3))
    return frames, [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]


def there_and_back(pictures: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """The frames of an animation through pictures and back, which rests on both ends.

    Args:
        pictures: pictures (H, W, 3), uint8.

    Returns:
        Frames as :func:`denoising_frames` gives them.
    """
    coloured = any(np.ptp(picture, axis=-1).any() for picture in pictures)
    frames = [_without_colour(picture, coloured) for picture in pictures]
    between = [STEP_MS] * (len(frames) - 2)
    return [*frames, *frames[-2:0:-1]], [END_MS, *between, END_MS, *between]


def _without_colour(picture: np.ndarray, coloured: bool) -> np.ndarray:
    return picture if coloured else picture[..., 0]
