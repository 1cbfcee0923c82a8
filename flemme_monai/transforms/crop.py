"""Random crops that are turned, zoomed and deformed with what lies around them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable, RandomizableTransform, Resample, SpatialPad
from monai.transforms.utils import create_grid, create_rotate, create_scale
from monai.utils import TransformBackends, convert_to_tensor, ensure_tuple_rep

from .foreground import POSTFIX, random_foreground


class RandAffineCropd(Randomizable, MapTransform):
    """Crops at a random place; a crop that is turned, zoomed or deformed is resampled once from the whole image.

    What a turned crop needs beyond its own borders comes from the image: its place is drawn among those where all that
    it needs lies inside. Only along an axis where the image is too short for that, the image's border is repeated.

    Args:
        keys: keys of images (C, *S) of one size; one that is smaller than the crop gets zeros around it.
        roi_size: size of the crop, one number or one per axis.
        spatial_dims: number of axes.
        mode: "bilinear" or "nearest" interpolation, one or one per key.
        rotate_prob: probability of a turn.
        rotate_range: largest angle about each axis, in radians: one, or one per axis of a volume.
        zoom_prob: probability of a zoom by one factor along all axes.
        min_zoom: smallest factor; below 1 the crop shows more of the image.
        max_zoom: largest factor.
        elastic_prob: probability of an elastic deformation.
        elastic: the transforms that deform.
        elastic_margin: how far they move voxels at most, in voxels.
        foreground_share: share of crops around a voxel of a class, drawn evenly among those that the case has; such a
            crop lies as near to it as the image's border allows.
        label_key: key of the label map; where ``ClassesToIndicesd`` has kept the classes' positions, they are used up.

    Raises:
        ValueError: If ``min_zoom`` is not positive or above ``max_zoom``, or ``foreground_share`` no share.
    """

    def __init__(
        self,
        keys: KeysCollection,
        roi_size: Sequence[int] | int,
        spatial_dims: int,
        mode: Sequence[str] | str = "bilinear",
        rotate_prob: float = 0.0,
        rotate_range: float | Sequence[float] = 0.35,
        zoom_prob: float = 0.0,
        min_zoom: float = 0.85,
        max_zoom: float = 1.2,
        elastic_prob: float = 0.0,
        elastic: Sequence[RandomizableTransform] = (),
        elastic_margin: int = 8,
        foreground_share: float = 0.0,
        label_key: str = "label",
    ) -> None:
        super().__init__(keys)
        if not 0 < min_zoom <= max_zoom:
            raise ValueError(f"min_zoom is {min_zoom} and max_zoom {max_zoom}; expected 0 < min_zoom <= max_zoom")
        if not 0 <= foreground_share <= 1:
            raise ValueError(f"foreground_share is {foreground_share}; expected 0 to 1: set it to 0.33, or 0")
        self.roi_size = np.array(ensure_tuple_rep(roi_size, spatial_dims))
        self.pad = SpatialPad(self.roi_size.tolist())
        self.resample = [
            Resample(
                mode,
                padding_mode="border",
                dtype=torch.float32,  # type: ignore[arg-type]  # MONAI's hint lacks PyTorch's types, which it takes
            )
            for mode in ensure_tuple_rep(mode, len(self.keys))
        ]
        self.rotate_prob = rotate_prob
        self.rotate_range = np.asarray(rotate_range, dtype=float)
        self.zoom_prob = zoom_prob
        self.min_zoom = min_zoom
        self.max_zoom = max_zoom
        self.elastic_prob = elastic_prob
        self.elastic = tuple(elastic)
        self.elastic_margin = elastic_margin
        self.foreground_share = foreground_share
        self.label_key = label_key

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandAffineCropd:
        """Seeds the crops and their deformations."""
        super().set_random_state(seed, state)
        for transform in self.elastic:
            transform.set_random_state(state=self.R)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Crops one item.

        Returns:
            ``data`` with float32 tensors (C, *roi_size), without meta data, under the keys.
        """
        out = dict(data)
        images = {key: convert_to_tensor(out[key], track_meta=False) for key in self.key_iterator(out)}
        shape = np.array(next(iter(images.values())).shape[1:])
        positions = out.pop(f"{self.label_key}{POSTFIX}", None)
        target = None
        if self.foreground_share and self.R.random() < self.foreground_share:
            target = random_foreground(images[self.label_key], positions, self.R)
        if target is not None:
            target = target + np.maximum(self.roi_size - shape, 0) // 2  # as the image is padded
        if (shape < self.roi_size).any():
            images = {key: convert_to_tensor(self.pad(image), track_meta=False) for key, image in images.items()}
            shape = np.maximum(shape, self.roi_size)
        matrix = self._matrix()
        deformed = self.R.random() < self.elastic_prob
        size = self.roi_size + 2 * self.elastic_margin * deformed
        if matrix is None and not deformed:
            first = self.R.randint(shape - size + 1) if target is None else (target - size // 2)
            first = np.clip(first, 0, shape - size)
            crops = {key: image[_box(first, first + size)].float() for key, image in images.items()}
        else:
            crops = self._resampled(images, shape, size, matrix, target)
        if deformed:
            for transform in self.elastic:
                crops = transform(crops)
            first = np.full(len(size), self.elastic_margin)
            crops = {key: image[_box(first, first + self.roi_size)] for key, image in crops.items()}
        return out | {key: convert_to_tensor(image, track_meta=False).contiguous() for key, image in crops.items()}

    def _matrix(self) -> np.ndarray | None:
        """The matrix from the crop's coordinates, about its centre, to the image's; None where nothing is turned."""
        dims = len(self.roi_size)
        turned, zoomed = self.R.random() < self.rotate_prob, self.R.random() < self.zoom_prob
        matrix = np.eye(dims + 1)
        if turned:
            angles = self.R.uniform(-self.rotate_range, self.rotate_range, 1 if dims == 2 else 3)
            matrix = np.asarray(create_rotate(dims, angles.tolist()))
        if zoomed:
            matrix = matrix @ create_scale(dims, [1 / self.R.uniform(self.min_zoom, self.max_zoom)] * dims)
        return matrix[:dims, :dims] if turned or zoomed else None

    def _resampled(
        self,
        images: Mapping[Hashable, torch.Tensor],
        shape: np.ndarray,
        size: np.ndarray,
        matrix: np.ndarray | None,
        target: np.ndarray | None,
    ) -> dict[Hashable, torch.Tensor]:
        """Crops of ``size``, around ``target`` or anywhere, of images (C, *shape), turned and zoomed by ``matrix``."""
        matrix = np.eye(len(size)) if matrix is None else matrix
        reach = np.abs(matrix) @ ((size - 1) / 2)  # from the crop's centre, along the image's axes
        room = shape - 1 - 2 * reach
        drawn = self.R.uniform(size=len(size)) * room if target is None else np.clip(target - reach, 0, room)
        centre = reach + np.where(room > 0, drawn, room / 2)
        first = np.clip(np.floor(centre - reach), 0, shape - 1).astype(int)
        last = np.clip(np.ceil(centre + reach), 0, shape - 1).astype(int)
        grid = create_grid(size.tolist(), homogeneous=False, dtype=torch.float32, backend=TransformBackends.TORCH)
        grid = torch.einsum("ij,j...->i...", torch.as_tensor(matrix, dtype=torch.float32), grid)
        offset = torch.as_tensor(centre - (first + last) / 2, dtype=torch.float32)
        grid = grid + offset.reshape(-1, *[1] * len(size))  # from the middle of what is taken of the image
        return {
            key: resample(image[_box(first, last + 1)], grid=grid)
            for (key, image), resample in zip(images.items(), self.resample)
        }


def _box(first: np.ndarray, end: np.ndarray) -> tuple[slice, ...]:
    """All channels between two corners."""
    return (slice(None), *(slice(int(low), int(high)) for low, high in zip(first, end)))
