"""What planning knows of one case: its grid, its values and its classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import ensure_tuple
from scipy import ndimage

from ..data.class_masks import ClassMasks
from ..data.dicom_header import read_header
from ..data.files import image_kind
from ..data.reading import check_finite, displacement, read_image, read_masks
from ..transforms.case import fitting_masks
from ..transforms.load import EnsureChannelAxisd, LoadImageFilesd, LoadLabeld, OrientVolumesd

QUANTILES = 1000  # of the foreground's values in a case, evenly over their ranks
GREY_LEVELS = (0, 255)  # a mask of two classes, as pictures store it
BODY_HU = -500.0  # what is denser is the body on CT, and not the air around it


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
        content: voxels along each axis of the box around what is not 0 in some channel; of what has the values of CT,
            around what is above ``BODY_HU``.
        nonzero: share of voxels that are not 0 in some channel.
        labels: voxels of each label, by its number.
        centres: where the middle of each label but 0 is along each axis, from 0 to 1.
        outside: share of the foreground that lies where the image is 0 in all channels.
        placed: whether the file says where in space its voxels are, in what can say so.
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
    centres: dict[int, list[float]]
    outside: float
    placed: bool
    foreground: list[list[float]]
    digest: str

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> CaseRecord:
        """A record from JSON, which makes texts of numbers that are keys."""
        numbered = {name: {int(label): found for label, found in plain[name].items()} for name in ("labels", "centres")}
        return cls(**{**plain, **numbered})

    @property
    def looks_like_ct(self) -> bool:
        """Whether the values may be Hounsfield units: whole numbers well below and above 0."""
        return looks_like_ct(self.whole, self.lowest, self.highest)


def looks_like_ct(whole: bool, lowest: float, highest: float) -> bool:
    """Whether values may be Hounsfield units."""
    return whole and lowest <= -200 and highest >= 200


def read_case(case: Mapping[str, Any]) -> CaseRecord:
    """Reads a case and says what it is.

    Args:
        case: ``case``, ``image`` (a path, or one per channel) and ``label`` (a path, one per instance, or the masks of
            classes that may overlap).

    Raises:
        ValueError: If a file is unreadable, has no spacing, or the label does not lie on its image; the message names
            the file.
    """
    placed = all(_is_placed(path) for path in ensure_tuple(case["image"]))
    image, masks = _read(case)
    values = image.as_tensor().numpy()
    check_finite(image.as_tensor(), str(case["case"]))
    volume = image.ndim == 4
    stored = np.asarray(image.meta["original_affine"], dtype=float)
    spacing = np.linalg.norm(image.affine.numpy()[:3, :3], axis=0).tolist() if volume else [1.0] * (image.ndim - 1)
    whole, lowest, highest = bool((values == np.rint(values)).all()), float(values.min()), float(values.max())
    body = np.any(values != 0, axis=0)
    dense = np.any(values > BODY_HU, axis=0) if looks_like_ct(whole, lowest, highest) else body
    foreground = np.any(list(masks.values()), axis=0) if masks else np.zeros_like(body)
    inside = foreground if foreground.any() else np.ones_like(body)
    ranks = np.linspace(0, 1, QUANTILES)
    background = {0: int((~foreground).sum())} if "label" in case and not foreground.all() else {}
    return CaseRecord(
        case=str(case["case"]),
        shape=list(values.shape[1:]),
        spacing=[round(length, 6) for length in spacing],
        orientation="".join(nibabel.aff2axcodes(stored)) if volume else "",
        channels=len(values),
        lowest=lowest,
        highest=highest,
        whole=whole,
        content=_box(dense),
        nonzero=float(body.mean()),
        labels=background | {label: int(mask.sum()) for label, mask in masks.items()},
        centres={label: _centre(mask) for label, mask in masks.items()},
        outside=float(1 - body[inside].mean()) if masks else 0.0,
        placed=placed,
        foreground=[np.quantile(channel[inside], ranks).round(6).tolist() for channel in values],
        digest=hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()[:16],
    )


def _read(case: Mapping[str, Any]) -> tuple[MetaTensor, dict[int, np.ndarray]]:
    """The image (C, *S), RAS, and where each class is that the case has, (*S) of bool."""
    if not isinstance(case.get("label"), ClassMasks):
        image = read_image(case["image"])
        labels = _labels(case, image) if "label" in case else np.zeros(0, np.int64)
        return image, {int(label): labels == label for label in np.unique(labels) if label > 0}
    keys = ("image", "label")
    item: dict[Any, Any] = {key: case[key] for key in keys}
    for step in (LoadImageFilesd("image"), LoadLabeld("label"), EnsureChannelAxisd(keys, 3), OrientVolumesd(keys)):
        item = step(item)
    image, label = (cast("MetaTensor", item[key]) for key in keys)
    masks = fitting_masks(label, len(case["label"].names), image).as_tensor().numpy()
    return image, {index + 1: mask > 0 for index, mask in enumerate(masks) if mask.any()}


def _centre(mask: np.ndarray) -> list[float]:
    """The middle of what is true along each axis, from 0 to 1."""
    return [round((at + 0.5) / n, 4) for at, n in zip(ndimage.center_of_mass(mask), mask.shape)]


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


def _is_placed(path: Any) -> bool:
    """Whether a NIfTI file's header has an affine; true of other files.

    Raises:
        ValueError: If it has none, and no spacing.
    """
    name = str(path)
    if not name.lower().endswith((".nii", ".nii.gz")):
        return True
    with nibabel.openers.Opener(name) as file:
        try:
            header = nibabel.Nifti1Header.from_fileobj(file, check=False)
        except nibabel.wrapstruct.WrapStructError:  # a NIfTI-2 or broken file, which reading looks at
            return True
    spacing = np.asarray(header["pixdim"], dtype=float)[1:4]
    if int(header["sform_code"]) > 0:
        return True
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        listed = ", ".join(f"{mm:g}" for mm in spacing)
        raise ValueError(f"{name}: its header has the spacing {listed} mm; expected lengths above 0: mend its pixdim")
    return int(header["qform_code"]) > 0


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
