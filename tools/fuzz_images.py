"""Reads damaged images of every kind: each is read, or refused in one line that names it, in little memory and time.

Each image is read in a child process of its own, so that a crash is counted and not shared. What fails is kept.

    python tools/fuzz_images.py --count 20000 --keep failures
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bundle_files import ROOT

sys.path.insert(0, str(ROOT))

from image_mutations import write_mutant, write_samples

from flemme_monai.data.masks import to_label_map
from flemme_monai.data.reading import read_image, read_stored

SECONDS = 5  # of the processor an image may take
MEMORY = 2 << 30  # bytes it may take
READ, REFUSED, FAULT = 0, 3, 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 1 where an image failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="damaged images")
    parser.add_argument("--seed", type=int, default=0, help="of the first; the others follow")
    parser.add_argument("--kinds", default="", help="suffixes with commas, such as .nii,.png; series is DICOM's")
    parser.add_argument("--minutes", type=float, default=60, help="end after so long")
    parser.add_argument("--keep", type=Path, help="folder for the images that fail")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "whole").mkdir()
        samples = write_samples(folder / "whole")
        kinds = tuple(options.kinds.split(",")) if options.kinds else ("",)
        samples = [path for path in samples if path.name.endswith(kinds)]
        for path in samples:  # also loads the modules of ITK, which the children then have
            read_image(path)
        counts: Counter[str] = Counter()
        failures = 0
        end = time.monotonic() + 60 * options.minutes
        for index in range(options.count):
            sample, seed = samples[index % len(samples)], options.seed + index // len(samples)
            if time.monotonic() > end:
                break
            work = folder / "damaged"
            work.mkdir()
            path, damage = write_mutant(sample, work, seed)
            outcome = attempt(path)
            counts[f"{sample.suffix or sample.name}: {outcome.split(':')[0]}"] += 1
            if outcome not in ("read", "refused"):
                failures += 1
                print(f"{sample.name} seed {seed} ({damage}): {outcome}", flush=True)
                if options.keep:
                    shutil.copytree(work, options.keep / f"{sample.name}_{seed}", dirs_exist_ok=True)
            shutil.rmtree(work)
    for key in sorted(counts):
        print(f"{key:>24} {counts[key]}")
    print(f"{sum(counts.values())} images, {failures} failures")
    return int(failures > 0)


def attempt(path: Path) -> str:
    """Reads an image in a child process.

    Args:
        path: the image.

    Returns:
        "read", "refused", or a word for the fault and what is known of it.
    """
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        _read(path, sender)
    os.close(sender)
    with os.fdopen(receiver, "rb") as stream:
        said = stream.read().decode("utf-8", "replace")
    _, status, usage = os.wait4(child, 0)
    seconds = usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status):
        return f"killed: {signal.Signals(os.WTERMSIG(status)).name} after {seconds:.1f} s; {said}"
    code = os.WEXITSTATUS(status)
    if seconds > SECONDS:
        return f"slow: {seconds:.1f} s"
    return {READ: "read", REFUSED: "refused"}.get(code, f"fault: {code} {said}")


def _read(path: Path, sender: int) -> None:
    """Read an image as image and as mask and end the process."""
    code = READ
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (4 * SECONDS, 4 * SECONDS))
        signal.alarm(60)
        for reads in (_as_image, _as_mask):
            try:
                reads(path)
            except (ValueError, OSError) as error:
                code = REFUSED if reads is _as_image else code  # noise is no label map
                line = str(error)
                if path.name not in line or "\n" in line or len(line) > 1000:
                    os.write(sender, f"{type(error).__name__} {line[:300]!r} names no file in one line".encode())
                    code = FAULT
                    break
    except BaseException as error:
        os.write(sender, f"{type(error).__name__} {str(error)[:300]!r}".encode())
        code = FAULT
    finally:
        os._exit(code)


def _as_image(path: Path) -> None:
    image = read_image(path)
    if not image.isfinite().all() or not image.affine.isfinite().all():
        raise ArithmeticError("the image or its affine is not finite")


def _as_mask(path: Path) -> None:
    to_label_map(read_stored(path, indexed=True).array, str(path), 4)


if __name__ == "__main__":
    sys.exit(main())
