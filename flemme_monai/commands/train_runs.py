"""Trainings and evaluations of bundles in processes of their own, and what they found."""

from __future__ import annotations

import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any, TypeVar

import torch

from ..utils.weights import LAST
from .clock import Clock
from .places import environment, run_command

K = TypeVar("K")
V = TypeVar("V")
# a training whose parent was killed would hold its folder against the one that goes on with it
DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL); os.execvp(sys.argv[1], sys.argv[1:])"
)
_running: set[subprocess.Popen] = set()
METRICS = {  # task: the means to compare, of which the first is plotted
    "segmentation": ("dice", "iou", "surface_distance"),
    "classification": ("accuracy", "f1"),
    "reconstruction": ("psnr", "ssim"),
}


def parsed(value: str) -> Any:
    """A setting's value as the command line of ``monai.bundle run`` reads it."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def train_and_evaluate(
    bundle: Path,
    settings: Mapping[str, Any],
    threads: int | None = None,
    overlays: Sequence[Path] = (),
) -> tuple[dict[str, float], float]:
    """Train a bundle, or go on where that was stopped, and evaluate its best weights on the test cases.

    Args:
        bundle: its folder, which takes all that the runs write; what is left of earlier ones without a checkpoint goes.
        settings: of the bundle.
        threads: of each process; None for PyTorch's default.
        overlays: configs over those of the evaluation.

    Returns:
        The metrics of the test cases and the median seconds of an epoch.

    Raises:
        ChildProcessError: If a run fails.
    """
    places = {"bundle_root": bundle, "ckpt_dir": bundle / "models"}
    configs = [bundle / "configs" / f"{name}.json" for name in ("train", "evaluate")]
    resume = (bundle / "models" / LAST).is_file()
    for name in ("evaluate",) if resume else ("models", "train", "evaluate"):
        shutil.rmtree(bundle / name, ignore_errors=True)
    training = {**settings, **places, "output_dir": bundle / "train", "resume": resume}
    run(configs[:1], training, bundle / "train.log", threads)
    testing = {**settings, **places, "output_dir": bundle / "evaluate"}
    run([*configs, *overlays], testing, bundle / "evaluate.log", threads)
    with (bundle / "train" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        seconds = statistics.median(float(row["seconds"]) for row in csv.DictReader(file))
    with (bundle / "evaluate" / "summary.csv").open(newline="", encoding="utf-8") as file:
        return summary(file), seconds


def run(configs: Sequence[str | Path], settings: dict[str, Any], log: Path, threads: int | None = None) -> None:
    """Run a bundle's workflow in a process of its own.

    Args:
        configs: over each other.
        settings: of the bundle.
        log, threads: as of :func:`run_logged`.
    """
    run_logged(run_command(configs, settings), log, threads)


def run_logged(command: Sequence[str], log: Path, threads: int | None = None) -> None:
    """Run a command whose output goes into a file.

    Args:
        command: its words.
        log: what it prints.
        threads: that it computes with; None for PyTorch's default.

    Raises:
        ChildProcessError: If it fails; its own messages are in the log.
    """
    variables = environment() if threads is None else environment(OMP_NUM_THREADS=str(threads))
    bound = [sys.executable, "-c", DIE_WITH_PARENT, *command] if sys.platform == "linux" else command
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(bound, env=variables, stdout=file, stderr=subprocess.STDOUT)
        _running.add(process)
        try:
            failed = process.wait()
        finally:
            _running.discard(process)
    if failed:
        raise ChildProcessError(f"{' '.join(command)} failed: see {log}.")


def run_jobs(
    jobs: Mapping[K, Callable[[int | None], V]],
    at_a_time: int,
    say: Callable[[K, V], str],
    kind: Callable[[K], Any] = lambda key: None,
) -> tuple[dict[K, V], list[str]]:
    """Call functions that run processes, some at a time; one that fails is named and the others go on.

    With several at a time each keeps to processors of its own, where the system can say so.

    Args:
        jobs: functions of the number of threads that each of their processes has, None for PyTorch's default.
        at_a_time: how many; each computes with its share of the threads.
        say: the line that is printed when one has ended, before the time that is left.
        kind: of a job; those of one kind take about as long.

    Returns:
        What those that succeeded returned, and the messages of those that failed.
    """
    found: dict[K, V] = {}
    failed: list[str] = []
    threads = None if at_a_time == 1 else max(1, torch.get_num_threads() // at_a_time)
    clock = Clock({key: kind(key) for key in jobs}, at_a_time)

    def timed(key: K) -> V:
        clock.start(key)
        return jobs[key](threads)

    executor = ThreadPoolExecutor(at_a_time, initializer=_pin, initargs=(processors(at_a_time),))
    runs = {executor.submit(timed, key): key for key in jobs}
    try:
        for done in as_completed(runs):
            key = runs[done]
            clock.end(key)
            try:
                found[key] = done.result()
            except ChildProcessError as error:
                failed.append(str(error))
                print(error, flush=True)
            else:
                print(f"{len(found)} of {len(jobs)}: {say(key, found[key])}{clock.left()}", flush=True)
    except BaseException:  # such as an interruption: no job begins any more, and those that run end
        executor.shutdown(wait=False, cancel_futures=True)
        while not all(done.done() for done in runs):  # a job may just be about to start its process
            for process in list(_running):
                process.terminate()
            time.sleep(0.1)
        raise
    finally:
        executor.shutdown()
    return found, failed


def processors(at_a_time: int) -> Queue[set[int]]:
    """The processors of each of several jobs; none where they share all."""
    groups: Queue[set[int]] = Queue()
    if at_a_time > 1 and hasattr(os, "sched_getaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        for job in range(at_a_time):
            groups.put(set(mine[job::at_a_time]) or {mine[job % len(mine)]})
    return groups


def _pin(groups: Queue[set[int]]) -> None:
    """Give this thread, and with it the processes that it starts, processors of its own."""
    with suppress(Empty):
        os.sched_setaffinity(0, groups.get_nowait())  # of the thread alone


def summary(lines: Iterable[str]) -> dict[str, float]:
    """The metrics over all classes in a ``summary.csv``, of the only one where there is one: means, or one value."""
    rows: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(lines):
        rows.setdefault(row["metric"], []).append(row)
    of_all = (row for found in rows.values() for row in found if row["class"] in ("all", "mean") or len(found) == 1)
    values = {row["metric"]: row["mean"] if "mean" in row else row["value"] for row in of_all}
    return {metric: float(value) for metric, value in values.items() if value}  # empty where it is not defined
