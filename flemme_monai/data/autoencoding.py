"""From a batch of images to a step of auto-encoding."""

from __future__ import annotations

from typing import Any

import torch

from .context import ContextPrepareBatch


class AutoencodingPrepareBatch(ContextPrepareBatch):
    """The image is the input and the target, under a context if there is one.

    Args:
        condition_key: the context of a batch, such as ``class_label``; None for none.
        argument: the name under which the network or inferer takes it.
    """

    def __init__(self, condition_key: str | None = None, argument: str = "context") -> None:
        super().__init__({} if condition_key is None else {argument: condition_key})

    def __call__(
        self,
        batchdata: dict[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, torch.Tensor]]:
        """Images (B, C, *S) twice, and the context.

        Args:
            batchdata: has ``image`` and, where set, ``condition_key``.
            device, non_blocking, kwargs: of ``Tensor.to``, as MONAI's engines give them.

        Raises:
            ValueError: If a batch lacks one of the keys.
        """
        image, _, arguments, context = super().__call__(batchdata, device, non_blocking, **kwargs)
        return image, image, arguments, context
