"""Walks over the elements of a DICOM file without decoding its pixels."""

from __future__ import annotations

import mmap
import struct

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
ITEM_MARK = {"<": b"\xfe\xff\x00\xe0", ">": b"\xff\xfe\xe0\x00"}
_PIXEL_DATA = 0x7FE00010
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")  # 4 bytes of length
_MAX_NESTING = 24
_LARGEST = 1e12  # of a decimal number
IMPLICIT, _EXPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_GE_IMPLICIT = "1.2.840.113619.5.2"
UNCOMPRESSED = (IMPLICIT, _EXPLICIT, _BIG_ENDIAN, _GE_IMPLICIT)
_TAGS = {
    0x00020002: "MediaStorageSOPClassUID",
    0x00020003: "MediaStorageSOPInstanceUID",
    0x00020010: "transfer_syntax",
    0x00080008: "ImageType",
    0x00080016: "sop_class",
    0x00080018: "sop_uid",
    0x00080032: "AcquisitionTime",
    0x00080060: "Modality",
    0x0008103E: "SeriesDescription",
    0x00180081: "EchoTime",
    0x00181060: "TriggerTime",
    0x00189087: "DiffusionBValue",
    0x0020000E: "series_uid",
    0x00200011: "SeriesNumber",
    0x00200012: "AcquisitionNumber",
    0x00200032: "ImagePositionPatient",
    0x00200037: "ImageOrientationPatient",
    0x00200100: "TemporalPositionIdentifier",
    0x00280002: "SamplesPerPixel",
    0x00280004: "PhotometricInterpretation",
    0x00280008: "NumberOfFrames",
    0x00280010: "Rows",
    0x00280011: "Columns",
    0x00280030: "PixelSpacing",
    0x00280100: "BitsAllocated",
    0x00281052: "RescaleIntercept",
    0x00281053: "RescaleSlope",
    0x00283000: "ModalityLUTSequence",
}


