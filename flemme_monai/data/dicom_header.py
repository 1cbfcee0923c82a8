"""What the header of one DICOM file says, read before ITK sees the file.

ITK cannot tell this: its GDCM reads a file whole, pixels included, before it tells anything, keeps the transfer syntax
and the length of the pixel data to itself, takes the memory that the header claims (19 GB for a file of 1 kB), and ends
the process on sequences that are nested deep enough.
"""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass

from .dicom_elements import IMPLICIT, ITEM_MARK, UNCOMPRESSED, Elements

_PHASE_TAGS = (
    "AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime", "TriggerTime", "DiffusionBValue", "ImageType",
    "AcquisitionTime",
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """One DICOM image as its header describes it.

    Attributes:
        path: the file.
        sop_class: what kind of object it is, a UID.
        sop_uid: the object's own UID, "" without one.
        series: its series' UID, or where it has none (anonymised files) the series' number.
        description: the series' description.
        modality: such as ``CT``, "" where it is not given.
        mosaic: whether the picture is a sheet of slices (Siemens MOSAIC).
        frames: images in the file; 0 for DICOM without an image (a DICOMDIR, a structure set, a report).
        size: (columns, rows).
        samples: values per pixel: 1, or 3 for colour.
        photometric: MONOCHROME1, MONOCHROME2, RGB, ...
        spacing: (along a row, along a column) in mm, None where it is not given.
        position: (3,), the first pixel's centre in LPS mm, None where it is not given.
        orientation: (6,), the directions of a row and of a column in LPS, None where it is not given.
        phase: what can tell two images at one position apart, by the DICOM keyword.
        claimed_bytes: the size of the decoded pixels.
        stored_bytes: the size of the pixel data in the file.
        compressed: whether they are compressed.
    """

    path: str
    sop_class: str
    sop_uid: str
    series: str
    description: str
    modality: str
    mosaic: bool
    frames: int
    size: tuple[int, int]
    samples: int
    photometric: str
    spacing: tuple[float, ...] | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    phase: dict[str, str]
    claimed_bytes: int
    stored_bytes: int
    compressed: bool

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return os.path.basename(self.path)


def read_header(path: str) -> Header:
    """Reads what the header of a DICOM file says of its image.

    Args:
        path: the file.

    Returns:
        The header.

    Raises:
        ValueError: If the file is no DICOM, is cut short, or holds fewer pixels than its header claims.
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < 8:
            raise ValueError("is empty or cut short")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            elements = Elements(data)
    texts, numbers = elements.text, elements.integer
    if elements.pixels is None and "Rows" in elements.found:
        raise ValueError("has no pixel data; it is cut short, or of a kind that is not read")
    columns, rows = numbers("Columns"), numbers("Rows")
    samples, bits = numbers("SamplesPerPixel", 1), numbers("BitsAllocated")
    frames = 0 if elements.pixels is None else numbers("NumberOfFrames", 1)
    if elements.pixels is not None and min(columns, rows, samples, bits, frames) < 1:
        raise ValueError(
            f"claims {columns} columns, {rows} rows, {samples} samples of {bits} bits and {frames} frames; "
            "expected 1 or more of each"
        )
    photometric = texts("PhotometricInterpretation")
    compressed = (texts("transfer_syntax") or IMPLICIT) not in UNCOMPRESSED
    halved = photometric == "YBR_FULL_422" and samples == 3 and not compressed  # one colour for two pixels
    claimed = math.ceil(columns * rows * (2 if halved else samples) * frames * bits / 8)
    for name in ("RescaleIntercept", "RescaleSlope"):
        if name in elements.found and not elements.decimals(name, 1):  # of which GDCM makes any number
            raise ValueError(f"has an empty {name}; expected a number, or no such element")
    if elements.found.get("ModalityLUTSequence", b"")[:4] == ITEM_MARK[elements.order]:
        raise ValueError("has a Modality LUT, which is not applied; convert it, or store its values through a slope")
    if elements.decimals("RescaleSlope", 1) == (0.0,):
        raise ValueError("has the RescaleSlope 0, which leaves no image")
    header = Header(
        path=path,
        sop_class=texts("sop_class") or texts("MediaStorageSOPClassUID"),
        sop_uid=texts("sop_uid") or texts("MediaStorageSOPInstanceUID"),
        series=texts("series_uid") or f"number {texts('SeriesNumber')}",
        description=" ".join(texts("SeriesDescription").split()),
        modality=texts("Modality"),
        mosaic="MOSAIC" in texts("ImageType").split("\\"),
        frames=frames,
        size=(columns, rows),
        samples=samples,
        photometric=photometric,
        spacing=elements.decimals("PixelSpacing", 2)[::-1] or None,
        position=elements.decimals("ImagePositionPatient", 3) or None,
        orientation=elements.decimals("ImageOrientationPatient", 6) or None,
        phase={name: texts(name) for name in _PHASE_TAGS if texts(name)},
        claimed_bytes=claimed,
        stored_bytes=elements.pixels or 0,
        compressed=compressed,
    )
    if not header.compressed and header.claimed_bytes > header.stored_bytes:
        raise ValueError(
            f"claims {columns} x {rows} pixels in {header.claimed_bytes} bytes and holds {header.stored_bytes}; "
            "it is damaged or cut short"
        )
    if elements.coded not in (None, (columns, rows, samples)):
        raise ValueError(
            f"claims {columns} x {rows} pixels of {samples} samples where its compressed image has "
            f"{elements.coded[0]} x {elements.coded[1]} of {elements.coded[2]}; it is damaged"
        )
    return header
