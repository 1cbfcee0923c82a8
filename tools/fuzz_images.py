"""Reads damaged images of every kind: each is read, or refused in one line that names it, in little memory and time.

Images are read in child processes, so that a crash is counted and the others go on. What fails is kept.

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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from image_mutations import write_mutant, write_samples

from flemme_monai.data.masks import mask_colors, to_label_map
from flemme_monai.data.reading import read_image, read_stored

SECONDS = 5  # of the processor an image may take
MEMORY = 2 << 30  # bytes it may take
BATCH = 50  # images that share a child process until one crashes it


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
        for first in range(0, options.count, BATCH):
            if time.monotonic() > end:
                break
            mutants = []
            for index in range(first, min(first + BATCH, options.count)):
                sample, seed = samples[index % len(samples)], options.seed + index // len(samples)
                (folder / str(index)).mkdir()
                mutants.append((sample, seed, *write_mutant(sample, folder / str(index), seed)))
            outcomes = attempts([path for _, _, path, _ in mutants])
            for (sample, seed, path, damage), outcome in zip(mutants, outcomes, strict=True):
                counts[f"{sample.suffix or sample.name}: {outcome.split(':')[0]}"] += 1
                if outcome not in ("read", "refused"):
                    failures += 1
                    print(f"{sample.name} seed {seed} ({damage}): {outcome}", flush=True)
                    if options.keep:
                        shutil.copytree(path.parent, options.keep / f"{sample.name}_{seed}", dirs_exist_ok=True)
                shutil.rmtree(path.parent)
    for key in sorted(counts):
        print(f"{key:>24} {counts[key]}")
    print(f"{sum(counts.values())} images, {failures} failures")
    return int(failures > 0)


def attempts(paths: Sequence[Path]) -> list[str]:
    """Reads images in a child process, and after a crash the rest in another.

    Args:
        paths: the images.

    Returns:
        What became of each: "read", "refused", or a word for the fault, a colon and what is known of it.
    """
    outcomes: list[str] = []
    while len(outcomes) < len(paths):
        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(receiver)
            _read_all(paths[len(outcomes) :], sender)
        os.close(sender)
        with os.fdopen(receiver, encoding="utf-8", errors="replace") as stream:
            outcomes += stream.read().splitlines()
        status = os.waitpid(child, 0)[1]
        if len(outcomes) < len(paths):
            how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status}"
            outcomes.append(f"killed: {how}")
    return outcomes


def _read_all(paths: Sequence[Path], sender: int) -> None:
    """Read images in this process, tell what became of each in a line, and end the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for path in paths:
        signal.alarm(12 * SECONDS)  # of the clock: other programs run too
        start = time.process_time()
        try:
            outcome = outcome_of(path)
        except BaseException as error:
            outcome = f"fault: {type(error).__name__} {str(error)[:300]!r}"
        seconds = time.process_time() - start
        outcome = outcome if seconds < SECONDS else f"slow: {seconds:.1f} s, {outcome}"
        os.write(sender, f"{outcome}\n".encode())
    os._exit(0)


def outcome_of(path: Path) -> str:
    """What becomes of a file that is read as image and as mask: "read", "refused" or a fault."""
    outcome = "read"
    for reads in (_as_image, _as_mask):
        try:
            reads(path)
        except (ValueError, OSError) as error:
            line = str(error)
            if path.name not in line or "\n" in line or len(line) > 1000:
                return f"fault: {type(error).__name__} {line[:300]!r} does not name its file in one line"
            if any(word in line for word in ("memory", "MemoryError", "alloc")):
                return f"memory: {line[:300]!r}"
            outcome = "refused" if reads is _as_image else outcome  # noise is no label map
    return outcome


def _as_image(path: Path) -> None:
    image = read_image(path)
    if not image.isfinite().all() or not image.affine.isfinite().all():
        raise ArithmeticError("the image or its affine is not finite")


def _as_mask(path: Path) -> None:
    mask_colors([path])
    to_label_map(read_stored(path, indexed=True).array, str(path), 4)


if __name__ == "__main__":
    sys.exit(main())
