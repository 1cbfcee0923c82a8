"""Train a bundle on each fold of a data set, and say what the folds reach on the cases that they were not trained on.

    flemme-monai train-folds --bundle bundles/liver --dataset_dir DIR --num_folds 5 --jobs 1 --set epochs=100

Each fold trains and is evaluated in processes of its own, in <bundle>/folds_of_5/<fold>, some at a time with --jobs.
The command may be stopped and given again: a fold that has ended is not run again, one that was stopped goes on. It
ends with folds.csv and folds.md. `flemme-monai ensemble` makes one predictor of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..io import write_csv
from .benchmark import setting
from .bundle_files import find_bundle
from .measure import markdown_table
from .train_runs import parsed, run_jobs, train_and_evaluate

RESULT = "result.json"


def folds_folder(bundle: Path, num_folds: int) -> Path:
    """The folder of all folds of a bundle."""
    return bundle / f"folds_of_{num_folds}"


def train_fold(bundle: Path, folder: Path, settings: Mapping[str, Any], threads: int | None = None) -> dict[str, Any]:
    """Train and evaluate a bundle on one fold, or read what was found before.

    Args:
        bundle: its folder.
        folder: of the fold.
        settings: of the bundle, the fold among them.
        threads: of each process.

    Returns:
        ``settings``, ``configs`` (their hash), ``metrics`` of the fold's test cases and ``seconds an epoch``.

    Raises:
        ChildProcessError: If a run fails.
        ValueError: If the fold was trained with other settings or configs.
    """
    budget = {"settings": dict(settings), "configs": _digest(bundle / "configs" / "train.json")}
    result, begun = folder / RESULT, folder / "begun.json"
    for path in (result, begun):
        if path.exists() and {key: json.loads(path.read_text(encoding="utf-8"))[key] for key in budget} != budget:
            raise ValueError(
                f"{path} is of other settings or configs; expected those of this run: remove {folder} to train it anew"
            )
    if result.exists():
        return json.loads(result.read_text(encoding="utf-8"))
    shutil.copytree(bundle / "configs", folder / "configs", dirs_exist_ok=True)
    begun.write_text(json.dumps(budget, indent=1) + "\n", encoding="utf-8")
    metrics, seconds = train_and_evaluate(folder, settings, threads)
    found = {**budget, "metrics": metrics, "seconds an epoch": seconds}
    result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def table(found: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per fold, and their mean and deviation."""
    names = list(dict.fromkeys(name for result in found.values() for name in result["metrics"]))
    rows: list[dict[str, Any]] = [
        {"fold": fold, **{name: found[fold]["metrics"].get(name) for name in names}} for fold in sorted(found)
    ]
    columns = {name: [row[name] for row in rows if row[name] is not None] for name in names}
    mean = {name: statistics.fmean(values) for name, values in columns.items()}
    deviation = {name: statistics.pstdev(values) for name, values in columns.items()}
    return [*rows, {"fold": "mean", **mean}, {"fold": "deviation", **deviation}]


def _first(metrics: Mapping[str, float]) -> str:
    name, value = next(iter(metrics.items()))
    return f"{name} {value:.4f}"


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Train the folds that the command line names.

    Returns:
        0, or 1 if a fold failed.

    Raises:
        FileNotFoundError: If there is no such bundle.
        ValueError: If a fold is none, or was trained with other settings.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", required=True, help="folder of a segmentation, or its name")
    parser.add_argument("--dataset_dir", help="the data set's folder; phantoms without")
    parser.add_argument("--num_folds", type=int, default=5, help="at least 3: one tests, one validates")
    parser.add_argument("--folds", type=int, nargs="+", help="only these, from 0")
    parser.add_argument("--jobs", type=int, default=1, help="folds at a time, each with its share of the threads")
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="NAME=VALUE", help="of the bundle")
    args = parser.parse_args(argv)
    bundle = find_bundle(args.bundle)
    folds = args.folds or list(range(args.num_folds))
    if args.num_folds < 3 or not all(0 <= fold < args.num_folds for fold in folds):
        raise ValueError(
            f"num_folds is {args.num_folds} and folds {folds}; expected 3 or more, and folds from 0 to num_folds - 1: "
            "name others"
        )
    settings = {name: parsed(value) for name, value in args.set} | {"num_folds": args.num_folds}
    if args.dataset_dir is not None:
        settings["dataset_dir"] = str(Path(args.dataset_dir).resolve())
    folder = folds_folder(bundle, args.num_folds)
    jobs = {
        fold: partial(train_fold, bundle, folder / str(fold), {**settings, "fold": fold})
        for fold in dict.fromkeys(folds)
    }
    found, failed = run_jobs(jobs, args.jobs, lambda fold, result: f"fold {fold}: {_first(result['metrics'])}")
    if found:
        rows = table(found)
        write_csv(folder / "folds.csv", list(rows[0]), (list(row.values()) for row in rows))
        (folder / "folds.md").write_text(markdown_table(rows) + "\n", encoding="utf-8")
        print(f"written: {folder}/folds.csv, folds.md")
    return int(bool(failed))
