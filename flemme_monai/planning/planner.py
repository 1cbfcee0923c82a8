"""From a data set, a pair and the memory to a plan."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..registry import ARCHITECTURES, pairs
from .cases import BODY_HU
from .fingerprint import DataFingerprint
from .memory import network_bytes, patch_bytes
from .networks import has_planned_stages, meta_network, network_settings
from .plan import Plan
from .rules import Budget, coarse_axis, first_patch, fit_budget, fitted, median_shape, target_spacing
from .warnings import data_warnings

EMPTY_BORDERS = 0.75  # share of an image that the box around its content leaves at most, of images with empty borders
CLIP = (0.5, 99.5)  # percentiles of the foreground of CT
FEWEST = {2: 8, 3: 2}  # patches of a batch
SEEN = 0.05  # a batch shows no more than this share of the data set's voxels
FOREGROUND_SHARE = 1 / 3
STEPS_PER_EPOCH = 250
FEW_NAMES = 12
FLAT = 8  # slices below which a volume is taken as a pile of slices
FAR = 10.0  # times the pixels' distance: slices that are so far apart show other structures
DRY_RUN = {2: 128, 3: 48}  # the longest side of its patches
STATE_SHARE = 12 / 16  # of a network's bytes that a training adds: gradients and moments, not the values
LEAST_RATIO = 0.1  # a network too small to be measured
OVERLAP = 0.5  # of windows
NNUNET_AUGMENTATION = {  # probabilities, and ranges where they are settings
    "rotate": 0.2,
    "scale": 0.2,
    "elastic": 0.0,
    "intensity": 0.15,
    "noise": 0.1,
    "blur": 0.2,
    "blur_range": [0.5, 1.0],
    "contrast": 0.15,
    "contrast_range": [0.75, 1.25],
    "low_resolution": 0.25,
    "gamma": 0.3,
}
NETWORK_REASONS = {
    "patch_size": "convolutions see each voxel; blocks that mix positions begin at patches of the first stride",
    "patch_channels": "as nnU-Net begins",
    "channels": "twice as many from stage to stage, up to 320 (pictures 512)",
    "middle_channels": "those of the coarsest stage",
    "strides": "an axis is halved while it has 8 positions and is less than twice as coarse as the finest",
    "kernel_sizes": "1 along an axis that is still twice as coarse as the finest",
    "num_blocks": "nnU-Net's residual blocks of these stages",
    "deep_supervision": "three stages or fewer have no side output",
}


def check_request(pair: str, memory: float) -> None:
    """Refuse what no data set can be planned for.

    Args:
        pair, memory: as of :func:`make_plan`.

    Raises:
        ValueError: If the pair segments nothing, or the memory is not above 0.
    """
    row = ARCHITECTURES[pair.partition("_")[0]] if pair in pairs() else None
    if row is None or row.task != "segmentation":
        raise ValueError(f"pair is {pair!r}; expected a segmentation, such as hsem_unet: `flemme-monai list` names all")
    if not row.planned:
        raise ValueError(f"pair is {pair!r}, which is made by hand; expected a planned segmentation, such as hsem_unet")
    if not memory > 0:
        raise ValueError(f"memory is {memory}; expected GiB above 0: name what a training step may take")


def make_plan(
    data: DataFingerprint,
    pair: str,
    memory: float,
    spatial_dims: int | None = None,
    spacing: Sequence[float] | None = None,
    neighbour_slices: int | None = None,
    measure: Callable[[dict[str, Any]], float] | None = None,
) -> Plan:
    """Plans a bundle.

    Args:
        data: what is known of the data set.
        pair: ``<architecture>_<backbone>`` of a segmentation.
        memory: GiB that a training step may take.
        spatial_dims: 2 takes volumes slice by slice, 3 whole; None: as proposed.
        spacing: mm along each axis, in the place of the planned one.
        neighbour_slices: on each side of a slice that are channels of it too, where slices are taken; None: as
            proposed.
        measure: the MiB that training steps of a bundle's settings add to a process at their peak, by which the count
            is corrected; None: it is not.

    Raises:
        ValueError: If the pair segments nothing, the spacing is not positive, the smallest patch does not fit, or
            neighbours are wanted where no slices are taken.
    """
    check_request(pair, memory)
    sizes = data.contents if data.empty_borders < EMPTY_BORDERS else data.shapes
    found = target_spacing(data.spacings, sizes)
    target, coarse = found.target, found.coarse_axis
    if spacing is not None:
        if len(spacing) != data.spatial_dims or not all(math.isfinite(mm) and mm > 0 for mm in spacing):
            raise ValueError(
                f"spacing is {list(spacing)}; expected {data.spatial_dims} lengths in mm above 0: name them"
            )
        target = [float(mm) for mm in spacing]
        coarse = coarse_axis(target)
    shape = median_shape(data.spacings, sizes, target)
    proposed, neighbours, proposal = _proposed_dims(data, target, shape)
    dims = spatial_dims or proposed
    if neighbour_slices is not None:
        neighbours = neighbour_slices
    elif dims != proposed:
        neighbours = 0
    if neighbours < 0 or (neighbours and not dims == 2 < data.spatial_dims):
        raise ValueError(
            f"neighbour_slices is {neighbours} with spatial_dims {dims}; expected 0, or a number of slices where "
            "volumes are taken slice by slice: set spatial_dims to 2"
        )
    if dims > data.spatial_dims or dims not in (2, 3):
        raise ValueError(f"spatial_dims is {dims}; expected 2 for pictures, 2 or 3 for volumes: leave it out")
    plan = Plan(
        pair=pair,
        data={"folder": str(data.folder), "cases": len(data.cases), "digest": data.digest, "modality": data.modality},
        memory={"limit": memory},
        proposal=proposal,
        warnings=data_warnings(data, target),
    )
    channels = data.cases[0].channels
    plan.set("spatial_dims", dims, proposal if dims == proposed else f"given; proposed: {proposal}")
    of_neighbours = ", and of a slice's neighbours" if neighbours else ""
    plan.set("in_channels", channels * (2 * neighbours + 1), f"channels of every case{of_neighbours}")
    if dims < data.spatial_dims:
        plan.set("neighbour_slices", neighbours, "slices on each side that a slice has as channels too")
    first = 1 if data.multi_label else 0
    names = [data.name(label) for label in range(first, data.highest_label + 1)]
    listed = ", ".join(names[:FEW_NAMES]) + ", ..." * (len(names) > FEW_NAMES)
    plan.set("num_classes", data.num_classes, f"{'a mask each' if data.multi_label else 'the labels'}: {listed}")
    if data.multi_label:
        plan.set("multi_label", True, "classes may overlap")
    if data.spatial_dims == 3:
        _plan_spacing(plan, data, target, coarse, spacing is not None, dims)
    _plan_intensities(plan, data)
    _plan_budget(plan, data, target[:dims], shape[:dims], memory, measure)
    _plan_training(plan, data, target, coarse, dims)
    return plan


def _proposed_dims(data: DataFingerprint, target: Sequence[float], shape: Sequence[int]) -> tuple[int, int, str]:
    """Axes of the network, neighbours of a slice on each side, and why."""
    if data.spatial_dims == 2:
        return 2, 0, "2D: the images are pictures"
    size, coarse = "x".join(map(str, shape)), coarse_axis(target)
    if shape[2] < FLAT and shape[2] * 2 < min(shape[:2]):
        few = f"a case has {shape[2]} slices at the target spacing ({size} voxels), too few for 3D"
        apart = target[2] / max(target[:2])
        if shape[2] < 3:
            return 2, 0, f"2D: {few}, and no slice with two neighbours"
        if apart >= FAR:
            return 2, 0, f"2D: {few}, and they are {apart:.0f} pixels apart, so that neighbours show other structures"
        return 2, 1, f"2.5D: {few}; they are {apart:.1f} pixels apart, so that neighbours help as channels"
    aside = "" if coarse is None else f"; axis {coarse} is coarse and is halved later than the others"
    return 3, 0, f"3D: volumes of {size} voxels at the target spacing{aside}"


def _plan_spacing(
    plan: Plan, data: DataFingerprint, target: Sequence[float], coarse: int | None, given: bool, dims: int
) -> None:
    low, high = data.spacings.min(0), data.spacings.max(0)
    span = ", ".join(f"{a:g} to {b:g}" if a != b else f"{a:g}" for a, b in zip(low.tolist(), high.tolist()))
    how = "given" if given else "the median" if coarse is None else f"the median, finer along coarse axis {coarse}"
    one = len({tuple(case.spacing) for case in data.cases}) == 1
    if one and not given:
        plan.set("spacing", None, f"all cases have {span} mm: nothing is resampled")
    else:
        slices = "; slices stay as they are" if dims == 2 else ""
        plan.set("spacing", [*target[:dims], *[None] * (3 - dims)], f"{how} of the cases' {span} mm{slices}")
    content, of_ct = data.empty_borders, data.modality == "ct" and all(case.looks_like_ct for case in data.cases)
    what = f"above {BODY_HU:g} HU, the body," if of_ct else "not 0"
    plan.set(
        "crop_foreground",
        content < EMPTY_BORDERS,
        f"the box around what is {what} is {content:.0%} of the median image; cropped below {EMPTY_BORDERS:.0%}",
    )
    plan.set("crop_above", BODY_HU if of_ct else None, "CT: air is not 0" if of_ct else "the content is what is not 0")


def _plan_intensities(plan: Plan, data: DataFingerprint) -> None:
    if data.modality == "ct":
        values = data.foreground()
        low, high = np.percentile(values, CLIP).round(2).tolist()
        clipped = values.clip(low, high)
        plan.set("intensity_range", [low, high], f"CT: the {CLIP[0]} and {CLIP[1]} percentiles inside the foreground")
        plan.set(
            "intensity_mean_std",
            [round(float(clipped.mean()), 2), round(float(clipped.std()), 2)],
            "CT: mean and deviation inside the foreground of the whole data set, since Hounsfield units are absolute",
        )
        return
    empty = data.empty_borders < EMPTY_BORDERS
    plan.set("intensity_range", None, f"{data.modality}: values have no unit, so each image has its own scale")
    plan.set("intensity_mean_std", None, f"{data.modality}: each image's own mean and deviation")
    plan.set("nonzero", empty, "borders are empty: inside what is not 0" if empty else "borders are not empty")


def _plan_budget(
    plan: Plan,
    data: DataFingerprint,
    spacing: Sequence[float],
    shape: Sequence[int],
    memory: float,
    measure: Callable[[dict[str, Any]], float] | None,
) -> None:
    dims, pair, channels = len(spacing), plan.pair, plan.settings["in_channels"]
    shared = ("spatial_dims", "in_channels", "num_classes", "multi_label")
    common = {name: plan.settings[name] for name in shared if name in plan.settings}
    networks: dict[str, Any] = {}

    def network(patch: Sequence[int]) -> Any:
        settings = network_settings(pair, spacing, patch)
        key = json.dumps(settings)
        if key not in networks:
            networks[key] = meta_network(pair, {**common, **settings})
        return networks[key]

    def counted(patch: Sequence[int]) -> tuple[int, int]:
        built = network(patch)
        return network_bytes(built), patch_bytes(built, channels, patch)

    first, ratio, how = first_patch(spacing, shape), 1.0, "by what the backward pass keeps"
    if measure is not None:
        small = np.minimum(first, DRY_RUN[dims]).tolist()
        small = fitted(small, network(small).backbone.size_divisor)
        settings = {**common, **network_settings(pair, spacing, small), "image_size": small, "batch_size": 2}
        state, each = counted(small)
        ratio = max((measure(settings) * 2**20 - state * STATE_SHARE) / (2 * each), LEAST_RATIO)
        how = f"by a dry run here, in which a patch took {ratio:.2f} of what was counted"

    def cost(patch: Sequence[int]) -> tuple[int, int]:
        fixed, each = counted(patch)
        return fixed, int(ratio * each)

    budget: Budget = fit_budget(
        first,
        shape,
        int(memory * 2**30),
        lambda patch: network(patch).backbone.size_divisor,
        cost,
        most=int(SEEN * len(data.cases) * np.prod(shape)),
        fewest=FEWEST[dims],
    )
    used = budget.used / 2**30
    plan.memory["used"] = round(used, 2)
    size = "x".join(map(str, shape))
    plan.set(
        "image_size",
        budget.patch,
        f"as long in mm along each axis, at most the median case ({size} voxels), in multiples that the network takes; "
        f"the largest of which {FEWEST[dims]} fit into {memory:g} GiB",
    )
    plan.set(
        "batch_size",
        budget.batch,
        f"a training step takes {used:.2g} of {memory:g} GiB {how}; a batch shows "
        f"at most {SEEN:.0%} of the data set's voxels, and {FEWEST[dims]} patches at least",
    )
    for name, value in network_settings(pair, spacing, budget.patch).items():
        plan.set(name, value, NETWORK_REASONS[name.rpartition("#")[2]])
    if not has_planned_stages(pair):
        plan.warnings.append(f"{pair}: its stages are its own; patch and batch alone follow from the data")


def _plan_training(plan: Plan, data: DataFingerprint, spacing: Sequence[float], coarse: int | None, dims: int) -> None:
    plan.set(
        "foreground_share",
        round(FOREGROUND_SHARE, 3),
        "so many crops lie around a voxel of a class, drawn evenly among the classes of a case",
    )
    plan.set("steps_per_epoch", STEPS_PER_EPOCH, "an epoch is as long on any data set")
    sided = [
        name for name in data.class_names.values() if {"left", "right"} & set(name.lower().replace("_", " ").split())
    ]
    axes = list(range(1 if sided else 0, dims))
    flip = "not left to right: classes are told apart by their side, " + ", ".join(sided[:3]) if sided else "all"
    plan.set("augmentation#flip", 0.5, "nnU-Net's")
    plan.set("augmentation#flip_axes", axes, flip)
    plan.set("mirror", axes, f"flipped as in training, so that a window is predicted {2 ** len(axes)} times")
    plan.set("overlap", OVERLAP, "nnU-Net's; windows are weighted by a Gaussian")
    for name, value in NNUNET_AUGMENTATION.items():
        plan.set(f"augmentation#{name}", value, "nnU-Net's")
    if dims == 3 and coarse is not None:
        angles = [0.35 * (axis == coarse) for axis in range(dims)]
        plan.set("augmentation#rotate_range", angles, f"axis {coarse} is coarse: turned in the planes across it alone")
    if data.spatial_dims == 3:
        plan.set("surface_tolerance", round(float(max(spacing)), 3), "one voxel along the coarsest axis, in mm")
