"""Sliding windows that also take a 2D network through a volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_to_dst_type, convert_to_tensor


class WindowInferer(SlidingWindowInferer):
    """Sliding windows over an image of any size; a volume goes through a 2D network slice by slice.

    Args:
        roi_size: window size of each spatial axis, or one size for all.
        sw_batch_size: windows per call of the network.
        overlap: share of a window that the next one covers again.
        mode: "gaussian" or "constant" weight of a window's voxels.
        spatial_dims: axes that the network works on, 2 or 3.

    Raises:
        ValueError: If ``roi_size`` has another number of axes.
    """

    def __init__(
        self,
        roi_size: Sequence[int] | int,
        sw_batch_size: int = 4,
        overlap: float = 0.25,
        mode: str = "gaussian",
        spatial_dims: int = 2,
    ) -> None:
        sizes = (roi_size,) * spatial_dims if isinstance(roi_size, int) else tuple(roi_size)
        if len(sizes) != spatial_dims:
            raise ValueError(f"roi_size {list(sizes)} has {len(sizes)} axes and the network works on {spatial_dims}")
        super().__init__(roi_size=sizes, sw_batch_size=sw_batch_size, overlap=overlap, mode=mode)
        self.spatial_dims = spatial_dims

    def __call__(
        self,
        inputs: torch.Tensor,
        network: Callable[..., Any],
        *args: Any,
        context: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Put the outputs of all windows together.

        Args:
            inputs: image (B, C, *S), or a volume (B, C, H, W, D) for a 2D network.
            network: takes windows (N, C, *roi_size) and gives a tensor.
            args: go to the network.
            context: the network's context, (B, ...): all windows of an image take that of the image; None: not used.
            kwargs: go to the network.

        Returns:
            The network's output over the whole of ``inputs``, (B, C_out, *S).
        """
        if context is not None:
            outputs = [
                self(image, partial(_with_context, network, image_context), *args, **kwargs)
                for image, image_context in zip(convert_to_tensor(inputs).split(1), context.split(1), strict=True)
            ]
            return convert_to_dst_type(torch.cat(outputs), inputs, dtype=outputs[0].dtype)[0]
        if not (self.spatial_dims == 2 and inputs.ndim == 5):
            return super().__call__(inputs, network, *args, **kwargs)
        batch, _, _, _, depth = inputs.shape
        slices = convert_to_tensor(inputs).movedim(-1, 1).flatten(0, 1)  # (B·D, C, H, W)
        pred = super().__call__(slices, network, *args, **kwargs)
        assert isinstance(pred, torch.Tensor), "the network gives a tensor"
        volume = pred.unflatten(0, (batch, depth)).movedim(1, -1)
        return convert_to_dst_type(volume, inputs, dtype=volume.dtype)[0]


def _with_context(
    network: Callable[..., Any], context: torch.Tensor, windows: torch.Tensor, *args: Any, **kwargs: Any
) -> Any:
    """The network on windows (N, C, *roi_size) of one image under its context (1, ...)."""
    return network(windows, *args, context=context.expand(len(windows), *context.shape[1:]), **kwargs)
