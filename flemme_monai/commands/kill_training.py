"""Kill trainings with SIGKILL at random moments, take them up again, and compare them with uninterrupted ones.

    python tools/kill_training.py --kills 50

A training runs in a fork of this process, which has imported all that it needs, by ``monai.bundle run``'s own command
line. It says in shared memory what it is doing, so that a moment is drawn within its start-up, a step, a validation,
the writing of tables, or, every second time, the writing of checkpoints. After each kill every file must be readable
and at most one epoch lost; after the end weights, optimizer and history must be those of a run without a kill.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import re
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer

from ..handlers import History, TrainingCheckpoint
from ..recipes import make_bundle, write
from ..utils.files import PART
from ..utils.weights import LAST, read_checkpoint
from .run_files import damage, differences

PAIRS = "sem_unet,ddpm_unet"
SETTINGS: dict[str, Any] = {
    "image_size": [16, 16],
    "batch_size": 6,
    "num_workers": 0,
    "warmup_epochs": 1,
    "device": "cpu",
    "network_def#backbone#channels": [8, 8],
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#middle_channels": [8],
    "network_def#backbone#num_blocks": 1,
}
ATTENTION = {"ddpm_unet": {"network_def#backbone#family#self_attention": [False, False, True]}}
PHASES = ("start-up", "step", "validation", "tables", "checkpoints", "between")
WEIGHTS = (1, 2, 2, 1, 6, 0)  # how often a moment is drawn in each
COLUMNS = ("kill", "training", "in", "epochs printed", "epochs saved", "half-written files", "others")
PATIENCE_S = 120.0
_EPOCH = re.compile(r"^epoch (\d+)/", re.MULTILINE)


class Progress:
    """What a training is doing, in memory that it shares with the process that kills it.

    Attributes:
        now: [phase], an index of ``PHASES``.
        counts: how often each phase has begun.
        seconds: how long each has taken.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * (2 * len(PHASES) + 1))
        values = np.frombuffer(self._memory, np.float64)
        self.now, self.counts, self.seconds = values[:1], values[1 : len(PHASES) + 1], values[len(PHASES) + 1 :]
        self._began = time.perf_counter()

    def follow(self, kind: type, method: str, phase: str) -> None:
        """Call a method of a class a phase, in this process."""
        function: Callable[..., Any] = getattr(kind, method)
        index = PHASES.index(phase)

        @wraps(function)
        def followed(*args: Any, **kwargs: Any) -> Any:
            before, self.now[0] = self.now[0], index
            self.counts[index] += 1
            start = time.perf_counter()
            self.seconds[0] = self.seconds[0] or start - self._began
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[index] += time.perf_counter() - start
                self.now[0] = before or PHASES.index("between")

        setattr(kind, method, followed)


@dataclass
class Training:
    """A training that may be killed.

    Args:
        pair: the bundle.
        folder: for the bundle and all that it writes.
        epochs: epochs.
    """

    pair: str
    folder: Path
    epochs: int

    @property
    def last(self) -> Path:
        """The file that a run is taken up from."""
        return self.folder / "models" / LAST

    def start(self) -> tuple[int, Progress]:
        """Begin, or take up what is there, in a process group of its own; its id and what it does."""
        progress = Progress()
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            self._run(progress)
        os.setpgid(process, process)  # here too: whichever process comes first
        return process, progress

    def _run(self, progress: Progress) -> NoReturn:
        """Train in this process, and end it."""
        os.setpgid(0, 0)
        for number in (1, 2):
            os.dup2(os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        progress.follow(SupervisedTrainer, "_iteration", "step")
        progress.follow(SupervisedEvaluator, "run", "validation")
        progress.follow(History, "_end_epoch", "tables")
        progress.follow(TrainingCheckpoint, "_save", "checkpoints")
        sys.argv = ["monai.bundle", "run", "--config_file", str(self.folder / "configs" / "train.json")]
        sys.argv += ["--bundle_root", str(self.folder), "--epochs", str(self.epochs)]
        sys.argv += ["--resume", str(self.last.is_file())]
        code = 1
        try:
            runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
            code = 0
        except BaseException as error:
            sys.__excepthook__(type(error), error, error.__traceback__)
        finally:
            sys.stdout.flush()
            os._exit(code)

    def make(self) -> Training:
        """Write the bundle."""
        write(self.folder, make_bundle(self.pair, settings={**SETTINGS, **ATTENTION.get(self.pair, {})}))
        return self

    def log(self) -> str:
        """What all its processes have printed."""
        path = self.folder / "log.txt"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def epochs_said(self) -> int:
        """The last epoch whose end was printed, 0 before the first."""
        return max(map(int, _EPOCH.findall(self.log())), default=0)

    def epochs_saved(self) -> int:
        """The epoch that a resume goes on from, 0 before the first."""
        return read_checkpoint(self.last)["trainer"]["epoch"] if self.last.is_file() else 0

    def leftovers(self) -> list[Path]:
        """Half-written files."""
        return list(self.folder.rglob(f"{PART}*"))


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command line and return its exit code: 1 where a run lost more than it may."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="how many, over all pairs")
    parser.add_argument("--pairs", default=PAIRS, help="bundles with commas, in turn")
    parser.add_argument("--epochs", type=int, default=6, help="of a training")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)  # a fork of a process whose OpenMP has threads would wait for them
    with tempfile.TemporaryDirectory() as name:
        kills, faults = kill(Path(name), options.pairs.split(","), options.kills, options.epochs, options.seed)
    print(f"{kills} kills, {len(faults)} faults")
    print("\n".join(faults), end="\n" if faults else "")
    return int(bool(faults))


