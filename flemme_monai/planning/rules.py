"""The rules from a data set to numbers: spacing, patch and stages, as nnU-Net has them (Isensee et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

ANISOTROPY = 3.0  # a coarse axis' spacing is more than so many times the others'
COARSE_PERCENTILE = 10
MIN_FEATURE = 4  # positions along an axis below which a stage does not halve it
MAX_STAGES = 6
FIRST_PATCH = {2: 2048, 3: 256}  # of an isotropic volume, before memory cuts it down


@dataclass(frozen=True)
class Spacing:
    """The spacing that all cases are brought to.

    Attributes:
        target: mm along each axis.
        coarse_axis: the axis that is much coarser than the others; None without.
    """

    target: list[float]
    coarse_axis: int | None


@dataclass(frozen=True)
class Topology:
    """The stages of a network.

    Attributes:
        strides: downsampling between one stage and the next along each axis, one entry fewer than stages.
        kernels: size of a stage's convolutions along each axis: 1 along axes that are still much coarser.
    """

    strides: list[list[int]]
    kernels: list[list[int]]

    @property
    def total(self) -> list[int]:
        """Voxels of the image per position of the coarsest stage along each axis."""
        return np.prod([[1] * len(self.kernels[0]), *self.strides], axis=0).tolist()


def target_spacing(spacings: np.ndarray, shapes: np.ndarray) -> Spacing:
    """The median spacing; along a coarse axis of volumes that are short there, its 10th percentile.

    Args:
        spacings: mm, (N, dims).
        shapes: voxels, (N, dims).
    """
    target = np.median(spacings, axis=0)
    size = np.median(shapes * spacings / target, axis=0)
    worst = coarse_axis(target)
    if worst is not None and size[worst] * ANISOTROPY < np.delete(size, worst).min():
        finer = float(np.percentile(spacings[:, worst], COARSE_PERCENTILE))
        target[worst] = max(finer, np.delete(target, worst).max())
    return Spacing([round(float(length), 4) for length in target], coarse_axis(target))


def coarse_axis(spacing: Sequence[float] | np.ndarray) -> int | None:
    """The axis that is over three times coarser than the others; None without."""
    worst = int(np.argmax(spacing))
    return worst if spacing[worst] > ANISOTROPY * np.delete(spacing, worst).max() else None


def median_shape(spacings: np.ndarray, shapes: np.ndarray, target: Sequence[float]) -> list[int]:
    """The median size of the cases at the target spacing, in voxels."""
    return np.median(np.rint(shapes * spacings / np.asarray(target)), axis=0).astype(int).tolist()


def topology(spacing: Sequence[float], patch: Sequence[int], max_stages: int = MAX_STAGES) -> Topology:
    """Stages that halve an axis while it is long, and no coarser than twice the finest.

    Args:
        spacing: mm along each axis.
        patch: voxels along each axis.
        max_stages: the most stages, the one at full resolution included.
    """
    now, size = np.asarray(spacing, dtype=float), np.asarray(patch)
    kernels, strides = [_kernel(now)], []
    while len(kernels) < max_stages:
        long = size >= 2 * MIN_FEATURE
        if not long.any():
            break
        step = np.where(long & (now < 2 * now[long].min()), 2, 1)
        now, size = now * step, -(-size // step)
        strides.append(step.tolist())
        kernels.append(_kernel(now))
    return Topology(strides, kernels)


def _kernel(spacing: np.ndarray) -> list[int]:
    """1 along an axis that is twice as coarse as the finest or coarser, else 3."""
    return np.where(spacing < 2 * spacing.min(), 3, 1).tolist()


def first_patch(spacing: Sequence[float], shape: Sequence[int]) -> list[int]:
    """A patch that is as long in mm along each axis, no larger than the median case.

    Args:
        spacing: mm along each axis.
        shape: the median case's size at that spacing.
    """
    voxels = 1 / np.asarray(spacing)
    dims = len(voxels)
    longest = voxels * FIRST_PATCH[dims] / np.prod(voxels) ** (1 / dims)
    return np.minimum(np.rint(longest), shape).astype(int).tolist()


def fitted(patch: Sequence[int], divisor: Sequence[int]) -> list[int]:
    """The next larger sizes that a network takes."""
    return [int(-(-side // step) * step) for side, step in zip(patch, divisor)]


def smaller(patch: Sequence[int], shape: Sequence[int], divisor: Sequence[int]) -> list[int] | None:
    """A patch that is shorter by one step along the axis that shows most of the case; None if none can be shortened."""
    able = [axis for axis in range(len(patch)) if patch[axis] - divisor[axis] >= max(divisor[axis], MIN_FEATURE)]
    if not able:
        return None
    axis = max(able, key=lambda i: patch[i] / shape[i])
    return [side - divisor[axis] * (i == axis) for i, side in enumerate(patch)]


@dataclass(frozen=True)
class Budget:
    """The patch and batch that fit into memory.

    Attributes:
        patch: voxels along each axis.
        batch: patches of a training step.
        used: bytes of a training step.
    """

    patch: list[int]
    batch: int
    used: int


def fit_budget(
    patch: Sequence[int],
    shape: Sequence[int],
    limit: int,
    stages: Callable[[Sequence[int]], Sequence[int]],
    cost: Callable[[Sequence[int]], tuple[int, int]],
    most: int,
    fewest: int,
) -> Budget:
    """The largest patch of which a batch fits, and then the largest batch.

    Args:
        patch: the first patch.
        shape: the median case's size.
        limit: bytes.
        stages: a patch to the sizes whose multiples its network takes.
        cost: a patch to the bytes of its network and of each patch of the batch.
        most: voxels that a batch shows at most, above ``fewest`` patches.
        fewest: patches of the smallest batch.

    Raises:
        ValueError: If the smallest patch does not fit.
    """
    tried = fitted(patch, stages(patch))
    while True:
        fixed, each = cost(tried)
        if fixed + fewest * each <= limit:
            batch = min((limit - fixed) // each, max(fewest, round(most / int(np.prod(tried)))))
            return Budget(tried, int(batch), int(fixed + batch * each))
        following = smaller(tried, shape, stages(tried))
        if following is None:
            raise ValueError(
                f"memory is {limit / 2**30:.3g} GiB; expected at least {(fixed + fewest * each) / 2**30:.3g} GiB, "
                f"which {fewest} patches of {'x'.join(map(str, tried))} need, the smallest: give more memory"
            )
        tried = fitted(following, stages(following))
