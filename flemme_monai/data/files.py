"""Which files are images, what kind each is, and what it is called without its suffix."""

from __future__ import annotations

import logging
import os
from pathlib import Path

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
NIFTI_SUFFIXES = (".nii.gz", ".nii", ".hdr", ".img")
ITK_SUFFIXES = (".nrrd", ".mha", ".mhd")
FASTMRI_SUFFIX = ".h5"
IMAGE_SUFFIXES = (*PICTURE_SUFFIXES, *NIFTI_SUFFIXES, *ITK_SUFFIXES, FASTMRI_SUFFIX)
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_DICOMDIR = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage
_STORAGE = "1.2.840.10008.5.1.4.1.1."
# presentation states, spatial registrations, reports, documents, structure sets, plans
_WITHOUT_IMAGE = tuple(
    _STORAGE + kind for kind in ("11.", "66.1", "66.2", "66.3", "88.", "104.", "481.3", "481.4", "481.5", "481.8")
)
_logger = logging.getLogger(__name__)


def image_suffix(path: str | os.PathLike) -> str:
    """The image suffix of a file name in lower case (".nii.gz" counts as one), "" when it is no image's.

    Args:
        path: file name or path.

    Returns:
        One of ``IMAGE_SUFFIXES``, or "".
    """
    name = os.path.basename(path).lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), "")


def image_stem(path: str | os.PathLike) -> str:
    """The name of an image without its suffix; a DICOM series is called as its folder.

    Args:
        path: file name or path of an image, or the folder of a DICOM series.

    Returns:
        The name, without folder and suffix.
    """
    name = os.path.basename(os.path.normpath(path))
    return name[: len(name) - len(image_suffix(name))]


def image_kind(path: str | os.PathLike) -> str:
    """The kind of an image: "picture" (2D), "nifti", "itk", "fastmri" or "dicom" (a folder).

    Args:
        path: path of an image, or the folder of a DICOM series.

    Returns:
        The kind.

    Raises:
        ValueError: If the suffix is no image's.
    """
    if os.path.isdir(path):
        return "dicom"
    suffix = image_suffix(path)
    for kind, suffixes in (
        ("picture", PICTURE_SUFFIXES),
        ("nifti", NIFTI_SUFFIXES),
        ("itk", ITK_SUFFIXES),
        ("fastmri", (FASTMRI_SUFFIX,)),
    ):
        if suffix in suffixes:
            return kind
    raise ValueError(
        f"{path}: the suffix is none of {', '.join(IMAGE_SUFFIXES)}; convert the file to one of these formats"
    )


def is_junk(name: str) -> bool:
    """Whether a file or folder is the operating system's own (``._x``, ``.DS_Store``, ``__MACOSX``, ``Thumbs.db``)."""
    return name.startswith(".") or name.lower() in ("__macosx", "thumbs.db", "desktop.ini")


def safe_name(name: str) -> str:
    """The name with ``_`` for what could lead out of a folder or hide a file."""
    return "".join(c if c.isalnum() or c in "-_. +" else "_" for c in name).lstrip(".") or "_"


def list_images(folder: str | os.PathLike) -> list[Path]:
    """All images below a folder, sorted: image files, and each folder that holds a DICOM series.

    Folders of DICOM without images, such as a structure set, are passed over.

    Args:
        folder: folder to search, with everything below it.

    Returns:
        Paths of files and of DICOM folders.

    Raises:
        ValueError: If one folder holds DICOM files and other images.
    """
    found: list[Path] = []
    visited: set[str] = set()
    for root, folders, files in os.walk(os.fspath(folder), followlinks=True):
        real = os.path.realpath(root)
        folders[:] = [name for name in folders if not is_junk(name)] if real not in visited else []
        if real in visited:
            continue
        visited.add(real)
        names = sorted(name for name in files if not is_junk(name))
        images = [Path(root, name) for name in names if _stands_for_an_image(name, names)]
        if _holds_dicom(root, [name for name in names if not _stands_for_an_image(name, names)]):
            if images:
                raise ValueError(
                    f"{root}: holds DICOM files and {images[0].name}; put the series in a folder of its own"
                )
            images = [Path(root)]
        found += images
    return sorted(found)


def _stands_for_an_image(name: str, names: list[str]) -> bool:
    """Whether a file of a folder is listed as an image; of a ``.hdr``/``.img`` pair only the ``.hdr`` is."""
    suffix = image_suffix(name)
    if suffix == ".hdr":
        return any(name[:-4] + other in names for other in (".img", ".IMG"))
    return suffix not in ("", ".img")


def is_dicom(path: str | os.PathLike) -> bool:
    """Whether a file is DICOM: by its suffix, or by the mark at byte 128. A DICOMDIR, an index of files, is not.

    Args:
        path: an existing file.

    Returns:
        Whether it is; False for what is no regular file.

    Raises:
        OSError: If the file may not be read.
    """
    if os.fspath(path).lower().endswith(DICOM_SUFFIXES):
        return True
    if not os.path.isfile(path):  # a pipe would wait for its writer
        return False
    return _object_class(path) not in (None, _DICOMDIR)


def _object_class(path: str | os.PathLike) -> str | None:
    """The class of a DICOM object, "" where the head of the file does not tell it, None without the mark of DICOM."""
    with open(path, "rb", buffering=0) as file:
        head = file.read(512)
    if head[128:132] != b"DICM":
        return None
    at = head.find(b"\x02\0\x02\0UI", 132)
    return "" if at < 0 else head[at + 8 : at + 8 + head[at + 6]].rstrip(b"\0").decode("latin-1")


def _holds_dicom(folder: str, names: list[str]) -> bool:
    """Whether one of a folder's files is a DICOM image, or DICOM that does not tell."""
    others = 0
    for path in (os.path.join(folder, name) for name in names):
        if is_dicom(path):
            if not (os.path.isfile(path) and (_object_class(path) or "").startswith(_WITHOUT_IMAGE)):
                return True
            others += 1
    if others:
        _logger.info("%s: passed over %d files (DICOM without an image)", folder, others)
    return False
