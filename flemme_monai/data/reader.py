"""The reader that MONAI's LoadImage gets here: every file is read by ``flemme_monai.data.reading``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.data import ImageReader

from .reading import meta_of, read_channels, read_masks


class CheckedReader(ImageReader):
    """Reads pictures, NIfTI, NRRD, MHA and folders of DICOM, and refuses what is damaged or ambiguous.

    Args:
        labels: read a label map: in the file's dtype, with the indices of a picture with a palette instead of its
            colours.
    """

    def __init__(self, labels: bool = False) -> None:
        super().__init__()
        self.labels = labels

    def verify_suffix(self, filename: Sequence[os.PathLike | str] | os.PathLike | str) -> bool:
        """True: :meth:`get_data` says what is wrong with a file of another kind."""
        return True

    def read(self, data: Sequence[os.PathLike | str] | os.PathLike | str, **kwargs: Any) -> list[str]:
        """The paths: :meth:`get_data` opens the files, since after an error here LoadImage tries its own readers.

        Args:
            data: a path, or one path per channel, of label maps one per instance.
            kwargs: not used, part of MONAI's interface.
        """
        return [os.fspath(path) for path in ([data] if isinstance(data, (str, os.PathLike)) else data)]

    def get_data(self, img: Sequence[str]) -> tuple[np.ndarray, dict[str, Any]]:
        """Reads the files.

        Args:
            img: the paths.

        Returns:
            The array (C, W, H) of a 2D image or (C, *S) of a volume in the file's orientation, and its meta.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If a file is unreadable, holds NaN or Inf, or the channels' shapes or affines differ.
        """
        stored = read_masks(img) if self.labels else read_channels(img)
        dtype = stored.array.dtype.newbyteorder("=") if self.labels else np.float32
        return np.ascontiguousarray(stored.array, dtype=dtype), meta_of(stored, img[0])
