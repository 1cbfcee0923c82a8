"""From a batch of images to a step of auto-encoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch


class AutoencodingPrepareBatch(PrepareBatch):
    """The image is the input and the target, under a context if there is one.

    Args:
        condition_key: the context of a batch, such as ``class_label``; None for none.
    """

    def __init__(self, condition_key: str | None = None) -> None:
        self.condition_key = condition_key

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, torch.Tensor]]:
        """Images (B, C, *S) twice, and the network's ``context``.

        Args:
            batchdata: has ``image`` and, where set, ``condition_key``.
            device, non_blocking, kwargs: of ``Tensor.to``, as MONAI's engines give them.

        Raises:
            ValueError: for a batch without one of the keys.
        """
        keys = ["image", *([] if self.condition_key is None else [self.condition_key])]
        missing = [key for key in keys if key not in batchdata]
        if missing:
            raise ValueError(f"a batch has no {missing[0]!r}, only {', '.join(batchdata)}: check condition_key.")
        image, *context = [batchdata[key].to(device, non_blocking=non_blocking, **kwargs) for key in keys]
        return image, image, (), {"context": context[0]} if context else {}
