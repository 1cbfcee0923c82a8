"""Sliding windows that also take a 2D network through a volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from monai.data.utils import compute_importance_map
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_to_dst_type, convert_to_tensor, fall_back_tuple
from torch.nn.functional import pad

from ..utils.progress import StepProgress
from .averaging import mean, mean_binary_logits, mean_logits, mirror_axes, on_flipped
from .slabs import sliding_labels, window_places


class WindowInferer(SlidingWindowInferer):
    """Sliding windows over an image of any size; a volume goes through a 2D network slice by slice.

    MONAI's gives the scores of all classes over the whole image; with ``argmax`` this one gives the label map, and
    needs the memory of a slab's scores.

    Args:
        roi_size: window size of each spatial axis, or one size for all.
        sw_batch_size: windows per call of the network.
        overlap: share of a window that the next one covers again.
        mode: "gaussian" or "constant" weight of a window's voxels.
        spatial_dims: axes that the network works on, 2 or 3.
        mirror: average over windows flipped along all of these axes, and along any of them; true for all axes.
        softmax: whether the network gives logits of classes, so that flips are averaged as probabilities.
        sigmoid: whether the network gives logits of classes that may overlap, whose flips are averaged so.
        argmax: give the class of the highest score, (B, 1, *S) of whole numbers, in the place of the scores.
        progress: show how many windows of an image are done, and the time left.

    Raises:
        ValueError: If ``roi_size`` has another number of axes, or another setting is out of range.
    """

    def __init__(
        self,
        roi_size: Sequence[int] | int,
        sw_batch_size: int = 4,
        overlap: float = 0.25,
        mode: str = "gaussian",
        spatial_dims: int = 2,
        mirror: bool | str | int | Sequence[int] = False,
        softmax: bool = False,
        argmax: bool = False,
        progress: bool = False,
        sigmoid: bool = False,
    ) -> None:
        sizes = (roi_size,) * spatial_dims if isinstance(roi_size, int) else tuple(roi_size)
        if len(sizes) != spatial_dims:
            raise ValueError(f"roi_size {list(sizes)} has {len(sizes)} axes and the network works on {spatial_dims}")
        if sw_batch_size < 1:
            raise ValueError(f"sw_batch_size is {sw_batch_size}; expected at least 1: set it to the windows of a call")
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap is {overlap}; expected a share from 0 to below 1: set it to 0.25 or 0.5")
        super().__init__(roi_size=sizes, sw_batch_size=sw_batch_size, overlap=overlap, mode=mode)
        self.overlap: float = overlap
        self.sizes = sizes
        self.spatial_dims = spatial_dims
        self.mirror = mirror_axes(mirror, spatial_dims)
        self.softmax = softmax
        self.sigmoid = sigmoid
        self.argmax = argmax
        self.show_progress = progress

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
            The network's output over the whole of ``inputs``, (B, C_out, *S); with ``argmax`` the labels (B, 1, *S).
        """
        if context is not None:
            outputs = [
                self(image, partial(_with_context, network, image_context), *args, **kwargs)
                for image, image_context in zip(convert_to_tensor(inputs).split(1), context.split(1), strict=True)
            ]
            return convert_to_dst_type(torch.cat(outputs), inputs, dtype=outputs[0].dtype)[0]
        with StepProgress(self.num_windows(inputs), "windows", self.show_progress) as progress:

            def predict(windows: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
                output = self._predict(network, windows, *args, **kwargs)
                progress.update(len(windows))
                return output

            if self.argmax:
                return self._labels(inputs, lambda windows: predict(windows, *args, **kwargs))
            return self._scores(inputs, predict, *args, **kwargs)

    def _predict(self, network: Callable[..., Any], windows: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """The network's output of windows (N, C, *roi_size), with ``mirror`` its mean over flips."""
        if not self.mirror:
            return network(windows, *args, **kwargs)
        outputs = on_flipped(network, self.mirror, windows, *args, **kwargs)
        if self.sigmoid:
            return mean_binary_logits(outputs)
        return mean_logits(outputs) if self.softmax else mean(outputs)

    def _is_sliced(self, inputs: torch.Tensor) -> bool:
        """Whether a volume goes through a 2D network."""
        return self.spatial_dims == 2 and inputs.ndim == 5

    def _roi_size(self, inputs: torch.Tensor) -> tuple[int, ...]:
        """The size of a window of an image (B, C, *S); a slice is one of thickness 1."""
        sizes = (*self.sizes, 1) if self._is_sliced(inputs) else self.sizes
        return fall_back_tuple(sizes, inputs.shape[2:])

    def num_windows(self, inputs: torch.Tensor) -> int:
        """How many windows the network sees of ``inputs`` (B, C, *S)."""
        roi_size = self._roi_size(inputs)
        size = [max(length, window) for length, window in zip(inputs.shape[2:], roi_size)]
        return len(inputs) * len(window_places(size, roi_size, self.overlap))

    def _scores(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The network's output over the whole of ``inputs``, (B, C_out, *S), by MONAI."""
        if not self._is_sliced(inputs):
            return super().__call__(inputs, network, *args, **kwargs)
        batch, _, _, _, depth = inputs.shape
        slices = convert_to_tensor(inputs).movedim(-1, 1).flatten(0, 1)  # (B·D, C, H, W)
        pred = super().__call__(slices, network, *args, **kwargs)
        assert isinstance(pred, torch.Tensor), "the network gives a tensor"
        volume = pred.unflatten(0, (batch, depth)).movedim(1, -1)
        return convert_to_dst_type(volume, inputs, dtype=volume.dtype)[0]

    def _labels(self, inputs: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The classes (B, 1, *S) of ``inputs``."""
        images = convert_to_tensor(inputs, track_meta=False)  # (B, C, *S)
        roi_size, sliced = self._roi_size(images), self._is_sliced(images)
        missing = [max(window - length, 0) for window, length in zip(roi_size, images.shape[2:])]
        if any(missing):  # as MONAI pads
            images = pad(images, [side for n in reversed(missing) for side in (n // 2, n - n // 2)])
        flat = roi_size[:-1] if sliced else roi_size
        weight = compute_importance_map(
            flat, mode=self.mode, sigma_scale=self.sigma_scale, device=images.device, dtype=images.dtype
        ).reshape(roi_size)

        def predict(windows: torch.Tensor) -> torch.Tensor:
            return network(windows[..., 0])[..., None] if sliced else network(windows)

        labels = torch.stack(
            [sliding_labels(image, predict, weight, self.overlap, self.sw_batch_size) for image in images]
        )  # (B, 1, *S), padded
        for axis, (n, length) in enumerate(zip(missing, inputs.shape[2:]), start=2):
            labels = labels.narrow(axis, n // 2, length)
        return convert_to_dst_type(labels.contiguous(), inputs, dtype=labels.dtype)[0]


def _with_context(
    network: Callable[..., Any], context: torch.Tensor, windows: torch.Tensor, *args: Any, **kwargs: Any
) -> Any:
    """The network on windows (N, C, *roi_size) of one image under its context (1, ...)."""
    return network(windows, *args, context=context.expand(len(windows), *context.shape[1:]), **kwargs)
