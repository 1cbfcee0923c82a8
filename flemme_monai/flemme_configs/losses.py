"""A config's losses."""

from __future__ import annotations

from typing import Any

from .entries import Entries

SEGMENTATION = {"Dice": "dice", "BCE": "ce", "BCEL": "ce", "CE": "ce", "Focal": "focal"}
PIXELS = {"MSE": "torch.nn.MSELoss", "L1": "torch.nn.L1Loss", "SmoothL1": "torch.nn.SmoothL1Loss"}


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


def pixel_loss(section: Entries, key: str, default: str) -> str:
    """The class of one loss between images; further ones have no place."""
    losses = section.sections(key)
    found = PIXELS[default]
    for i, loss in enumerate(losses):
        name, weight = loss.take("name", "MSE"), loss.take("weight", 1.0)
        loss.skip("reduction")
        if name not in PIXELS:
            loss.lack("name", f"is {name!r}; expected one of {', '.join(PIXELS)}")
        elif i:
            loss.lack("name", f"{name!r} is a further loss; one is taken here")
        else:
            found = PIXELS[name]
            if weight != 1:
                loss.note("weight", f"{weight} of one loss is a matter of the learning rate; 1 is taken")
        loss.close()
    return found
