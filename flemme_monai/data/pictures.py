"""Reads PNG, JPEG, TIFF and BMP files with all their bits, turned as viewers show them."""

from __future__ import annotations

import warnings
from contextlib import ExitStack, suppress

import numpy as np
from PIL import Image, ImageCms, ImageFile

from .claims import check_picture
from .itk_files import ITK_LOCK, quiet_itk
from .refusal import RefusalError

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB")
_ORIENTATION = 0x0112  # EXIF's and TIFF's tag
_PHOTOMETRIC, _SAMPLE_FORMAT, _BITS = 262, 339, 258  # TIFF's tags
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # what a file holds is checked here
_SHOWN = {"RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "RGBa": "RGBA", "La": "LA"}


def read_picture(path: str, indexed: bool = False) -> np.ndarray:
    """Reads a picture as a viewer shows it: turned by its EXIF orientation, of 1 to 32 bits per channel.

    Args:
        path: the file.
        indexed: keep the indices of a picture with a palette (label maps) instead of its colours.

    Returns:
        (C, W, H); C is 1 (grey or indices), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).

    Raises:
        RefusalError: If it has several pages, claims more pixels than it holds, or cannot be read with all its bits.
    """
    with ExitStack() as stack:
        # of a path Pillow maps a plain TIFF into memory with the size that it has once turned, shuffling its pixels
        file = stack.enter_context(open(path, "rb"))
        try:
            picture = stack.enter_context(Image.open(file, formats=_FORMATS))
        except Image.DecompressionBombError as error:
            raise RefusalError(f"is too large for a picture ({error}); cut it into tiles") from None
        check_picture(picture, path)
        pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)  # an MPO's others are previews
        if pages > 1:
            raise RefusalError(f"holds {pages} pages; store a volume as NIfTI or NRRD, or each page as a file")
        tags = dict(picture.tag_v2) if picture.format == "TIFF" else {}
        deep = _is_deep(picture, tags)
        array = np.asarray(picture)  # a TIFF is turned when it is loaded, and has no orientation then
        if deep:
            array = _deep(path, picture.mode, array, tags)
        else:
            array = _as_stored(array, picture.mode, tags)
            shown = _shown(picture, indexed)
            array = array if shown is picture else np.asarray(shown)
        array = _turned(array, picture.getexif().get(_ORIENTATION, 1))
    array = array if array.ndim == 3 else array[..., None]
    return array.transpose(2, 1, 0)  # (H, W, C) to (C, W, H)


def _is_deep(picture: ImageFile.ImageFile, tags: dict) -> bool:
    """Whether a picture has several channels of more than the 8 bits that Pillow gives them."""
    if picture.format == "PNG":
        return picture.mode in ("RGB", "RGBA", "LA") and "16" in str(picture.tile[0][3])
    bits = tags.get(_BITS, (1,))
    return isinstance(bits, tuple) and len(bits) > 1 and max(bits) > 8


def _deep(path: str, mode: str, shallow: np.ndarray, tags: dict) -> np.ndarray:
    """All 16 bits of a picture of several channels, by ITK, whose upper halves must be what Pillow reads.

    Args:
        path: the file.
        mode: Pillow's name for its channels.
        shallow: (H, W, C) with the upper 8 bits, or unlike where Pillow or ITK does not know this kind of file.
        tags: of a TIFF.

    Returns:
        (H, W, C) uint16.
    """
    import itk

    with ITK_LOCK, quiet_itk(), suppress(RuntimeError):  # of ITK where it knows less kinds of TIFF than Pillow
        reader = itk.ImageFileReader[itk.VectorImage[itk.US, 2]].New(FileName=path)
        reader.Update()
        array = itk.array_from_image(reader.GetOutput())
        channels = [0, 3] if array.shape[-1] == 2 else slice(array.shape[-1])  # Pillow has grey and alpha as RGBA
        upper = shallow[..., channels]
        if mode in ("RGB", "RGBA") and array.shape == upper.shape and np.array_equal(array >> 8, upper):
            return array
    kind = f", orientation {tags.get(_ORIENTATION, 1)}, photometric interpretation {tags.get(_PHOTOMETRIC)}"
    raise RefusalError(
        f"cannot be read with all of its 16 bits per channel ({mode}{kind if tags else ''}); store it as an upright "
        "PNG or TIFF of RGB without premultiplied alpha"
    )


def _as_stored(array: np.ndarray, mode: str, tags: dict) -> np.ndarray:
    """The pixels that Pillow reads of a TIFF, with the sign of its integers and the sense of its greys."""
    sample = tags.get(_SAMPLE_FORMAT, (1,))[0]
    if mode == "I" and sample == 1 and tags.get(_BITS) == (32,):
        array = array.view(np.uint32)
    if mode == "L" and sample == 2:
        array = array.view(np.int8)
    if mode == "I;16" and tags.get(_PHOTOMETRIC) == 0:  # white is 0; Pillow turns only 8 bits
        array = np.uint16(65535) - array
    return array


def _shown(picture: Image.Image, indexed: bool) -> Image.Image:
    """The picture in grey, RGB or its indices; itself where it is so."""
    if picture.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        shown = ImageCms.profileToProfile(picture, *profiles, outputMode="RGB")
        assert shown is not None, "a new picture is made"
        return shown
    if picture.mode in _SHOWN:
        return picture.convert(_SHOWN[picture.mode])
    if picture.mode in ("P", "PA") and not indexed:
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return picture


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, ...) as stored, turned and mirrored as its EXIF orientation, 1 to 8, says."""
    if orientation in (3, 4, 6, 7):
        array = array[::-1]
    if orientation in (2, 3, 7, 8):
        array = array[:, ::-1]
    return array.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else array
