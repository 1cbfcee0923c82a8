"""From a batch to the images and the context that a network receives."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines import PrepareBatchExtraInput


class ContextPrepareBatch(PrepareBatchExtraInput):
    """MONAI's ``PrepareBatchExtraInput``, except that it says which key a batch lacks.

    Args:
        extra_keys: key of the batch by the name that the network or inferer knows it under.
    """

    def __init__(self, extra_keys: dict[str, str]) -> None:
        super().__init__(extra_keys)
        self.extra_keys: dict[str, str]

    def __call__(
        self,
        batchdata: dict[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict]:
        """As MONAI's: image, label or None, no positional and the extra keyword arguments.

        Raises:
            ValueError: If a batch lacks one of the keys.
        """
        missing = [key for key in ("image", *self.extra_keys.values()) if key not in batchdata]
        if missing:
            raise ValueError(
                f"a batch has no {missing[0]!r}, only {', '.join(map(repr, batchdata))}: give data with it, "
                "such as folders of images per class for 'class_label', or slices of volumes (position, where samples "
                "are drawn) for 'slice', or numbers of a table (condition_vector, where samples are drawn) for "
                "'vector'."
            )
        return super().__call__(batchdata, device, non_blocking, **kwargs)
