"""Save predictions in the input's own kind of file, with its geometry."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.transforms import Orientation

from ..data.files import PICTURE_SUFFIXES, image_stem, image_suffix
from ..data.itk_files import write_deep_png
from ..data.nifti import check_affine, header_of, volume_like
from ..data.refusal import RefusalError
from ..utils import replacing, user_path, writable_dir
from ..utils.pictures import ERROR_GAIN, PICTURES, label_map

_logger = logging.getLogger(__name__)


class SavePredictions:
    """Writes ``<stem>_<postfix>`` of each case, PNG for pictures and NIfTI for volumes, and a PNG overlay beside it.

    A volume goes back to the axes and affine that its file has. Label maps are uint8 (uint16 above 255 labels) with the
    labels as values. Reconstructions get the file's dtype and value range back where ``meta["intensity_range"]`` of the
    image holds the values that became 0 and 1; uncertainties are differences of such values, in a PNG five times as
    bright. Of two inputs with one stem the second is named after its folder too.

    Args:
        output_dir: where the files go.
        postfix: end of their names.
        task: "segmentation" (``pred`` is a label map or has a channel a class), "reconstruction", or "uncertainty" (a
            reconstruction's standard deviation, which has no overlay).
        overlay: whether to draw overlays.
        key: what is saved of an evaluator's output.

    Raises:
        ValueError: an unknown task, or a postfix that is empty or no part of a file's name.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        postfix: str = "pred",
        task: str = "segmentation",
        overlay: bool = True,
        key: str = "pred",
    ) -> None:
        if task not in (*PICTURES, "uncertainty"):
            raise ValueError(f"task is {task!r}, expected {', '.join(map(repr, PICTURES))} or 'uncertainty'")
        if not postfix or safe(postfix) != postfix:
            raise ValueError(f"postfix is {postfix!r}, expected letters that can stand in a file's name")
        self.output_dir = user_path(output_dir)
        self.postfix = postfix
        self.task = task
        self.key = key
        self._draw = PICTURES.get(task) if overlay else None
        self._names: set[str] = set()

    def attach(self, engine: Engine) -> None:
        """Save what ``engine``, an evaluator, predicts."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        writable_dir(self.output_dir)
        self._names = set()

    def __call__(self, engine: Engine) -> None:
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.save(output["image"], output[self.key], output.get("label"), str(batch.get("case", "case")))

    def save(
        self, image: torch.Tensor, pred: torch.Tensor, label: torch.Tensor | None = None, case: str = "case"
    ) -> Path:
        """Write one case.

        Args:
            image: the network's input (C, *S) with the meta data of its file.
            pred: the prediction (C_out, *S), on the image's grid or put back on that of its file by ``Invertd``.
            label: the truth (C_label, *S), for the overlay.
            case: names an image that comes from no file.

        Returns:
            The file of the prediction.

        Raises:
            ValueError: ``pred`` has another size than ``image``.
        """
        meta = getattr(image, "meta", {})
        on_image = turned_like(pred, image)
        if on_image.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"the prediction of {case} is {tuple(on_image.shape[1:])} and its image {tuple(image.shape[1:])}"
            )
        name = self._name(str(meta.get("filename_or_obj", "")), case)
        volume = image.ndim == 4 or is_volume(image)
        path = self.output_dir / f"{name}_{self.postfix}{'.nii.gz' if volume else '.png'}"
        if self.task == "segmentation":
            values = self._labels(pred)
        elif self.task == "uncertainty":
            values = spread(pred, meta) if volume else ERROR_GAIN * pred.detach().cpu().numpy()
        else:  # a PNG has no floats
            whole = np.dtype(meta.get("original_dtype", np.float32)).kind in "iu"
            values = intensities(pred, meta if volume or whole else {})
        if volume:
            write_nifti(path, values, {**meta, "affine": pred.affine} if has_place(pred) else meta)
        else:
            write_picture(path, values)
        if self._draw is not None:
            from PIL import Image

            picture = self._draw(image, on_image, label, volume=is_volume(image))
            with replacing(self.output_dir / f"{name}_{self.postfix}_overlay.png") as part:
                Image.fromarray(picture).save(part)
        return path

    @staticmethod
    def _labels(pred: torch.Tensor) -> np.ndarray:
        labels = label_map(pred)[None]
        return labels.astype(np.uint8 if labels.max() < 256 else np.uint16)

    def _name(self, source: str, case: str) -> str:
        """A name for ``source``, or for ``case`` without one, that no other input of this run has."""
        words = [safe(case)]
        if source:
            words = [image_stem(source), *(parent.name for parent in Path(source).parents if parent.name)]
        names = ["_".join(reversed(words[: i + 1])) for i in range(len(words))]
        names += [f"{words[0]}_{i}" for i in range(2, len(self._names) + 3)]
        name = next(n for n in names if n not in self._names)
        self._names.add(name)
        return name


def safe(name: str) -> str:
    """The name with ``_`` for what could lead out of a folder or hide a file."""
    return "".join(c if c.isalnum() or c in "-_. +" else "_" for c in name).lstrip(".") or "_"


def is_volume(image: torch.Tensor) -> bool:
    """Whether an image (C, *S) comes from a volume's file: a NIfTI, an NRRD, a folder of DICOM."""
    source = str(getattr(image, "meta", {}).get("filename_or_obj", ""))
    return bool(source) and image_suffix(source) not in PICTURE_SUFFIXES


