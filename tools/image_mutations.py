"""Small images of every kind that is read, and damaged copies of them; a seed gives the same damage always."""

from __future__ import annotations

import gzip
import random
import re
import struct
import zlib
from pathlib import Path

import itk
import nibabel
import numpy as np
from PIL import Image

_WHOLE = (0, 1, 2, 7, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_REAL = (0.0, -1.0, 1e-30, 1e30, 3e38, float("nan"), float("inf"), -float("inf"))
_WORDS = (
    "0",
    "-1",
    "1",
    "5",
    "99999",
    "3000 3000 300",
    "4294967297",
    "99999999999999999999",
    "nan",
    "1e38",
    "",
    "x" * 300,
)
# of NIfTI-1: dim, datatype, bitpix, pixdim, vox_offset, slope, intercept, codes, quaternion, sform, magic
_NIFTI_WHOLE = (0, *range(40, 56, 2), 70, 72, 252, 254, 344)
_NIFTI_REAL = (*range(76, 108, 4), 108, 112, 116, *range(256, 328, 4))


def write_samples(folder: Path) -> list[Path]:
    """Writes whole images of every kind.

    Args:
        folder: an empty folder.

    Returns:
        The images; a DICOM series is its folder.
    """
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (12, 10), dtype=np.uint8)
    color = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    volume = rng.integers(0, 900, (7, 6, 5)).astype(np.int16)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gray).save(folder / "gray.png")
    Image.fromarray(color).save(folder / "color.png", exif=exif)
    palette = Image.fromarray(gray % 4, mode="P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(folder / "palette.png")
    Image.fromarray(gray.astype(np.uint16) * 200).save(folder / "deep.png")
    Image.fromarray(gray).save(folder / "gray.jpg")
    Image.fromarray(color).save(folder / "color.jpg", exif=exif)
    Image.fromarray(color).save(folder / "progressive.jpg", progressive=True)
    Image.fromarray(gray.astype(np.float32)).save(folder / "float.tif")
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        Image.fromarray(color).save(folder / f"{compression}.tif", compression=compression)
    Image.fromarray(gray > 128).save(folder / "fax.tif", compression="group4")
    itk.imwrite(itk.image_view_from_array(color.astype(np.uint16) * 256, is_vector=True), str(folder / "deep.tif"))
    Image.fromarray(color).save(folder / "color.bmp")
    palette.save(folder / "palette.bmp")
    for name in ("a.nii", "a.nii.gz", "pair.hdr"):
        kind = nibabel.Nifti1Pair if name.endswith("hdr") else nibabel.Nifti1Image
        nibabel.save(kind(volume, np.diag([-2.0, 2, 3, 1])), folder / name)
    nibabel.save(nibabel.Nifti2Image(volume, np.eye(4)), folder / "second.nii")
    nibabel.save(nibabel.AnalyzeImage(volume, None), folder / "analyze.hdr")
    image = itk.image_from_array(volume)
    for suffix in (".nrrd", ".mha", ".mhd"):
        for compressed in (False, True):
            itk.imwrite(image, str(folder / f"{'zip' if compressed else 'raw'}{suffix}"), compression=compressed)
    _write_series(folder / "series", volume)
    return sorted(path for path in folder.iterdir() if path.suffix not in (".img", ".raw", ".zraw"))


def _write_series(folder: Path, volume: np.ndarray) -> None:
    folder.mkdir()
    for index, plane in enumerate(volume):
        image = itk.image_from_array(plane[None])
        image.SetOrigin([0.0, 0.0, 2.0 * index])
        tags = image.GetMetaDataDictionary()
        tags["0008|0060"], tags["0020|000e"], tags["0020|000d"] = "CT", "1.2.3", "1.2.9"
        tags["0020|0013"], tags["0020|0032"] = str(index + 1), f"0\\0\\{2 * index}"
        tags["0020|0037"] = "1\\0\\0\\0\\1\\0"
        writer = itk.ImageFileWriter.New(image)
        writer.SetImageIO(itk.GDCMImageIO.New(KeepOriginalUID=True))
        writer.SetFileName(str(folder / f"{index}.dcm"))
        writer.Update()


def write_mutant(sample: Path, folder: Path, seed: int) -> tuple[Path, str]:
    """Writes a damaged copy of an image.

    Args:
        sample: of :func:`write_samples`.
        folder: an empty folder.
        seed: chooses the damage.

    Returns:
        The copy's path and what was done to it.
    """
    rng = random.Random(f"{sample.name} {seed}")
    parts = sorted(sample.iterdir()) if sample.is_dir() else _parts(sample)
    where = folder / sample.name if sample.is_dir() else folder
    where.mkdir(exist_ok=True)
    target = rng.choice(parts)
    done = ""
    for part in parts:
        content = part.read_bytes()
        if part is target:
            content, done = _damaged(content, part.suffix, rng)
        (where / part.name).write_bytes(content)
    path = folder / sample.name
    if not sample.is_dir() and rng.random() < 0.05:
        suffix = rng.choice((".png", ".jpg", ".tif", ".bmp", ".nii", ".nii.gz", ".hdr", ".nrrd", ".mha"))
        path = path.rename(folder / f"swapped{suffix}")
        done += f", called {suffix}"
    return path, done


def _parts(sample: Path) -> list[Path]:
    """The files of an image: one, or a header and its voxels."""
    others = [sample.with_suffix(suffix) for suffix in (".img", ".raw", ".zraw")]
    text = sample.read_bytes() if sample.suffix == ".mhd" else b""
    return [sample] + [other for other in others if other.exists() and (not text or other.name.encode() in text)]


def _damaged(content: bytes, suffix: str, rng: random.Random) -> tuple[bytes, str]:
    if suffix == ".gz" and rng.random() < 0.7:
        inner, done = _damaged(gzip.decompress(content), ".nii", rng)
        return gzip.compress(inner), f"within gzip: {done}"
    damages = [_flip, _cut, _overwrite, _overwrite, _repeat]
    if suffix in (".nii", ".hdr"):
        damages += [_nifti_field] * 6
    if suffix in (".nrrd", ".mha", ".mhd"):
        damages += [_text_field] * 6
    if suffix == ".png":
        damages += [_png_field] * 4
    marks: list[str] = []
    data = bytearray(content)
    for damage in rng.choices(damages, k=rng.choice((1, 1, 1, 2, 3))):
        if data:
            marks.append(damage(data, rng))
    return bytes(data), "; ".join(marks)


def _place(data: bytearray, rng: random.Random) -> int:
    """Somewhere in the data, most often near the beginning, where headers are, or the end."""
    near = min(len(data), rng.choice((16, 64, 400, 400, len(data))))
    offset = rng.randrange(near)
    return offset if rng.random() < 0.85 else len(data) - 1 - offset


def _flip(data: bytearray, rng: random.Random) -> str:
    places = [_place(data, rng) for _ in range(rng.choice((1, 1, 2, 8, 64)))]
    for place in places:
        data[place] ^= 1 << rng.randrange(8)
    return f"bits flipped at {places[:4]}"


def _cut(data: bytearray, rng: random.Random) -> str:
    size = _place(data, rng)
    del data[size:]
    return f"cut to {size} bytes"


def _repeat(data: bytearray, rng: random.Random) -> str:
    first, place, count = _place(data, rng), _place(data, rng), rng.randrange(1, 200)
    data[place:place] = data[first : first + count]
    return f"{count} bytes of {first} repeated at {place}"


def _overwrite(data: bytearray, rng: random.Random) -> str:
    form = rng.choice("<>") + rng.choice("BHIIQf")
    place, value = _place(data, rng), rng.choice(_REAL) if form[1] == "f" else rng.choice(_WHOLE)
    _put(data, place, form, value)
    return f"{value} ({form}) at {place}"


def _nifti_field(data: bytearray, rng: random.Random) -> str:
    value: float
    if rng.random() < 0.5:
        place, form, value = rng.choice(_NIFTI_WHOLE), "<h", rng.choice((-1, 0, 1, 2, 7, 128, 2304, 3000, 32767))
    else:
        place, form, value = rng.choice(_NIFTI_REAL), "<f", rng.choice(_REAL)
    _put(data, place, form, value)
    return f"field at {place} is {value}"


def _text_field(data: bytearray, rng: random.Random) -> str:
    """Another value for one number, or one line left out or twice, of a text header."""
    head = bytes(data[:600])
    lines = list(re.finditer(rb"[^\n]*\n", head))
    numbers = list(re.finditer(rb"(?<=[ (,])-?[0-9][0-9. ]*", head))
    if not lines or not numbers or rng.random() < 0.3:
        if not lines:
            return "no lines"
        line = rng.choice(lines)
        data[line.start() : line.end()] = line.group() * rng.choice((0, 2))
        return f"line {line.group()[:40]!r} left out or twice"
    number, word = rng.choice(numbers), rng.choice(_WORDS)
    data[number.start() : number.end()] = word.encode()
    return f"{number.group()!r} is {word[:20]!r}"


def _png_field(data: bytearray, rng: random.Random) -> str:
    """A damaged chunk of a PNG with a checksum that agrees."""
    chunks, place = [], 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        chunks.append((place, size))
        place += size + 12
    if not chunks:
        return "no chunks"
    place, size = rng.choice((chunks[0], rng.choice(chunks)))
    if not 0 < size <= len(data) - place - 12:
        return "no whole chunk"
    form = rng.choice((">B", ">I"))
    value = rng.choice(_WHOLE)
    _put(data, place + 8 + rng.randrange(size), form, value)
    struct.pack_into(">I", data, place + 8 + size, zlib.crc32(data[place + 4 : place + 8 + size]))
    return f"{value} ({form}) in the chunk at {place}"


def _put(data: bytearray, place: int, form: str, value: float) -> None:
    size = struct.calcsize(form)
    if form[1] in "BHIQ":
        value = int(value) % (1 << (8 * size))
    if place + size <= len(data):
        struct.pack_into(form, data, place, value)
