"""From a batch of views to what a pretraining network takes, and the choice of a method."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from monai.engines import PrepareBatch
from monai.utils import convert_to_tensor

from ..utils.errors import did_you_mean

METHODS = ("moco", "simclr", "barlow_twins", "masked")
Chosen = TypeVar("Chosen")


def chosen(method: str, choices: Mapping[str, Chosen]) -> Chosen:
    """What belongs to a method of pretraining.

    Args:
        method: its name.
        choices: the method's own by its name; those of other methods are not built.

    Raises:
        ValueError: If there is no such method.
    """
    if method not in choices:
        raise ValueError(f"there is no method {method!r}; {did_you_mean(str(method), list(METHODS))}")
    return choices[method]


class PretrainingBatch(PrepareBatch):
    """Images and, where there is one, their second view; with it the numbers by which negatives are known.

    A case is known by a checksum of its name, which is the same in every run.
    """

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, torch.Tensor]]:
        """Make the step of a batch.

        Args:
            batchdata: has ``image`` (B, C, *S) and ``case``, names; and maybe ``view``, as image, and ``slice`` (B,).
            device, non_blocking, kwargs: as of :class:`monai.engines.PrepareBatch`.

        Returns:
            The images, twice (the loss's target is an image's own), what the network gets besides by place, and by
            name.
        """
        image = self._on(batchdata["image"], device, non_blocking, **kwargs)
        if "view" not in batchdata:
            return image, image, (), {}
        view = self._on(batchdata["view"], device, non_blocking, **kwargs)
        case = torch.tensor([zlib.crc32(str(name).encode(errors="surrogateescape")) for name in batchdata["case"]])
        numbers = {"case": case.to(image.device)}
        if "slice" in batchdata:
            numbers["position"] = torch.as_tensor(batchdata["slice"]).to(image.device)
        return image, image, (view,), numbers

    @staticmethod
    def _on(image: Any, device: Any, non_blocking: bool, **kwargs: Any) -> torch.Tensor:
        tensor = convert_to_tensor(image, track_meta=False)
        return tensor.to(device=device, non_blocking=non_blocking, **kwargs)
