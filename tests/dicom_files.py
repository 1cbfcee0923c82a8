"""Writes DICOM files tag by tag, so that tests can write what no scanner should."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
JPEG, JPEG_2000 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
UNDEFINED = 0xFFFFFFFF
_KINDS = {  # keyword: tag, VR
    "ImageType": (0x00080008, "CS"),
    "SOPClassUID": (0x00080016, "UI"),
    "SOPInstanceUID": (0x00080018, "UI"),
    "SeriesDate": (0x00080021, "DA"),
    "SeriesTime": (0x00080031, "TM"),
    "Modality": (0x00080060, "CS"),
    "SeriesDescription": (0x0008103E, "LO"),
    "StudyInstanceUID": (0x0020000D, "UI"),
    "SeriesInstanceUID": (0x0020000E, "UI"),
    "AcquisitionNumber": (0x00200012, "IS"),
    "InstanceNumber": (0x00200013, "IS"),
    "ImagePositionPatient": (0x00200032, "DS"),
    "ImageOrientationPatient": (0x00200037, "DS"),
    "SamplesPerPixel": (0x00280002, "US"),
    "PhotometricInterpretation": (0x00280004, "CS"),
    "PlanarConfiguration": (0x00280006, "US"),
    "NumberOfFrames": (0x00280008, "IS"),
    "Rows": (0x00280010, "US"),
    "Columns": (0x00280011, "US"),
    "PixelSpacing": (0x00280030, "DS"),
    "BitsAllocated": (0x00280100, "US"),
    "BitsStored": (0x00280101, "US"),
    "HighBit": (0x00280102, "US"),
    "PixelRepresentation": (0x00280103, "US"),
    "RescaleIntercept": (0x00281052, "DS"),
    "RescaleSlope": (0x00281053, "DS"),
}


def element(tag: int, kind: str, value: bytes, syntax: str = EXPLICIT, length: int | None = None) -> bytes:
    """One data element; ``length`` is what it claims, where that is not what it has."""
    value += b"\0" * (len(value) % 2) if kind in ("UI", "OB", "OW", "SQ") else b" " * (len(value) % 2)
    length = len(value) if length is None else length
    order = ">" if syntax == BIG_ENDIAN else "<"
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack("<I", length) + value
    if kind in ("OB", "OW", "SQ", "UN"):
        return head + kind.encode() + struct.pack(order + "HI", 0, length) + value
    return head + kind.encode() + struct.pack(order + "H", length) + value


def dicom_bytes(tags: dict[str, str | int], pixels: bytes, syntax: str = EXPLICIT) -> bytes:
    """A DICOM file.

    Args:
        tags: value by keyword.
        pixels: the Pixel Data element, "" for none.
        syntax: the transfer syntax.
    """
    meta = element(0x00020002, "UI", str(tags["SOPClassUID"]).encode())
    meta += element(0x00020003, "UI", str(tags.get("SOPInstanceUID", "")).encode()) + element(
        0x00020010, "UI", syntax.encode()
    )
    meta = element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta
    body = b""
    order = ">H" if syntax == BIG_ENDIAN else "<H"
    for (tag, kind), value in sorted((_KINDS[name], value) for name, value in tags.items()):
        body += element(tag, kind, struct.pack(order, value) if kind == "US" else str(value).encode(), syntax)
    return b"\0" * 128 + b"DICM" + meta + body + pixels


def numbers(values: Sequence[float]) -> str:
    """Decimal numbers as DICOM writes them."""
    return "\\".join(f"{value:.8g}" for value in values)


def write_slice(
    path: Path, pixels: np.ndarray, syntax: str = EXPLICIT, data: bytes | None = None, **tags: str | int
) -> Path:
    """A CT slice, in the axial plane at 0 if ``tags`` say nothing else.

    Args:
        path: the file.
        pixels: (rows, columns) or (rows, columns, 3), integers of 8 or 16 bits.
        syntax: the transfer syntax.
        data: the Pixel Data element, where it is not the plain pixels.
        tags: further values, or other ones, by keyword; "" leaves a tag out.
    """
    bits = 8 * pixels.dtype.itemsize
    given = {
        "SOPClassUID": CT,
        "SOPInstanceUID": f"1.2.3.{zlib.crc32(os.fsencode(path))}",
        "Modality": "CT",
        "StudyInstanceUID": "1.2.9",
        "SeriesInstanceUID": "1.2.3",
        "ImagePositionPatient": numbers([0, 0, 0]),
        "ImageOrientationPatient": numbers([1, 0, 0, 0, 1, 0]),
        "SamplesPerPixel": pixels.shape[2] if pixels.ndim == 3 else 1,
        "PhotometricInterpretation": "RGB" if pixels.ndim == 3 else "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "PixelSpacing": numbers([1, 1]),
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if pixels.ndim == 3:
        given["PlanarConfiguration"] = 0
    given = {name: value for name, value in {**given, **tags}.items() if value != ""}
    if data is None:
        order = ">" if syntax == BIG_ENDIAN else "<"
        data = element(0x7FE00010, "OW", pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(), syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_bytes(given, data, syntax))
    return path


def write_slices(
    folder: Path,
    volume: np.ndarray,
    positions: Sequence[Sequence[float]] | None = None,
    each: Sequence[dict[str, str | int]] = (),
    **tags: str | int,
) -> list[Path]:
    """A series of one file per slice: 0.dcm, 1.dcm, ...

    Args:
        folder: its folder.
        volume: (rows, columns, slices).
        positions: of each slice in LPS mm; 3 mm apart along z where they are not given.
        each: further tags of each slice.
        tags: further tags of all slices.
    """
    count = volume.shape[2]
    positions = [(0, 0, 3 * k) for k in range(count)] if positions is None else positions
    paths = []
    for k in range(count):
        own = {
            "InstanceNumber": k + 1,
            "ImagePositionPatient": numbers(positions[k]),
            **tags,
            **(each[k] if each else {}),
        }
        paths.append(write_slice(folder / f"{k}.dcm", volume[..., k], **own))
    return paths


def encapsulated(*fragments: bytes) -> bytes:
    """The Pixel Data element of compressed fragments."""
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in (b"", *fragments))
    return element(0x7FE00010, "OB", items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), length=UNDEFINED)
