"""Masks as run-length codes, in the way of Kaggle's UW-Madison GI tract challenge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def decode(code: str, shape: Sequence[int], where: str) -> np.ndarray:
    """The mask that a code describes.

    A code is pairs of start and length. Pixels are numbered from 1, along the rows: pixel 2 is to the right of pixel 1,
    and pixel ``width + 1`` below it. So do all solutions of that challenge that were looked at, where other challenges
    of Kaggle number along the columns.

    Args:
        code: such as "3 2 10 1", for the pixels 3, 4 and 10; "" for none.
        shape: height and width in pixels.
        where: the file and line of the code, for errors.

    Returns:
        (H, W) uint8, 0 and 1.

    Raises:
        ValueError: If the code is malformed, its runs overlap or are not in order, or it goes past the image.
    """
    height, width = shape
    mask = np.zeros(height * width, np.uint8)
    words = code.split()
    if len(words) % 2:
        raise ValueError(
            f"{where}: the code has {len(words)} numbers; expected pairs of start and length: mend that line"
        )
    end = 0  # the last pixel of the run before
    for start_word, length_word in zip(words[::2], words[1::2]):
        if not (start_word.isascii() and start_word.isdigit() and length_word.isascii() and length_word.isdigit()):
            raise ValueError(
                f"{where}: the code has the run '{start_word} {length_word}'; expected two whole numbers: "
                "mend that line"
            )
        start, length = int(start_word), int(length_word)
        if start < 1 or length < 1:
            raise ValueError(
                f"{where}: the code has the run '{start} {length}'; expected a start and a length from 1, the number "
                "of the first pixel: mend that line"
            )
        if start <= end:
            raise ValueError(
                f"{where}: the run '{start} {length}' begins at or before pixel {end}, where the one before it ends; "
                "expected runs in order that do not overlap: mend that line"
            )
        end = start + length - 1
        if end > len(mask):
            raise ValueError(
                f"{where}: the run '{start} {length}' ends at pixel {end}; expected at most {len(mask)}, the last of "
                f"the {width}x{height} image: mend that line, or the image"
            )
        mask[start - 1 : end] = 1
    return mask.reshape(height, width)


def encode(mask: np.ndarray) -> str:
    """The code of a mask, of which :func:`decode` makes the mask again.

    Args:
        mask: (H, W); what is not 0 is in it.

    Returns:
        The code, "" for an empty mask.
    """
    inside = np.concatenate([[False], np.asarray(mask).ravel() != 0, [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1])  # first pixels from 0, and the pixels behind the last ones
    starts, ends = edges[::2], edges[1::2]
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends))