def has_place(pred: torch.Tensor) -> bool:
    """Whether a prediction knows where it lies: its meta data are an image's, not those that MONAI makes of none."""
    return "original_affine" in getattr(pred, "meta", {})


def turned_like(pred: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """A volume's prediction with its axes turned to those of the image.

    Args:
        pred: (C_out, *S); without a place of its own it has the image's axes.
        image: (C, *S) with the meta data of its file.

    Returns:
        (C_out, *S).
    """
    import nibabel

    if pred.ndim != 4 or not has_place(pred) or not has_place(image):
        return pred
    axcodes = "".join(nibabel.aff2axcodes(image.affine.numpy()))
    return Orientation(axcodes, labels=(("L", "R"), ("P", "A"), ("I", "S")))(pred)


def intensities(pred: torch.Tensor, meta: Mapping[str, Any]) -> np.ndarray:
    """A reconstruction in the value range and dtype of its file, as far as they are known.

    Args:
        pred: (C, *S), 0 and 1 stand for the ends of the range.
        meta: ``intensity_range`` (low, high), each a number or one a channel, and ``original_dtype``.

    Returns:
        The values (C, *S); in [0, 1] as float32 without an ``intensity_range``.
    """
    values = pred.detach().cpu().double().numpy()
    if "intensity_range" not in meta:
        return values.astype(np.float32)
    axes = (-1,) + (1,) * (values.ndim - 1)
    low, high = (np.asarray(v, dtype=np.float64).reshape(axes) for v in meta["intensity_range"])
    values = values * (high - low) + low
    dtype = np.dtype(meta.get("original_dtype", np.float32))
    if dtype.kind not in "iu":
        return values.astype(np.float64 if dtype == np.float64 else np.float32)
    bounds = np.iinfo(dtype)
    return np.clip(np.rint(values), bounds.min, bounds.max).astype(dtype)


def spread(pred: torch.Tensor, meta: Mapping[str, Any]) -> np.ndarray:
    """A deviation (C, *S) in the units of its file, as far as they are known; arguments as :func:`intensities`."""
    low, high = (np.asarray(v, dtype=np.float64) for v in meta.get("intensity_range", (0.0, 1.0)))
    width = (high - low).reshape((-1,) + (1,) * (pred.ndim - 1))
    return (pred.detach().cpu().numpy() * width).astype(np.float32)


def write_nifti(path: Path, values: np.ndarray, meta: Mapping[str, Any]) -> None:
    """Write a volume (C, X, Y, Z) or a 2D image (C, X, Y) with the axes and the place in space of its file.

    From a NIfTI file it also gets the qform, the sform and their codes, the units and the description.

    Args:
        path: ends in ``.nii.gz`` or ``.nii``.
        values: in the axes of ``meta["affine"]``.
        meta: ``affine``, ``original_affine`` of the file and, of a NIfTI file, ``nifti_header`` (see
            :func:`flemme_monai.data.reading.read_stored`) or the header's fields.

    Raises:
        ValueError: an affine is degenerate.
    """
    import nibabel

    flat = values.ndim == 3
    values = np.moveaxis(values[..., None] if flat else values, 0, -1)  # (X, Y, Z, C)
    affine = np.asarray(meta.get("affine", np.eye(4)), dtype=np.float64)
    original = np.asarray(meta.get("original_affine", affine), dtype=np.float64)
    for matrix in (affine, original):
        try:
            check_affine(matrix, "the affine of its image")
        except RefusalError as error:
            raise ValueError(f"{path}: {error}") from None
    turn = nibabel.io_orientation(np.linalg.inv(original) @ affine)  # of the image's axes in those of the file
    turned = nibabel.apply_orientation(values, turn)
    affine = affine @ nibabel.orientations.inv_ornt_aff(turn, values.shape[:3])
    if np.allclose(np.linalg.solve(original, affine), np.eye(4), atol=1e-3):
        affine = original
    turned = turned[..., 0] if turned.shape[-1] == 1 else turned
    header = header_of(meta)
    volume = volume_like(turned[:, :, 0] if flat and turned.ndim == 3 else turned, affine, header)
    if header is None and not volume.header["qform_code"]:
        _logger.info(f"{path}: the affine has shears, which a qform cannot hold; only its sform places it")
    with replacing(path) as part:
        nibabel.save(volume, part)


def write_picture(path: Path, values: np.ndarray) -> None:
    """Write an image as PNG.

    Args:
        path: ends in ``.png``.
        values: (C, W, H), 1 channel is grey, 3 are red, green, blue, 4 have alpha; integers, or floats from 0 to 1.

    Raises:
        ValueError: a PNG cannot hold so many channels.
    """
    from PIL import Image

    array = values[0].T if len(values) == 1 else values.T  # (H, W) or (H, W, C)
    if array.dtype.kind == "f":
        array = np.rint(np.clip(array, 0, 1) * 255)
    if array.dtype not in (np.uint8, np.uint16):
        array = np.clip(array, 0, 65535).astype(np.uint8 if array.max() < 256 else np.uint16)
    if len(values) > 4:
        raise ValueError(
            f"{path} cannot be written: a PNG holds up to 4 channels, this has {len(values)}; give the images as NIfTI"
        )
    array = np.ascontiguousarray(array)
    with replacing(path) as part:
        if len(values) > 1 and array.dtype == np.uint16:  # of which Pillow keeps 8 bits
            write_deep_png(part, array)
        else:
            Image.fromarray(array).save(part)
