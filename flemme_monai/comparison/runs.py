"""One run of a comparison: train, evaluate, and keep what was found with all that it was made of.

    python -m flemme_monai.comparison.runs RUNS.json INDEX

runs one of a file, which is what a task of a cluster's queue calls.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from ..commands.train_runs import METRICS, train_and_evaluate
from ..handlers.shown_cases import SHOWN_TASKS
from ..recipes import make_bundle, write
from ..utils.files import text_file
from .plan import RESULT, Run
from .record import environment_record, split_record

SHOWN_CASES = 4  # of each run, the same of all runs of a data set
OVERLAY, EXAMPLES = "comparison.json", "examples.npz"


def run(todo: Run, threads: int | None = None) -> dict[str, Any]:
    """Train and evaluate, or read what was found before.

    Args:
        todo: the run; a training that was stopped goes on.
        threads: of each process; None for PyTorch's default.

    Returns:
        The content of ``result.json``: ``budget``, ``row`` of the comparison without costs, ``run``, ``environment``
        and ``split``.

    Raises:
        ChildProcessError: If a process fails.
    """
    found = todo.found()
    if found is not None:
        return found
    started, folder, settings = time.time(), todo.folder, todo.budget["settings"]
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(todo.entry.source)
    if source.is_absolute():
        shutil.copytree(source / "configs", folder / "configs", dirs_exist_ok=True)
    else:
        write(folder, make_bundle(todo.entry.source))
    try:
        metrics, seconds = train_and_evaluate(folder, settings, threads, _overlays(todo))
    except ChildProcessError as error:
        raise ChildProcessError(f"{todo.title} failed: {_last_words(folder)}") from error
    row = {
        "bundle": todo.entry.name,
        "channels": f"x {todo.budget['factor']:g}",
        "parameters": todo.budget["parameters"],
        **{name: metrics.get(name) for name in METRICS[todo.entry.task]},
        "seconds an epoch": seconds,
    }
    content = {
        "budget": todo.budget,
        "row": row,
        "run": {
            "data": todo.data,
            "fold": todo.fold,
            "seed": todo.seed,
            "source": todo.entry.source,
            "metrics": metrics,
            "threads": threads,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(started)),
            "seconds": round(time.time() - started, 1),
        },
        "environment": environment_record(),
        "split": split_record(folder),
    }
    with text_file(folder / RESULT) as file:
        json.dump(content, file, indent=1)
    return content


def _last_words(folder: Path) -> str:
    """The last line of a run's newest log, and where that is."""
    log = max(folder.glob("*.log"), key=lambda path: path.stat().st_mtime, default=None)
    if log is None:
        return f"see {folder}"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return f"{next((line for line in reversed(lines) if line.strip()), 'no word')} (see {log})"


def _overlays(todo: Run) -> list[Path]:
    """A config with which the evaluation also keeps the predictions of some cases; none where none can be drawn."""
    if todo.entry.task not in SHOWN_TASKS or todo.budget["settings"].get("multi_label"):
        return []
    path = todo.folder / OVERLAY
    keep = {
        "_target_": "flemme_monai.handlers.SaveShownCases",
        "path": str(todo.folder / EXAMPLES),
        "task": todo.entry.task,
        "num_cases": SHOWN_CASES,
    }
    with text_file(path) as file:
        json.dump({"+validate#handlers": [keep]}, file, indent=1)
    return [path]


def main(path: str, index: str) -> None:
    """Run one of a file's runs."""
    todo = Run.from_json(json.loads(Path(path).read_text(encoding="utf-8"))[int(index)])
    print(f"{todo.title}: {run(todo)['row']}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