class Elements:
    """The elements of a file that ``_TAGS`` names, and where its pixel data are.

    Args:
        data: the file.

    Raises:
        ValueError: If the file is no DICOM, or is damaged.

    Attributes:
        found: value by name.
        pixels: bytes of pixel data, None without any.
        coded: (columns, rows, samples) as the compressed image has them, None where it does not tell.
    """

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.order = "<"
        self.explicit = True
        self.found: dict[str, bytes] = {}
        self.pixels: int | None = None
        self.coded: tuple[int, int, int] | None = None
        start = 132 if data[128:132] == b"DICM" else 0
        if start == 0 and data[:2] not in (b"\x02\0", b"\x08\0"):
            raise ValueError("is no DICOM file")
        start = self._walk_meta(start)
        syntax = self.text("transfer_syntax")
        if syntax == _DEFLATED:
            raise ValueError("is deflated (transfer syntax 1.2.840.10008.1.2.1.99); store it uncompressed")
        self.order = ">" if syntax == _BIG_ENDIAN else "<"
        self.explicit = syntax not in (IMPLICIT, _GE_IMPLICIT) if syntax else data[start + 4 : start + 6].isupper()
        self._walk(start, len(data), 0)

    def text(self, name: str) -> str:
        """The text of an element, "" without it."""
        return self.found.get(name, b"").decode("latin-1").strip(" \0")

    def integer(self, name: str, default: int = 0) -> int:
        """The number of an element: 2 bytes, or digits for the number of frames."""
        value = self.found.get(name, b"")
        if name == "NumberOfFrames":
            return int(self.decimals(name, 1)[0]) if self.text(name) else default
        return struct.unpack(self.order + "H", value[:2])[0] if len(value) >= 2 else default

    def decimals(self, name: str, count: int) -> tuple[float, ...]:
        """The decimal numbers of an element, () without it."""
        text = self.text(name)
        if not text:
            return ()
        try:
            numbers = tuple(float(part) for part in text.split("\\"))
        except ValueError:
            numbers = ()
        if len(numbers) != count or not all(abs(number) < _LARGEST for number in numbers):
            raise ValueError(f"has the {name} {text[:80]!r}; expected {count} decimal number{'s' * (count > 1)}")
        return numbers

    def _walk_meta(self, at: int) -> int:
        """Goes over the file meta information (group 2, always explicit little endian); returns where it ends."""
        while self.data[at : at + 2] == b"\x02\0":
            at = self._element(at, len(self.data), 0)
        return at

    def _walk(self, at: int, end: int, depth: int) -> int:
        """Goes over elements up to ``end`` or the end of their item; returns where they end."""
        if depth > _MAX_NESTING:
            raise ValueError(f"nests sequences more than {_MAX_NESTING} deep")
        while at < end:
            if depth == 0 and self.pixels is not None and not any(self.data[at : at + 4]):
                if self.data[at:end].strip(b"\0"):
                    raise ValueError(f"is damaged: unknown bytes follow its pixels, from byte {at}")
                return end  # padding
            tag = self._tag(at, end)
            if depth > 0 and tag in (_ITEM_END, _SEQUENCE_END):
                return at + 8
            at = self._element(at, end, depth)
        return at

    def _element(self, at: int, end: int, depth: int) -> int:
        """Goes over one element; returns where it ends."""
        tag = self._tag(at, end)
        kind = self.data[at + 4 : at + 6]
        if not (self.explicit and kind.isalpha() and kind.isupper()):
            kind, length, at = b"", self._number("I", at + 4, end), at + 8
        elif kind in _LONG:
            length, at = self._number("I", at + 8, end), at + 12
        else:
            length, at = self._number("H", at + 6, end), at + 8
        if length == _UNDEFINED:
            if tag == _PIXEL_DATA:
                return self._fragments(at, end, depth)
            if depth == 0 and tag in _TAGS:
                self.found.setdefault(_TAGS[tag], self.data[at : at + 8])
            return self._items(at, end, depth, kind)
        if length > end - at:
            raise ValueError(
                f"is damaged or cut short: its element ({tag >> 16:04x},{tag & 0xFFFF:04x}) claims {length} bytes "
                f"where {max(end - at, 0)} follow"
            )
        if depth == 0 and tag == _PIXEL_DATA and self.pixels is None:
            self.pixels = length
        elif depth == 0 and tag in _TAGS:
            self.found.setdefault(_TAGS[tag], self.data[at : at + length])  # the first one counts, as in GDCM
        elif kind in (b"SQ", b"") and length >= 8 and self._tag(at, end) == _ITEM:  # implicit files do not tell kinds
            self._items(at, at + length, depth, kind)
        return at + length

    def _items(self, at: int, end: int, depth: int, kind: bytes) -> int:
        """Goes over the items of a sequence; returns where they end."""
        explicit, self.explicit = self.explicit, self.explicit and kind != b"UN"
        while at < end:
            tag, length = self._tag(at, end), self._number("I", at + 4, end)
            at += 8
            if tag == _SEQUENCE_END:
                break
            if tag != _ITEM or (length != _UNDEFINED and length > end - at):
                raise ValueError(f"is damaged or cut short: a sequence breaks off at byte {at - 8}")
            at = self._walk(at, end if length == _UNDEFINED else at + length, depth + 1)
        self.explicit = explicit
        return at

    def _fragments(self, at: int, end: int, depth: int) -> int:
        """Adds up the fragments of compressed pixel data; returns where they end."""
        total, first = 0, True
        while True:
            tag, length = self._tag(at, end), self._number("I", at + 4, end)
            at += 8
            if tag == _SEQUENCE_END:
                break
            if tag != _ITEM or length > end - at:
                raise ValueError(f"is damaged or cut short: its compressed image breaks off at byte {at - 8}")
            if (
                not first and depth == 0 and total == 0 and self.pixels is None
            ):  # the first item is the table of offsets
                self.coded = _coded_size(self.data, at, at + length)
            total, first, at = total + (0 if first else length), False, at + length
        if depth == 0 and self.pixels is None:
            self.pixels = total
        return at

    def _tag(self, at: int, end: int) -> int:
        return self._number("H", at, end) << 16 | self._number("H", at + 2, end)

    def _number(self, code: str, at: int, end: int) -> int:
        if at + struct.calcsize(code) > end:
            raise ValueError(f"is damaged or cut short: it ends within an element at byte {at}")
        return struct.unpack_from(self.order + code, self.data, at)[0]


def _coded_size(data: mmap.mmap, at: int, end: int) -> tuple[int, int, int] | None:
    """(columns, rows, samples) as a JPEG, JPEG-LS or JPEG 2000 stream has them, None for what is none of these.

    Args:
        data: the file.
        at: where the stream begins.
        end: where its first fragment ends.
    """
    stream = data.find(b"\xff\x4f\xff\x51", at, min(end, at + 256))  # JPEG 2000, perhaps in the boxes of a JP2 file
    if stream >= 0 and stream + 42 <= end:
        right, bottom, left, top = struct.unpack_from(">4I", data, stream + 8)
        return right - left, bottom - top, struct.unpack_from(">H", data, stream + 40)[0]
    if data[at : at + 2] != b"\xff\xd8":
        return None
    at += 2
    while at + 10 <= end:
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):  # a frame's header
            rows, columns = struct.unpack_from(">HH", data, at + 5)
            return columns, rows, data[at + 9]
        at += 2 + length
    return None
