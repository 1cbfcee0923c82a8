"""Train bundles on the same data with the same budget, and put what they reach beside what they cost.

    flemme-monai compare --output comparison --seeds 0 1 2 --epochs 20 --set dataset_dir=DIR num_classes=2 \
        "image_size=[128,128]" --pair_set "*_vit*:network_def#backbone#family#spatial_reduction=[4,2,1]"
    flemme-monai compare "*sem_unet" "*sem_swinu" res=sem_unet --output DIR --data nuclei=DIR --steps 2000 --jobs 2
    flemme-monai compare --output leaderboard --architectures sem --encoders networks \
        --at_most --parameters 2000000 --epochs 20 --jobs 2 --set dataset_dir=DIR num_classes=2 "image_size=[128,128]"

Every bundle is trained and evaluated with every seed and fold on every data set, in processes of its own. Channels are
scaled to one number of parameters (or operations, or time of a step: `--match`). A run with its `result.json` is not
run again and a training that was stopped goes on, so a comparison may be stopped and continued with the same command; a
run that fails is named at the end, and the others go on. What a training step and an image cost is measured apart, one
network after the other in rounds. Tables, statistics and figures are in the output folder; docs/compare.md says which.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..comparison.analysis import named
from ..comparison.entries import NETWORK_ROWS, Entry, entries
from ..comparison.figures import write_figures
from ..comparison.launchers import Outcome, launch_local, launch_ray, write_slurm
from ..comparison.plan import Budget, Comparison, Run
from ..comparison.record import environment_record
from ..comparison.results import collect
from ..comparison.tables import write_tables
from ..registry import ARCHITECTURES, ENCODERS, NETWORKS
from ..statistics import TESTS
from .benchmark import setting
from .costs import measured_costs
from .matched import MEASURES, Match
from .train_runs import METRICS

LAUNCHERS = ("local", "ray", "slurm")
COST = "cost.json"
EPOCHS, PARAMETERS = 20, 1_000_000


def pair_setting(text: str) -> tuple[str, str, str]:
    """A setting PATTERN:NAME=VALUE as its three parts."""
    pattern, colon, rest = text.partition(":")
    if not (pattern and colon):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form PATTERN:NAME=VALUE.")
    return (pattern, *setting(rest))


def parser_of(prog: str | None) -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="pairs, bundles, patterns of them, or NAME=PAIR")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs and of the comparison")
    parser.add_argument("--architectures", nargs="+", choices=tuple(ARCHITECTURES), help="default: sem hsem")
    parser.add_argument(
        "--encoders",
        nargs="+",
        choices=(*ENCODERS, *NETWORKS, NETWORK_ROWS),
        help=f"encoders and networks, {NETWORK_ROWS!r} for all of the latter (default: all encoders)",
    )
    parser.add_argument(
        "--data", type=setting, nargs="+", metavar="NAME=DIR", help="data sets, in place of dataset_dir"
    )
    parser.add_argument(
        "--match", choices=(*MEASURES, "none"), default="parameters", help="what channels are scaled to"
    )
    parser.add_argument("--parameters", type=int, default=PARAMETERS, help="of every network, within 7.5%%")
    parser.add_argument("--gflop", type=float, help="of an image, for --match flops, within 7.5%%")
    parser.add_argument("--step_ms", type=float, help="of a training step, for --match step_time, within 15%%")
    parser.add_argument(
        "--at_most",
        action="store_true",
        help="only of networks that have more, as close as their channels come; others stay as they are",
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=int, help=f"of each training (default: {EPOCHS})")
    budget.add_argument("--steps", type=int, help="of each training, in place of epochs")
    budget.add_argument("--minutes", type=float, help="of training steps, by their measured time, in place of epochs")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seeds", type=int, nargs="+", help="of the trainings (default: 0)")
    seeds.add_argument("--seed", type=int, help="the only one")
    parser.add_argument("--folds", type=int, nargs="+", default=[], help="of num_folds; default: the usual split")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, each with its share of the threads")
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="NAME=VALUE", help="for all bundles")
    parser.add_argument(
        "--pair_set",
        type=pair_setting,
        nargs="+",
        default=[],
        metavar="PATTERN:NAME=VALUE",
        help="for bundles whose name, or data/name, matches",
    )
    parser.add_argument("--baseline", help="compare all with this bundle, not hierarchical ones with plain ones")
    parser.add_argument("--test", choices=tuple(TESTS), default="permutation", help="of differences, over cases")
    parser.add_argument("--finished", action="store_true", help="run nothing: tables and figures of what is finished")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="local", help="where runs run")
    parser.add_argument("--address", help="of the Ray cluster; default: this machine")
    parser.add_argument("--task_cpus", type=float, default=1, help="of each task of Ray")
    parser.add_argument("--task_gpus", type=float, default=0, help="of each task of Ray; fractions share one")
    parser.add_argument(
        "--slurm_option", nargs="+", default=[], metavar="OPTION", help="of sbatch, such as time=2:00:00"
    )
    return parser


def planned(args: argparse.Namespace, parser: argparse.ArgumentParser) -> Comparison:
    """What the command line asks for."""
    architectures = args.architectures or ["sem", "hsem"]
    wanted = args.encoders is not None or args.architectures is not None or not args.names
    found = entries(args.names, architectures if wanted else (), args.encoders)
    tasks = {entry.name: entry.task for entry in found}
    if not args.names:
        tasks = {architecture: ARCHITECTURES[architecture].task for architecture in architectures}
    if len(set(tasks.values())) != 1 or not set(tasks.values()) <= METRICS.keys():
        said = ", ".join(f"{name} is for {task}" for name, task in tasks.items())
        parser.error(f"{said}: name architectures of one task, which is {' or '.join(METRICS)}.")
    targets = {"parameters": args.parameters, "flops": args.gflop, "step_time": args.step_ms}
    if args.match != "none" and targets[args.match] is None:
        target = "--gflop" if args.match == "flops" else "--step_ms"
        parser.error(f"--match {args.match} has no target; expected {target} too: name it")
    match = None if args.match == "none" else Match(args.match, targets[args.match], args.at_most)
    units = {"steps": args.steps, "minutes": args.minutes}
    unit = next((name for name, amount in units.items() if amount is not None), "epochs")
    amount = units.get(unit) or args.epochs or EPOCHS
    seeds = args.seeds or [args.seed or 0]
    data: dict[str, str | None] = {name: str(Path(folder).resolve()) for name, folder in args.data or ()}
    budget = Budget(unit, amount)
    return Comparison(found, data or {"": None}, args.folds, seeds, budget, match, args.set, args.pair_set, args.output)


def launched(runs: Sequence[Run], args: argparse.Namespace) -> Outcome:
    """Run what has not been run before."""
    done = {todo: content for todo in runs if (content := todo.found()) is not None}
    todo = [each for each in runs if each not in done]
    if done:
        print(f"{len(done)} of {len(runs)} runs are finished", flush=True)
    if not todo or args.finished:
        return done, []
    if args.launcher == "ray":
        found, failed = launch_ray(todo, args.address, args.task_cpus, args.task_gpus)
    else:
        found, failed = launch_local(todo, args.jobs)
    both = {**done, **found}
    return {each: both[each] for each in runs if each in both}, failed


def cost_rows(comparison: Comparison, found: Mapping[Run, Any], measure: bool) -> list[dict[str, Any]]:
    """The costs of all bundles that have a run.

    Args:
        comparison: whose bundles.
        found: the finished runs.
        measure: measure those that are not known, one network after the other; else they are left out.
    """
    first: dict[tuple[str, Entry], Run] = {}
    for run in found:
        first.setdefault((run.data, run.entry), run)
    files = {key: comparison.folder(*key) / COST for key in first}
    missing = {"\n".join((data, entry.name)): (data, entry) for data, entry in files if not files[data, entry].exists()}
    networks = {name: (entry.source, first[data, entry].budget["settings"]) for name, (data, entry) in missing.items()}
    for name, cost in measured_costs(networks if measure else {}).items():
        files[missing[name]].write_text(json.dumps(cost, indent=1) + "\n", encoding="utf-8")
    rows = []
    for (data, entry), path in files.items():
        if path.exists():
            rows.append({"data": data, "bundle": entry.name, **json.loads(path.read_text(encoding="utf-8"))})
    return rows


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Compare the bundles named on the command line.

    Returns:
        1 if a run failed or nothing is finished, else 0.
    """
    parser = parser_of(prog)
    args = parser.parse_args(argv)
    args.output = args.output.resolve()
    comparison = planned(args, parser)
    baseline = named([entry.name for entry in comparison.entries], args.baseline)
    args.output.mkdir(parents=True, exist_ok=True)
    runs = comparison.runs()
    if args.launcher == "slurm" and not args.finished:
        todo = [run for run in runs if run.found() is None]
        if todo:
            script = write_slurm(todo, args.output, args.jobs, [f"--{option}" for option in args.slurm_option])
            print(f"written: {script}, {len(todo)} runs; after `sbatch {script}` the same command with --finished")
            return 0
    found, failed = launched(runs, args)
    if not found:
        print(*failed, "no run is finished", sep="\n")
        return 1
    words = ["flemme-monai", "compare", *(sys.argv[1:] if argv is None else argv)]
    about = {
        "command": shlex.join(map(str, words)),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "environment": environment_record(),
        "hierarchical": [entry.name for entry in comparison.entries if entry.hierarchical],
        "encoders": {entry.name: entry.encoder for entry in comparison.entries},
        "backbones": {entry.name: entry.backbone for entry in comparison.entries},
        "settings": {f"{run.data}/{run.entry.name}".strip("/"): run.budget["settings"] for run in reversed(found)},
        "splits": splits(found),
        "runs": [len(found), len(runs)],
        "failed": failed,
        "baseline": baseline,
        "test": args.test,
    }
    results = collect(found, cost_rows(comparison, found, not args.finished), about)
    results.write(args.output)
    write_tables(results, args.output, baseline, args.test)
    pictures = write_figures(results, args.output, list(found))
    files = ("comparison.csv", "comparison.md", "comparison.tex", "differences.csv", *pictures)
    print(f"written: {args.output}/{', '.join(files)}")
    print(*failed, sep="\n", end="\n" if failed else "")
    return int(bool(failed))


def splits(found: Mapping[Run, Mapping[str, Any]]) -> dict[str, Any]:
    """How many cases the parts of each split have, and the fingerprint of its data, by data set, fold and seed."""
    kept: dict[str, Any] = {}
    for run, content in found.items():
        split = content.get("split")
        if split:
            name = " ".join([run.data, *([] if run.fold is None else [f"fold {run.fold}"]), f"seed {run.seed}"]).strip()
            parts = {part: len(split[part]) for part in ("train", "val", "test") if part in split}
            kept.setdefault(name, {**parts, "data_set": split.get("data_set")})
    return kept
