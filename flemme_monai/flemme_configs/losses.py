"""A config's losses."""

from __future__ import annotations

from typing import Any

from .entries import Entries

SEGMENTATION = {"Dice": "dice", "BCE": "ce", "BCEL": "ce", "CE": "ce", "Focal": "focal"}
PIXELS = {"MSE": "mse", "L1": "l1", "SmoothL1": "smooth_l1", "SSIM": "ssim"}


def segmentation_terms(model: Entries) -> list[Any]:
    """``loss_terms`` of a segmentation."""
    terms: list[Any] = []
    for loss in model.sections("segmentation_losses"):
        name, weight = loss.take("name"), loss.take("weight", 1.0)
        loss.skip("normalization", "reduction")
        if name not in SEGMENTATION:
            loss.lack("name", f"is {name!r}; expected one of {', '.join(SEGMENTATION)}")
        else:
            terms.append(SEGMENTATION[name] if weight == 1 else {"loss": SEGMENTATION[name], "weight": float(weight)})
        loss.close()
    return terms or ["dice", "ce"]


def image_terms(section: Entries, key: str) -> list[Any]:
    """``loss_terms`` between images; the squared error where none are named."""
    terms: list[Any] = []
    for loss in section.sections(key):
        name, weight = loss.take("name", "MSE"), loss.take("weight", 1.0)
        loss.skip("reduction")
        if name not in PIXELS:
            loss.lack("name", f"is {name!r}; expected one of {', '.join(PIXELS)}")
        else:
            terms.append(PIXELS[name] if weight == 1 else {"loss": PIXELS[name], "weight": float(weight)})
        loss.close()
    return terms or ["mse"]
