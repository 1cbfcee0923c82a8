"""Write samples on the way between two others as a row and as an animation."""

from __future__ import annotations

import numpy as np
from ignite.engine import Engine

from ..utils import replacing
from .save_samples import SaveSamples, write_sheet

STEP_MS, END_MS = 150, 800


class SaveWay(SaveSamples):
    """Writes each sample as ``SaveSamples`` does, all in one row as ``way.png``, and there and back as ``way.gif``."""

    def _draw(self, engine: Engine) -> None:
        from PIL import Image

        tiles = [picture for _, picture in self._tiles]
        caption = "" if self._tiles[0][0] is None else self._name(self._tiles[0][0])
        write_sheet(self.output_dir / "way.png", [(caption, tiles)])
        pictures = [Image.fromarray(picture if _coloured(tiles) else picture[..., 0]) for picture in tiles]
        there = [END_MS, *[STEP_MS] * (len(pictures) - 2), END_MS]
        with replacing(self.output_dir / "way.gif") as part:
            pictures[0].save(
                part,
                save_all=True,
                append_images=[*pictures[1:], *pictures[-2:0:-1]],
                duration=[*there, *[STEP_MS] * (len(pictures) - 2)],
                loop=0,
            )


def _coloured(tiles: list[np.ndarray]) -> bool:
    return any(np.ptp(picture, axis=-1).any() for picture in tiles)
