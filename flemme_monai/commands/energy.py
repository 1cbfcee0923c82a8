"""The energy that the processor counts, where the machine lets it be read (Linux, powercap)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
COUNTERS = "*-rapl:[0-9]*"  # of whole packages; "intel-rapl:0:1" is a part of one


def counters(root: Path = POWERCAP) -> list[Path]:
    """The counters of all packages that can be read; none on most virtual machines."""
    found = [path for path in sorted(root.glob(COUNTERS)) if path.name.count(":") == 1]
    return [path for path in found if _read(path / "energy_uj") is not None]


def joules(work: Callable[[], object], times: int, root: Path = POWERCAP) -> float | None:
    """The energy of all packages while a work is done, for each time.

    Args:
        work: what is done.
        times: how often, since counters advance about a thousand times a second.
        root: folder of the counters.

    Returns:
        Joules; None where no counter can be read.
    """
    found = counters(root)
    if not found:
        return None
    before = [_read(path / "energy_uj") or 0 for path in found]
    for _ in range(times):
        work()
    total = 0
    for path, start in zip(found, before):
        used = (_read(path / "energy_uj") or 0) - start
        total += used if used >= 0 else used + (_read(path / "max_energy_range_uj") or 0)  # it began anew
    return total / 1e6 / times


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