def kill(folder: Path, pairs: Sequence[str], kills: int, epochs: int, seed: int) -> tuple[int, list[str]]:
    """Kill trainings a number of times and compare each that ends with one that was not killed; print a row per kill.

    Args:
        folder: an empty folder.
        pairs: bundles, in turn.
        kills: how many.
        epochs: of a training.
        seed: of the moments.

    Returns:
        The number of kills, and what was wrong with the training that was the last one, in words.

    Raises:
        RuntimeError: If a bundle does not train.
    """
    draw = random.Random(seed)
    whole = {}
    for pair in pairs:
        training = Training(pair, folder / f"{pair}_whole", epochs).make()
        process, progress = training.start()
        if os.waitpid(process, 0)[1]:
            raise RuntimeError(f"{pair} does not train: {training.log()}")
        whole[pair] = training, progress
    print(" | ".join(COLUMNS))
    done, number, faults = 0, 0, list[str]()
    while done < kills and not faults:
        pair = pairs[number % len(pairs)]
        training = Training(pair, folder / f"{pair}_{number}", epochs).make()
        before, usual = whole[pair]
        done, faults = _lives(training, usual, draw, done, kills)
        faults = faults or differences(before.folder, training.folder)
        number += 1
    return done, [f"{training.folder.name}: {fault}" for fault in faults]


def _lives(training: Training, usual: Progress, draw: random.Random, done: int, kills: int) -> tuple[int, list[str]]:
    """Start and kill a training until it ends by itself; the number of kills after it, and what was wrong."""
    while True:
        saved = training.epochs_saved()
        process, progress = training.start()
        moment = _moment(draw, usual, training.epochs) if done < kills else None
        killed = _kill_at(process, progress, moment)
        status = os.waitpid(process, 0)[1]
        if not killed:
            return done, [] if status == 0 else [f"does not go on: {training.log().splitlines()[-1]}"]
        done += 1
        faults = damage(training.folder)
        now, said, halves = "?" if faults else training.epochs_saved(), training.epochs_said(), training.leftovers()
        if isinstance(now, int) and now < max(saved, said - 1):
            faults.append(f"goes on after epoch {now}, though {saved} were saved and {said} done")
        if len(halves) > 2:  # model.pt and network.json are written at a time
            faults.append(f"leaves {len(halves)} half-written files: {', '.join(path.name for path in halves)}")
        row = (done, training.folder.name, PHASES[int(progress.now[0])], said, now, len(halves))
        print(" | ".join(map(str, (*row, "; ".join(faults) or "whole"))), flush=True)
        if faults:
            return done, faults


def _moment(draw: random.Random, usual: Progress, epochs: int) -> tuple[int, int, float]:
    """A phase, how often it shall have begun by then, and seconds after that."""
    phase = draw.choices(range(len(PHASES)), WEIGHTS)[0]
    if phase == 0:
        return phase, 0, draw.random() * usual.seconds[0]
    per_epoch = usual.counts[phase] / epochs
    ordinal = 1 + int(draw.random() * 2 * per_epoch)  # within two epochs
    return phase, ordinal, draw.random() * usual.seconds[phase] / usual.counts[phase]


def _kill_at(process: int, progress: Progress, moment: tuple[int, int, float] | None) -> bool:
    """Wait for a moment and kill the process group; false where the process is done before."""
    if moment is None:
        return False
    phase, ordinal, seconds = moment
    until = time.monotonic() + PATIENCE_S
    while progress.counts[phase] < ordinal:
        if _is_done(process) or time.monotonic() > until:
            return False
        time.sleep(1e-4)
    time.sleep(seconds)
    if _is_done(process):
        return False
    os.killpg(process, signal.SIGKILL)
    return True


def _is_done(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
