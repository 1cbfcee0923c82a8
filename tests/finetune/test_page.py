"""The program of docs/finetuning.md makes what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

PAGE = Path(__file__).resolve().parents[2] / "docs" / "finetuning.md"


def test_the_images_of_another_kind(tmp_path, monkeypatch):
    for folder in ("images", "masks"):
        (tmp_path / "nuclei" / folder).mkdir(parents=True)
    for i in range(20):
        image, mask = np.full((16, 16), 40, np.uint8), np.zeros((16, 16), np.uint8)
        image[6:8, 6:8], mask[6:8, 6:8] = 200, 1
        for folder, picture in ("images", image), ("masks", mask):
            Image.fromarray(picture).save(tmp_path / "nuclei" / folder / f"{i:02d}.png")
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    parts = json.loads(Path("parts.json").read_text(encoding="utf-8"))
    assert parts["train"] + parts["val"] == [f"{i:02d}" for i in range(10)]
    assert parts["test"] == ["16", "17", "18", "19"]
    for name in (name for names in parts.values() for name in names):
        image, mask = (np.asarray(Image.open(f"zoomed/{folder}/{name}.png")) for folder in ("images", "masks"))
        assert image.shape == mask.shape == (16, 16)
        assert image[0, 0] == 255 - 40
        assert image[5:7, 5:7].max() == 255 - 200
        assert mask.sum() == mask[4:8, 4:8].sum() == 16  # four pixels, each of which is four
