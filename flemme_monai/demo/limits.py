"""What a visitor of the page may ask of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds of an upload and of a run.

    Args:
        megabytes: of all files of an upload together.
        files: of an upload, such as the slices of a DICOM series.
        megavoxels: of an image, in millions, as its header claims them.
        seconds: of a run.
        samples: of a generator's run.
        steps: of a generator's run.
    """

    megabytes: float = 128
    files: int = 1000
    megavoxels: float = 64
    seconds: float = 300
    samples: int = 16
    steps: int = 250

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} is {value}; expected more than 0: give a larger bound")

    @property
    def bytes(self) -> int:
        """The size of an upload."""
        return int(self.megabytes * MEGABYTE)

    def check_bytes(self, size: int) -> None:
        """Refuse an upload of too many bytes.

        Raises:
            ValueError: If there are more.
        """
        if size > self.bytes:
            raise ValueError(
                f"the upload has {size / MEGABYTE:.1f} MB; expected at most {self.megabytes:g} MB: crop or resample it"
            )

    def check_voxels(self, count: int) -> None:
        """Refuse an image of too many voxels.

        Raises:
            ValueError: If there are more.
        """
        if count > self.megavoxels * 1e6:
            raise ValueError(
                f"the image has {count / 1e6:.1f} million pixels or voxels; expected at most {self.megavoxels:g} "
                "million: crop or resample it"
            )


class Deadline:
    """The end of the time that a run may take.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = monotonic() + seconds

    def check(self) -> None:
        """Stop a run that takes too long.

        Raises:
            ValueError: If the time is over.
        """
        if monotonic() > self._end:
            raise ValueError(
                f"the run was stopped after {self.seconds:g} s; expected a shorter one: crop the image, choose one "
                "slice, or take fewer samples and steps"
            )
