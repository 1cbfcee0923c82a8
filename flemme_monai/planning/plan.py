"""From a data set, a pair and the memory to the settings of a bundle, each with its reason."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..registry import ARCHITECTURES, pairs
from ..utils.files import atomic_write
from .fingerprint import DataFingerprint
from .memory import network_bytes, patch_bytes
from .networks import has_planned_stages, meta_network, network_settings
from .rules import Budget, coarse_axis, first_patch, fit_budget, median_shape, target_spacing
from .warnings import data_warnings

PLAN = "plan.json"
EMPTY_BORDERS = 0.75  # share of an image that the box around its content leaves at most, of images with empty borders
CLIP = (0.5, 99.5)  # percentiles of the foreground of CT
FEWEST = {2: 8, 3: 2}  # patches of a batch
SEEN = 0.05  # a batch shows no more than this share of the data set's voxels
FOREGROUND_SHARE = 1 / 3
STEPS_PER_EPOCH = 250
FLAT = 8  # slices along an axis below which a volume is taken as a pile of slices
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


@dataclass
class Plan:
    """Settings of a bundle with a reason each.

    Attributes:
        pair: ``<architecture>_<backbone>``.
        data: digest of the data set that it is of.
        settings: values by their paths in a bundle.
        reasons: why, by the same paths.
        memory: GiB that a training step may take, and that it takes by the count.
        proposal: whether 2D or 3D is proposed, and why.
        warnings: of the data set.
    """

    pair: str
    data: dict[str, Any]
    memory: dict[str, float]
    proposal: str
    settings: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def set(self, name: str, value: Any, reason: str) -> None:
        """Settle a setting."""
        self.settings[name], self.reasons[name] = value, reason

    def plain(self) -> dict[str, Any]:
        """As ``plan.json`` has it."""
        return {
            "pair": self.pair,
            "data": self.data,
            "memory_gib": self.memory,
            "proposal": self.proposal,
            "settings": {name: {"value": value, "reason": self.reasons[name]} for name, value in self.settings.items()},
            "warnings": self.warnings,
        }


def make_plan(
    data: DataFingerprint,
    pair: str,
    memory: float,
    spatial_dims: int | None = None,
    spacing: Sequence[float] | None = None,
) -> Plan:
    """Plans a bundle.

    Args:
        data: what is known of the data set.
        pair: ``<architecture>_<backbone>`` of a segmentation.
        memory: GiB that a training step may take.
        spatial_dims: 2 takes volumes slice by slice, 3 whole; None: as proposed.
        spacing: mm along each axis, in the place of the planned one.

    Raises:
        ValueError: If the pair segments nothing, the spacing is not positive, or the smallest patch does not fit.
    """
    if pair not in pairs() or ARCHITECTURES[pair.partition("_")[0]].task != "segmentation":
        raise ValueError(f"pair is {pair!r}; expected a segmentation, such as hsem_unet: `flemme-monai list` names all")
    if not memory > 0:
        raise ValueError(f"memory is {memory}; expected GiB above 0: name what a training step may take")
    found = target_spacing(data.spacings, data.shapes)
    target, coarse = found.target, found.coarse_axis
    if spacing is not None:
        if len(spacing) != data.spatial_dims or not all(math.isfinite(mm) and mm > 0 for mm in spacing):
            raise ValueError(
                f"spacing is {list(spacing)}; expected {data.spatial_dims} lengths in mm above 0: name them"
            )
        target = [float(mm) for mm in spacing]
        coarse = coarse_axis(target)
    shape = median_shape(data.spacings, data.shapes, target)
    dims, proposal = _proposed_dims(data, shape, coarse)
    dims = spatial_dims or dims
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
    plan.set("spatial_dims", dims, proposal)
    plan.set("in_channels", channels, "channels of every case")
    plan.set("num_classes", data.num_classes, ", ".join(f"{k} {name}" for k, name in sorted(data.class_names.items())))
    if data.spatial_dims == 3:
        _plan_spacing(plan, data, target, coarse, spacing is not None)
    _plan_intensities(plan, data)
    _plan_budget(plan, data, target[:dims], shape[:dims], memory)
    _plan_training(plan, data, target, coarse, dims)
    return plan


def _proposed_dims(data: DataFingerprint, shape: Sequence[int], coarse: int | None) -> tuple[int, str]:
    if data.spatial_dims == 2:
        return 2, "the images are pictures"
    size = "x".join(map(str, shape))
    if coarse is not None and shape[coarse] < FLAT:
        return 2, f"a case is {size} voxels at the target spacing: too few slices along axis {coarse} for 3D"
    aside = "" if coarse is None else f"; axis {coarse} is coarse and is halved later than the others"
    return 3, f"volumes of {size} voxels at the target spacing{aside}"


def _plan_spacing(plan: Plan, data: DataFingerprint, target: list[float], coarse: int | None, given: bool) -> None:
    low, high = data.spacings.min(0), data.spacings.max(0)
    span = ", ".join(f"{a:g} to {b:g}" if a != b else f"{a:g}" for a, b in zip(low.tolist(), high.tolist()))
    how = "given" if given else "the median" if coarse is None else f"the median, finer along coarse axis {coarse}"
    one = len({tuple(case.spacing) for case in data.cases}) == 1
    if one and not given:
        plan.set("spacing", None, f"all cases have {span} mm: nothing is resampled")
    else:
        plan.set("spacing", target, f"{how} of the cases' {span} mm")
    content = np.median([np.prod(case.content) / np.prod(case.shape) for case in data.cases])
    plan.set(
        "crop_foreground",
        bool(content < EMPTY_BORDERS),
        f"the box around what is not 0 is {content:.0%} of the median image; cropped below {EMPTY_BORDERS:.0%}",
    )


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
    empty = float(np.median([np.prod(case.content) / np.prod(case.shape) for case in data.cases])) < EMPTY_BORDERS
    plan.set("intensity_range", None, f"{data.modality}: values have no unit, so each image has its own scale")
    plan.set("intensity_mean_std", None, f"{data.modality}: each image's own mean and deviation")
    plan.set("nonzero", empty, "borders are empty: inside what is not 0" if empty else "borders are not empty")


def _plan_budget(
    plan: Plan, data: DataFingerprint, spacing: Sequence[float], shape: Sequence[int], memory: float
) -> None:
    dims, pair, channels = len(spacing), plan.pair, data.cases[0].channels
    common = {name: plan.settings[name] for name in ("spatial_dims", "in_channels", "num_classes")}
    networks: dict[str, Any] = {}

    def network(patch: Sequence[int]) -> Any:
        settings = network_settings(pair, spacing, patch)
        key = json.dumps(settings)
        if key not in networks:
            networks[key] = meta_network(pair, {**common, **settings})
        return networks[key]

    def cost(patch: Sequence[int]) -> tuple[int, int]:
        built = network(patch)
        return network_bytes(built), patch_bytes(built, channels, patch)

    budget: Budget = fit_budget(
        first_patch(spacing, shape),
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
        f"as long in mm along each axis, at most the median case ({size}), in multiples that the network takes; the "
        f"largest of which {FEWEST[dims]} fit into {memory:g} GiB",
    )
    plan.set(
        "batch_size",
        budget.batch,
        f"a training step takes {used:.2g} of {memory:g} GiB by what the backward pass keeps; a batch shows "
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
    flip = "classes are told apart by their side: " + ", ".join(sided[:3]) if sided else "no class is named by its side"
    plan.set("augmentation#flip", 0.0 if sided else 0.5, flip)
    for name, value in NNUNET_AUGMENTATION.items():
        plan.set(f"augmentation#{name}", value, "nnU-Net's")
    if dims == 3 and coarse is not None:
        angles = [0.35 * (axis == coarse) for axis in range(dims)]
        plan.set("augmentation#rotate_range", angles, f"axis {coarse} is coarse: turned in the planes across it alone")
    if dims == 3:
        tolerance = max(spacing)
        plan.set("surface_tolerance", round(float(tolerance), 3), "one voxel along the coarsest axis, in mm")


def write_plan(plan: Plan, folder: Path) -> Path:
    """Write ``plan.json`` into a folder in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PLAN
    with atomic_write(path) as part:
        part.write_text(json.dumps(plan.plain(), indent=2) + "\n", encoding="utf-8")
    return path


def read_plan(path: str | os.PathLike) -> dict[str, Any]:
    """A plan from its file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file holds something else.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such plan; expected the plan.json of `flemme-monai plan`: name it")
    try:
        plan = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}); expected a plan: make it again") from None
    if not isinstance(plan, dict) or not {"pair", "data", "settings"} <= plan.keys():
        raise ValueError(f"{file} holds no plan; expected pair, data and settings: make it again")
    return plan


def check_same_data(plan: dict[str, Any], data: DataFingerprint) -> None:
    """Refuse a plan of another data set.

    Raises:
        ValueError: If the plan's data set is another, or has changed.
    """
    if plan["data"]["digest"] != data.digest:
        raise ValueError(
            f"the plan is of {plan['data']['cases']} cases of {plan['data']['folder']}, and {data.folder} with its "
            f"{len(data.cases)} cases is not that data set; expected the same files: plan anew"
        )


def reason_lines(plan: Plan) -> Iterator[str]:
    """A row of a table for each setting."""
    for name, value in plan.settings.items():
        yield f"| `{name}` | `{json.dumps(value)}` | {plan.reasons[name]} |"
