"""Tells images apart without reading all of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .class_masks import ClassMasks
from .files import is_junk

_CHUNK = 1024
_CHUNKS = 8
_GOLDEN = 0.6180339887498949  # multiples of it modulo 1 lie evenly, and not at the edges of slices or rows


def fingerprint(case: Mapping[str, Any], made_by: str = "") -> str:
    """A hash of the sizes of an image's files and of 8 KiB from all over each; of a series, from its middle file.

    Args:
        case: its ``image`` is a path, a list of paths, the folder of a series, or in memory.
        made_by: what made an image that is in memory; it is then known by this and its name.

    Returns:
        16 hexadecimal digits.
    """
    image = case["image"]
    if not isinstance(image, (str, os.PathLike, list)):
        return _digits(hashlib.sha256(f"{made_by} {case['case']}".encode(errors="surrogateescape")))
    found = hashlib.sha256()
    for path in map(Path, image if isinstance(image, list) else [image]):
        files = image_files(path)
        _add(found, files, [files[len(files) // 2]] if path.is_dir() else files)
    return _digits(found)


def label_fingerprint(case: Mapping[str, Any]) -> str | None:
    """The same of a case's label, of several masks the sizes and one's content; None where it has none in files."""
    label = case.get("label")
    if isinstance(label, ClassMasks):
        codes = hashlib.sha256("\n".join(label.codes).encode())
        _add(codes, [Path(path) for path in label.files], [])
        return _digits(codes)
    if not isinstance(label, (str, os.PathLike, list)):
        return None
    found = hashlib.sha256()
    paths = [Path(path) for path in label] if isinstance(label, list) else [Path(label)]
    files = [file for path in paths for file in image_files(path)]
    _add(found, files, [files[len(files) // 2]] if len(paths) > 1 or paths[0].is_dir() else files)
    return _digits(found)


def _add(found: hashlib._Hash, files: Sequence[Path], sampled: Sequence[Path]) -> None:
    for file in files:
        found.update(f"{file.stat().st_size} ".encode())
    for file in sampled:
        found.update(_sample(file))


def _digits(found: hashlib._Hash) -> str:
    return found.hexdigest()[:16]


def data_set_fingerprint(fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """The number of cases and a hash of their sorted names and fingerprints."""
    lines = "\n".join(f"{name} {fingerprints[name]}" for name in sorted(fingerprints))
    return {"cases": len(fingerprints), "sha256": hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()}


def _sample(file: Path) -> bytes:
    """All of a small file, or pieces of a large one."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size <= _CHUNK * _CHUNKS:
            return stream.read()
        pieces = []
        for index in range(_CHUNKS):
            stream.seek(int((index + 0.5) * _GOLDEN % 1 * (size - _CHUNK)))
            pieces.append(stream.read(_CHUNK))
    return b"".join(pieces)


def image_files(path: Path) -> list[Path]:
    """The files of an image: itself, its pair (.hdr and .img), or those in its folder, sorted."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not is_junk(file.name))
        return files or [path]
    pair = {".hdr": ".img", ".img": ".hdr"}.get(path.suffix.lower())
    other = path.with_suffix(pair) if pair else path
    return [path, other] if other != path and other.is_file() else [path]
