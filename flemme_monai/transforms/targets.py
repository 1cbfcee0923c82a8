"""Reconstruction from given pairs: the target goes with its input through random transforms, and inputs get larger."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..data.fastmri import is_fastmri, read_fastmri
from .case import CheckCased
from .load import EnsureChannelAxisd, LoadImageFilesd, OrientVolumesd

SCALES = ("input", "own")


class EnlargeImaged(MapTransform):
    """Enlarges an image by a factor, linearly: the input of a super-resolution, on the grid of its output.

    MONAI's ``Zoomd`` is traced, and ``Invertd`` would shrink the output again.

    Args:
        factor: whole numbers of new voxels per voxel, one or one per axis of the network; a volume of a 2D network is
            enlarged within its axial slices.
        spatial_dims: 2 or 3, as of the network.
        keys: the image (C, *S), a MetaTensor.

    Raises:
        ValueError: If a factor is no whole number from 1.
    """

    def __init__(self, factor: int | Sequence[int], spatial_dims: int, keys: str = "image") -> None:
        super().__init__(keys)
        factors = list(factor) if isinstance(factor, Sequence) else [factor] * spatial_dims
        if len(factors) != spatial_dims or not all(isinstance(n, int) and n > 0 for n in factors):
            raise ValueError(f"upscale is {factor}; expected a whole number from 1, or {spatial_dims}, one per axis")
        self.factors = factors

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with the image at its new size, and an affine that says so."""
        item = dict(data)
        image = item["image"]
        factors = [*self.factors, 1][: image.ndim - 1]
        if max(factors) == 1:
            return item
        size = [n * factor for n, factor in zip(image.shape[1:], factors)]
        mode = "bilinear" if image.ndim == 3 else "trilinear"
        larger = MetaTensor(F.interpolate(image.as_tensor()[None], size, mode=mode)[0], meta=dict(image.meta))
        larger.applied_operations = image.applied_operations
        larger.affine = image.affine @ _finer(factors)
        larger.meta["spatial_shape"] = size
        item["image"] = larger
        return item


def _finer(factors: Sequence[int]) -> torch.Tensor:
    """From the voxels of a finer grid over the same extent to those of the coarser one, (4, 4)."""
    scale = [1 / factor for factor in factors] + [1.0] * (3 - len(factors))
    matrix = torch.diag(torch.tensor([*scale, 1.0], dtype=torch.float64))
    matrix[:3, 3] = torch.tensor([(s - 1) / 2 for s in scale], dtype=torch.float64)
    return matrix


class JoinTargetd(MapTransform):
    """Reads a case's ``target`` and puts its channels behind those of its image, so that both are turned and cut alike.

    The image has been scaled to 0-1 by its own range. A target is scaled by the range of the image, so that a network
    that restores it gives intensities of the image, or by its own where the two measure different things. A case
    without a target stays as it is.

    Args:
        out_channels: channels of the target.
        spatial_dims: 2 or 3, as of the network.
        scale: ``input`` or ``own``.
        keys: the image.

    Raises:
        ValueError: If the scale is another.
    """

    def __init__(self, out_channels: int, spatial_dims: int, scale: str = "input", keys: str = "image") -> None:
        super().__init__(keys)
        if scale not in SCALES:
            raise ValueError(f"target_scale is {scale!r}; expected {' or '.join(map(repr, SCALES))}")
        self.scale = scale
        self.steps = (
            LoadImageFilesd("target"),
            EnsureChannelAxisd("target", spatial_dims),
            OrientVolumesd("target"),
        )
        self.check = CheckCased(out_channels, spatial_dims=spatial_dims)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with an image (C + out_channels, *S), without its ``target``.

        Raises:
            ValueError: If the target is unreadable, or of another size than the image.
        """
        item = dict(data)
        if "target" not in item:
            return item
        image = item["image"]
        if is_fastmri(item["target"]):
            item["target"] = MetaTensor(read_fastmri(item["target"], target=True))
        for step in self.steps:
            item = step(item)
        target = self.check({"image": item.pop("target")})["image"]
        if target.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"{target.meta.get('filename_or_obj', 'the target')}: is of {tuple(target.shape[1:])} and its input of "
                f"{tuple(image.shape[1:])}; expected one size: set upscale where the input is smaller by a whole factor"
            )
        low, high = (image if self.scale == "input" else target).meta["intensity_range"]
        values = (target.as_tensor() - low) / max(high - low, 1e-8)
        joined = torch.cat([image.as_tensor(), values])
        item["image"] = MetaTensor(joined, meta=dict(image.meta), applied_operations=image.applied_operations)
        return item


class SplitTargetd(MapTransform):
    """The target of a reconstruction as its label: the channels behind those of the image, or else the image itself.

    Args:
        in_channels: channels of the image.
        keys: the image.
    """

    def __init__(self, in_channels: int, keys: str = "image") -> None:
        super().__init__(keys)
        self.in_channels = in_channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with an image (in_channels, *S) and a label."""
        item = dict(data)
        image = item["image"]
        if len(image) == self.in_channels:
            item["label"] = image.clone()
        else:
            item["image"], item["label"] = image[: self.in_channels], image[self.in_channels :]
        return item
