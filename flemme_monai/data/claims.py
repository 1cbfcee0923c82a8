"""Compares what a file's header claims with what the file holds, before memory for the claim is taken."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from typing import TYPE_CHECKING, BinaryIO

from .refusal import RefusalError

if TYPE_CHECKING:
    from PIL import Image, TiffImagePlugin

DEFLATE_RATIO = 1032  # bytes that one byte of a deflate stream can become at most
_PIECE = 1 << 20
_SMALL = 64 << 20  # a claim of fewer bytes than this need not be counted
# pixels' bytes from one byte: LZW has 12-bit codes of up to 4096 bytes, a JPEG at least a bit for 64 pixels
_TIFF_RATIOS = {
    "raw": 1,
    "tiff_lzw": 4096,
    "tiff_adobe_deflate": DEFLATE_RATIO,
    "tiff_deflate": DEFLATE_RATIO,
    "packbits": 128,
    "jpeg": DEFLATE_RATIO,
    "tiff_jpeg": DEFLATE_RATIO,
}


def check_held(claimed: int, held: int, what: str) -> None:
    """Refuses a claim that is larger than what a file holds.

    Args:
        claimed: bytes that the header claims.
        held: bytes that the file has at most, decompressed.
        what: what is claimed, such as ``"3000x3000x300 voxels of float32"``.

    Raises:
        RefusalError: If more is claimed than held.
    """
    if claimed > held:
        raise RefusalError(
            f"cannot be read: its header claims {what} ({_size(claimed)}) while the file holds at most {_size(held)}; "
            "it is cut short or its header is damaged: replace it"
        )


def check_compressed(claimed: int, path: str, what: str, start: int = 0, gzipped: bool = True) -> None:
    """Refuses a claim that is larger than what a deflate stream holds.

    The most that the stream's length can become bounds it. A large claim that the last bytes of a gzip file, its
    decompressed length, do not confirm is counted by decompressing piece by piece.

    Args:
        claimed: bytes that the header claims, decompressed.
        path: the file.
        what: what is claimed.
        start: where the stream begins in the file.
        gzipped: whether it is of gzip; else of zlib.

    Raises:
        RefusalError: If more is claimed than held, or the stream is damaged.
    """
    stored = max(os.path.getsize(path) - start, 0)
    check_held(claimed, stored * DEFLATE_RATIO, what)
    if claimed < max(_SMALL, 8 * stored):
        return
    with open(path, "rb") as file:
        if gzipped:
            file.seek(-4, os.SEEK_END)
            if int.from_bytes(file.read(4), "little") == claimed % 2**32:
                return
        file.seek(start)
        try:
            held = _count_gzip(file, claimed) if gzipped else _count_zlib(file, claimed)
        except (OSError, EOFError, zlib.error) as error:
            raise RefusalError(f"cannot be read: its compressed data are damaged ({error}); replace it") from None
    check_held(claimed, held, what)


def _count_gzip(file: BinaryIO, enough: int) -> int:
    """Bytes that the gzip streams of a file become, counted up to ``enough``."""
    held = 0
    with gzip.open(file) as stream:
        while held < enough and (piece := stream.read(_PIECE)):
            held += len(piece)
    return held


def _count_zlib(file: BinaryIO, enough: int) -> int:
    """Bytes that a zlib stream becomes, counted up to ``enough``."""
    held = 0
    stream = zlib.decompressobj()
    while held < enough and not stream.eof and (piece := stream.unconsumed_tail or file.read(_PIECE)):
        held += len(stream.decompress(piece, _PIECE))
    return held


def check_picture(picture: Image.Image, path: str) -> None:
    """Refuses a picture, opened but not decoded, whose size the file cannot hold.

    Args:
        picture: as Pillow opens it.
        path: its file.

    Raises:
        RefusalError: If more pixels are claimed than held.
    """
    from PIL.TiffImagePlugin import TiffImageFile

    width, height = picture.size
    if isinstance(picture, TiffImageFile):
        subsampled = picture.tag_v2.get(262) == 6  # YCbCr has fewer bits than its samples tell
        bits = 8 if subsampled else sum(_bits(picture))
        ratio = _TIFF_RATIOS.get(picture.info.get("compression", "raw"))
    elif picture.format == "PNG":
        _check_chunks(path)
        bits, ratio = _png_bits(path), DEFLATE_RATIO
    elif picture.format in ("BMP", "DIB"):
        bits, ratio = 1, 1 if picture.info.get("compression", 0) == 0 else DEFLATE_RATIO
    else:
        bits, ratio = 8, DEFLATE_RATIO
    if ratio is not None:  # a line of a fax needs one bit, however long it is: Pillow's limit of pixels bounds it
        claimed = height * math.ceil(width * bits / 8)
        check_held(claimed, os.path.getsize(path) * ratio, f"{width}x{height} pixels of {bits} bits")


def _bits(picture: TiffImagePlugin.TiffImageFile) -> tuple[int, ...]:
    """Bits of each sample of a TIFF."""
    bits = picture.tag_v2.get(258, (1,))
    return bits if isinstance(bits, tuple) else (bits,)


def _check_chunks(path: str) -> None:
    """Refuses a PNG with a chunk that is longer than what follows in the file."""
    size, at, kind = os.path.getsize(path), 8, b""
    with open(path, "rb") as file:
        while kind != b"IEND" and at + 8 <= size:
            file.seek(at)
            length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
            if length > size - at - 8:
                raise RefusalError(
                    f"cannot be read as .png: its chunk {kind.decode('latin-1')!r} claims {_size(length)} while "
                    f"{_size(max(size - at - 8, 0))} follow; it is cut short or damaged: replace it"
                )
            at += length + 12  # its length, kind and checksum


def _png_bits(path: str) -> int:
    with open(path, "rb") as file:
        header = file.read(26)
    return header[24] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(header[25], 1)


def _size(count: int) -> str:
    """A number of bytes as people say it."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
