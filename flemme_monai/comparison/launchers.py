"""Where runs run: here, on a Ray cluster, or in a queue of Slurm."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..commands.clock import Clock
from ..commands.places import PACKAGE_PARENT
from ..commands.train_runs import run_jobs
from ..utils.files import text_file
from .plan import Run
from .runs import run

Outcome = tuple[dict[Run, dict[str, Any]], list[str]]  # contents of result.json, and messages of runs that failed


def line_of(todo: Run, content: dict[str, Any]) -> str:
    """The line on a run that has ended."""
    row = {name: value for name, value in content["row"].items() if name not in ("bundle", "channels", "parameters")}
    shown = (f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float | int))
    return f"{todo.title}: {', '.join(shown)}"


def kind(todo: Run) -> tuple[str, str]:
    """What runs have in common that take about as long."""
    return todo.entry.name, todo.data


def launch_local(runs: Sequence[Run], jobs: int) -> Outcome:
    """Run on this machine, some at a time."""
    return run_jobs({todo: partial(run, todo) for todo in runs}, jobs, line_of, kind)


def launch_ray(runs: Sequence[Run], address: str | None, processors: float, gpus: float) -> Outcome:
    """Run on a Ray cluster, a task a run; all machines see the output folder under one path.

    A task whose worker dies is run again by Ray, and goes on from the training's last checkpoint.

    Args:
        runs: what is run.
        address: of the cluster; None for one on this machine.
        processors: of each task, which computes with as many threads.
        gpus: of each task; a fraction shares one.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ray is not installed; expected it for --launcher ray: pip install 'flemme-monai[cluster]'"
        ) from error
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    found_by = {"env_vars": {"PYTHONPATH": str(PACKAGE_PARENT)}}
    task = ray.remote(num_cpus=processors, num_gpus=gpus, max_retries=-1, runtime_env=found_by)(_run_json)
    waiting = {task.remote(todo.as_json(), max(1, int(processors))): todo for todo in runs}
    slots = max(1, int(ray.cluster_resources().get("CPU", 1) // processors))
    clock = Clock({todo.folder: kind(todo) for todo in runs}, slots)
    for todo in runs[:slots]:
        clock.start(todo.folder)
    found: dict[Run, dict[str, Any]] = {}
    failed: list[str] = []
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        todo = waiting.pop(done)
        clock.end(todo.folder)
        try:
            content, message = ray.get(done)
        except ray.exceptions.RayError as error:
            content, message = None, f"{todo.title} failed: {error}"
        if content is None:
            failed.append(message)
            print(message, flush=True)
        else:
            found[todo] = content
            print(f"{len(found)} of {len(runs)}: {line_of(todo, content)}{clock.left()}", flush=True)
    return {todo: found[todo] for todo in runs if todo in found}, failed


def _run_json(content: dict[str, Any], threads: int) -> tuple[dict[str, Any] | None, str]:
    """Run what :meth:`Run.as_json` made, and return what was found or why there is nothing."""
    try:
        return run(Run.from_json(content), threads), ""
    except ChildProcessError as error:
        return None, str(error)


def write_slurm(runs: Sequence[Run], output: Path, at_a_time: int, options: Sequence[str]) -> Path:
    """Write a script for Slurm's queue: an array with a task a run; all machines see the output folder.

    Args:
        runs: what is run.
        output: folder of the script, of the list of runs and of what tasks print.
        at_a_time: tasks that run at once.
        options: further ones of ``sbatch``, such as ``--gres=gpu:1``.

    Returns:
        The script.
    """
    with text_file(output / "slurm_runs.json") as file:
        json.dump([todo.as_json() for todo in runs], file, indent=1)
    logs = output / "slurm"
    logs.mkdir(exist_ok=True)
    lines = [
        "#!/usr/bin/env bash",
        f"#SBATCH --job-name={output.name}",
        f"#SBATCH --array=0-{len(runs) - 1}%{at_a_time}",
        f"#SBATCH --output={logs}/%a.log",
        *(f"#SBATCH {option}" for option in options),
        "set -euo pipefail",
        f'export PYTHONPATH={shlex.quote(str(PACKAGE_PARENT))}"${{PYTHONPATH:+:$PYTHONPATH}}"',
        'export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"',
        f"exec {shlex.quote(sys.executable)} -m flemme_monai.comparison.runs "
        f'{shlex.quote(str(output / "slurm_runs.json"))} "$SLURM_ARRAY_TASK_ID"',
    ]
    script = output / "slurm.sh"
    with text_file(script) as file:
        file.write("\n".join(lines) + "\n")
    return script
