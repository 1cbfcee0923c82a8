"""Checks what the text headers of NRRD and MetaImage files claim."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import BinaryIO

from .claims import check_compressed, check_held
from .refusal import RefusalError

_MOST_LINES, _LONGEST_LINE = 4096, 8192
_NRRD_TYPES = {
    1: "signed char, int8, int8_t, uchar, unsigned char, uint8, uint8_t",
    2: "short, short int, signed short, signed short int, int16, int16_t, ushort, unsigned short, unsigned short int, "
    "uint16, uint16_t",
    4: "int, signed int, int32, int32_t, uint, unsigned int, uint32, uint32_t, float",
    8: "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t, ulonglong, "
    "unsigned long long, unsigned long long int, uint64, uint64_t, double",
}
_NRRD_BYTES = {name: size for size, names in _NRRD_TYPES.items() for name in names.split(", ")}
_META_TYPES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8}
_META_BYTES = {f"MET_{sign}{name}": size for name, size in _META_TYPES.items() for sign in ("", "U")}
_META_BYTES |= {"MET_FLOAT": 4, "MET_DOUBLE": 8}


def check_nrrd(path: str) -> None:
    """Refuses an NRRD, with its voxels in the file or beside it, that claims more than it holds.

    Args:
        path: the file.

    Raises:
        RefusalError: If the header is damaged, claims too much, or the voxels are in several files.
    """
    with open(path, "rb") as file:
        if not file.readline(16).startswith(b"NRRD000"):
            raise RefusalError("cannot be read: it does not begin with NRRD000 as an NRRD file does; replace it")
        fields = _fields(file, b":", lambda key, line: not line.strip())
        start = file.tell()
    fields = {key.lower().replace(" ", ""): value for key, value in fields.items()}
    shape = _numbers(fields, "sizes", "dimension")
    kind = fields.get("type", "").lower()
    if kind not in _NRRD_BYTES:
        raise RefusalError(f"has voxels of type {kind!r}; expected integers of 8 to 64 bits, float or double")
    claimed = math.prod(shape) * _NRRD_BYTES[kind]
    what = f"{_times(shape)} voxels of {kind}"
    source = fields.get("datafile")
    if source is not None:
        start = 0
    source = path if source is None else _beside(path, source)
    encoding = fields.get("encoding", "").lower()
    if encoding in ("gzip", "gz"):
        check_compressed(claimed, source, what, start)
    elif encoding in ("raw", "hex", "ascii", "text", "txt"):
        held = os.path.getsize(source) - start
        least = {"raw": claimed, "hex": 2 * claimed}.get(encoding, 2 * math.prod(shape) - 1)
        check_held(least, held, what)
    else:
        raise RefusalError(f"has the encoding {encoding!r}; expected raw, gzip, ascii or hex: save it anew")


def check_metaimage(path: str) -> None:
    """Refuses a MetaImage, with its voxels in the file or beside it, that claims more than it holds.

    Args:
        path: the ``.mha`` or ``.mhd``.

    Raises:
        RefusalError: If the header is damaged, claims too much, or the voxels are in several files.
    """
    with open(path, "rb") as file:
        fields = _fields(file, b"=", lambda key, line: key == "ElementDataFile")
        start = file.tell()
    shape = _numbers(fields, "DimSize", "NDims")
    kind = fields.get("ElementType", "")
    source = fields.get("ElementDataFile")
    if kind not in _META_BYTES or source is None:
        raise RefusalError(
            f"has voxels of type {kind!r} in {source or 'no file'}; expected an ElementType of MET_UCHAR to "
            "MET_DOUBLE and an ElementDataFile"
        )
    channels = _number(fields, "ElementNumberOfChannels", 1)
    claimed = math.prod(shape) * channels * _META_BYTES[kind]
    what = f"{_times(shape)} voxels of {channels} x {kind}"
    if source.upper() != "LOCAL":
        start, path = 0, _beside(path, source)
    if fields.get("CompressedData", "False").lower() in ("true", "1"):
        held = os.path.getsize(path) - start
        check_held(_number(fields, "CompressedDataSize", 0), held, "compressed data")
        check_compressed(claimed, path, what, start, gzipped=False)
    else:
        text = fields.get("BinaryData", "True").lower() in ("false", "0")
        check_held(2 * math.prod(shape) * channels - 1 if text else claimed, os.path.getsize(path) - start, what)


def _fields(file: BinaryIO, separator: bytes, is_last: Callable[[str, bytes], bool]) -> dict[str, str]:
    """The fields of a header up to its last line, or the end of the file."""
    fields: dict[str, str] = {}
    for _ in range(_MOST_LINES):
        line = file.readline(_LONGEST_LINE)
        key, found, value = line.partition(separator)
        name = key.decode("latin-1").strip()
        if found and not line.startswith(b"#"):
            fields[name] = value.decode("latin-1").strip()
        if not line or is_last(name, line):
            return fields
        if len(line) == _LONGEST_LINE:
            break
    raise RefusalError("has a header without end; it is damaged: replace it")


def _numbers(fields: dict[str, str], key: str, count: str) -> list[int]:
    """The size of each axis."""
    words = fields.get(key, "").split()
    if not all(word.isascii() and word.isdigit() and int(word) for word in words) or not 2 <= len(words) <= 4:
        raise RefusalError(f"has {key} {' '.join(words)[:80]!r} in its header; expected 2 to 4 positive numbers")
    if fields.get(count) != str(len(words)):
        raise RefusalError(f"has {count} {fields.get(count)} and {len(words)} numbers in {key}; expected as many")
    return [int(word) for word in words]


def _number(fields: dict[str, str], key: str, default: int) -> int:
    word = fields.get(key, str(default))
    if not (word.isascii() and word.isdigit()) or len(word) > 18:
        raise RefusalError(f"has {key} {word[:80]!r} in its header; expected a number")
    return int(word)


def _beside(path: str, source: str) -> str:
    """The file that holds a header's voxels."""
    if source.split()[:1] in (["LIST"], ["List"]) or "%" in source:
        raise RefusalError(f"has its voxels in several files ({source[:80]}); save it as one file")
    source = os.path.join(os.path.dirname(path), source)
    if not os.path.isfile(source):
        raise RefusalError(f"lacks the file of its voxels, {source[:200]}; put it beside it")
    return source


def _times(shape: list[int]) -> str:
    return "x".join(str(size) for size in shape)
