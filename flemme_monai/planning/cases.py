"""What planning knows of one case: its grid, its values and its classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import ensure_tuple

from ..data.dicom_header import read_header
from ..data.files import image_kind
from ..data.reading import check_finite, displacement, read_image, read_masks
from ..transforms.load import OrientVolumesd

QUANTILES = 1000  # of the foreground's values in a case, evenly over their ranks
GREY_LEVELS = (0, 255)  # a mask of two classes, as pictures store it


@dataclass(frozen=True)
class CaseRecord:
    """What is known of a case, in RAS orientation where it is a volume.

    Attributes:
        case: its name.
        shape: voxels along each axis.
        spacing: mm of a voxel along each axis; 1 of pictures.
        orientation: the axes as they are stored, such as ``LPS``; empty for pictures.
        channels: number of image channels.
        lowest, highest: of the image's values.
        whole: whether all values are whole numbers.
        content: voxels along each axis of the box around what is not 0 in some channel.
        nonzero: share of voxels that are not 0 in some channel.
        labels: voxels of each label, by its number.
        foreground: quantiles of the values inside the foreground, per channel; of all values without a foreground.
        digest: hash of the image's values.
    """

    case: str
    shape: list[int]
    spacing: list[float]
    orientation: str
    channels: int
    lowest: float
    highest: float
    whole: bool
    content: list[int]
    nonzero: float
    labels: dict[int, int]
    foreground: list[list[float]]
    digest: str

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> CaseRecord:
        """A record from JSON, which makes texts of numbers that are keys."""
        return cls(**{**plain, "labels": {int(label): count for label, count in plain["labels"].items()}})

    @property
    def looks_like_ct(self) -> bool:
        """Whether the values may be Hounsfield units: whole numbers well below and above 0."""
        return self.whole and self.lowest <= -200 and self.highest >= 200


def read_case(case: Mapping[str, Any]) -> CaseRecord:
    """Reads a case and says what it is.

    Args:
        case: ``case``, ``image`` (a path, or one per channel) and ``label`` (a path, or one per instance).

    Raises:
        ValueError: If a file is unreadable, or the label does not lie on its image; the message names the file.
    """
    image = read_image(case["image"])  # (C, *S), RAS
    values = image.as_tensor().numpy()
    check_finite(image.as_tensor(), str(case["case"]))
    volume = image.ndim == 4
    stored = np.asarray(image.meta["original_affine"], dtype=float)
    spacing = np.linalg.norm(image.affine.numpy()[:3, :3], axis=0).tolist() if volume else [1.0] * (image.ndim - 1)
    labels = _labels(case, image) if "label" in case else None
    body = (values != 0).any(0)
    inside = labels > 0 if labels is not None and (labels > 0).any() else np.ones_like(body)
    ranks = np.linspace(0, 1, QUANTILES)
    found = {} if labels is None else dict(zip(*(part.tolist() for part in np.unique(labels, return_counts=True))))
    return CaseRecord(
        case=str(case["case"]),
        shape=list(values.shape[1:]),
        spacing=[round(length, 6) for length in spacing],
        orientation="".join(nibabel.aff2axcodes(stored)) if volume else "",
        channels=len(values),
        lowest=float(values.min()),
        highest=float(values.max()),
        whole=bool((values == np.rint(values)).all()),
        content=_box(body),
        nonzero=float(body.mean()),
        labels=found,
        foreground=[np.quantile(channel[inside], ranks).round(6).tolist() for channel in values],
        digest=hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()[:16],
    )


def _labels(case: Mapping[str, Any], image: MetaTensor) -> np.ndarray:
    """The label map (*S) of a case on its image's grid, of whole numbers."""
    stored, name = read_masks(case["label"]), str(ensure_tuple(case["label"])[0])
    mask = MetaTensor(
        torch.from_numpy(np.ascontiguousarray(stored.array, dtype=np.float32)), affine=torch.from_numpy(stored.affine)
    )
    labels = OrientVolumesd("label")({"label": mask})["label"]
    assert isinstance(labels, MetaTensor), "Orientation keeps the meta"
    if len(labels) != 1 or labels.shape[1:] != image.shape[1:]:
        raise ValueError(
            f"{name}: has the shape {tuple(labels.shape)}; expected {(1, *image.shape[1:])}, that of its image: "
            "resample the label onto the image, and store one label per voxel"
        )
    if image.ndim == 4:
        shift = displacement(labels.affine.numpy(), image.affine.numpy(), image.shape[1:])
        if shift > 0.5:
            raise ValueError(
                f"{name}: lies {shift:.1f} voxels off its image; expected the image's own grid: resample the label "
                "onto the image, or copy the image's affine when the voxels do match"
            )
    values = labels.as_tensor().numpy()[0]
    if set(np.unique(values).tolist()) <= set(GREY_LEVELS):
        values = values > 0
    if (values != np.rint(values)).any() or values.min() < 0:
        raise ValueError(f"{name}: holds values that are no classes; expected whole numbers from 0: mend the label")
    return values.astype(np.int64)


def _box(body: np.ndarray) -> list[int]:
    """The size of the box around what is true."""
    sizes = []
    for axis in range(body.ndim):
        planes = np.flatnonzero(body.any(tuple(other for other in range(body.ndim) if other != axis)))
        sizes.append(int(planes[-1] - planes[0] + 1) if planes.size else 0)
    return sizes


def modality_of_dicom(case: Mapping[str, Any]) -> str | None:
    """The modality that the first DICOM image of a case names, such as ``CT``; None for other files."""
    path = ensure_tuple(case["image"])[0]
    if not isinstance(path, (str, os.PathLike)) or image_kind(path) != "dicom":
        return None
    for file in sorted(Path(path).iterdir()):
        try:
            return read_header(str(file)).modality or None
        except (OSError, ValueError):  # a file of another kind beside the series
            continue
    return None
