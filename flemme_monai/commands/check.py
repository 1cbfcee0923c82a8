"""Check bundles as the MONAI model zoo does, and what this collection adds, offline; say for each what fails.

    flemme-monai check sem_unet hae_swin
    flemme-monai check --all
    flemme-monai check sem_unet --onnx

Every bundle is copied to a temporary folder and checked there, so the tree is left as it was.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from .bundle_checks import ExemptError, live_checks, temporary_copy
from .bundle_files import STATIC_CHECKS, all_bundles, find_bundle, missing_weights
from .bundle_runs import silenced
from .onnx_checks import check_onnx


@dataclass(frozen=True)
class Result:
    """The outcome of one check of one bundle: `status` is "ok", "exempt" or "FAIL"."""

    bundle: str
    check: str
    status: str
    message: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.status:6}  {self.bundle:14}  {self.check:28}  {self.seconds:5.1f} s  {self.message}".rstrip()


def run_check(bundle: Path, name: str, check: Callable[[Path], str], verbose: bool = False) -> Result:
    """Run one check; whatever it raises becomes its result."""
    start = time.perf_counter()
    try:
        with silenced():
            status, message = "ok", check(bundle)
    except ExemptError as exemption:
        status, message = "exempt", str(exemption)
    except Exception as error:
        status, message = "FAIL", reason(error)
        if verbose:
            traceback.print_exc()
    return Result(bundle.name, name, status, message, time.perf_counter() - start)


def reason(error: BaseException) -> str:
    """One line: what went wrong at the root of a chain of exceptions, where, and what was being done."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    line = f"{type(root).__name__}: {' '.join(str(root).split())}"[:300]
    frame = traceback.extract_tb(root.__traceback__)[-1]
    if Path(frame.filename).parent != Path(__file__).parent:
        line += f" (at {Path(frame.filename).name}:{frame.lineno})"
    return line if root is error else f"{line} (in: {' '.join(str(error).split())[:100]})"


def check_bundle(bundle: Path, verbose: bool = False, onnx: bool = False) -> list[Result]:
    """Every check of one bundle; the ones that build or run it are left out when its files are not whole.

    Args:
        bundle: the bundle's folder, which is only read.
        verbose: print the traceback of a failure.
        onnx: export it to ONNX too, which takes from 3 to 20 s.
    """
    results = [run_check(bundle, name, check, verbose) for name, check in STATIC_CHECKS.items()]
    if results[0].status == "FAIL":
        return results
    try:
        with temporary_copy(bundle) as copy:
            checks = live_checks(copy) | ({"onnx": check_onnx} if onnx else {})
            results += [run_check(copy, name, check, verbose) for name, check in checks.items()]
            gc.collect()
    except Exception as error:
        results.append(Result(bundle.name, "temporary copy", "FAIL", reason(error), 0.0))
    return results


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Check the bundles named on the command line.

    Returns:
        1 when a check fails, else 0.
    """
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="names in bundles/, or paths")
    parser.add_argument("--all", action="store_true", help="every bundle in bundles/")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="bundles checked at the same time")
    parser.add_argument("--onnx", action="store_true", help="export to ONNX too, and compare numbers at two sizes")
    parser.add_argument("--verbose", action="store_true", help="print the traceback of every failure")
    args = parser.parse_args(argv)
    try:
        bundles = all_bundles() if args.all else [find_bundle(name) for name in args.names]
    except FileNotFoundError as error:
        parser.error(str(error))
    if not bundles:
        parser.error("name at least one bundle, or --all.")

    start, results = time.perf_counter(), []
    for of_one in _check_each(bundles, min(args.jobs, len(bundles)), args.verbose, args.onnx):
        print(*of_one, sep="\n", flush=True)
        results += of_one
    failed = [result for result in results if result.status == "FAIL"]
    exempt = [result for result in results if result.status == "exempt"]
    untrained = [bundle.name for bundle in bundles if missing_weights(bundle)]
    print(f"\n{len(bundles)} bundles, {len(results)} checks, {time.perf_counter() - start:.0f} s:", end=" ")
    print(f"{len(results) - len(failed) - len(exempt)} ok, {len(exempt)} exempt, {len(failed)} failed.")
    if untrained:
        print(f"Checked with temporary checkpoints, having none of their own: {', '.join(untrained)}.")
    for result in exempt + failed if len(bundles) > 1 else ():
        print(result)
    return 1 if failed else 0


def _check_each(bundles: Sequence[Path], jobs: int, verbose: bool, onnx: bool) -> Iterator[list[Result]]:
    if jobs <= 1:
        yield from (check_bundle(bundle, verbose, onnx) for bundle in bundles)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(partial(check_bundle, verbose=verbose, onnx=onnx), bundles)
