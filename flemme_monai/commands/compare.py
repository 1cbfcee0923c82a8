"""Train bundles on the same data with the same budget, and put what they reach beside what they cost.

    flemme-monai compare --output comparison --epochs 20 --set dataset_dir=DIR num_classes=2 \
        "image_size=[128,128]" --pair_set "*_vit*:network_def#backbone#family#spatial_reduction=[4,2,1]"
    flemme-monai compare --output leaderboard --architectures sem --encoders networks \
        --at_most --parameters 2000000 --epochs 20 --jobs 2 --set dataset_dir=DIR num_classes=2 "image_size=[128,128]"

The channels of every network are scaled to one number of parameters, or only of those that have more. Each bundle
trains and is evaluated in processes of its own, some at a time with `--jobs`. A bundle that has its `result.json` is
not run again, so a comparison may be stopped and continued; one that fails is named at the end, and the others go on.
What a training step and an image cost is measured when all trainings have ended, one network after the other in rounds.
It ends with `comparison.csv`, `comparison.md` and `comparison.png` in the output folder.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from ..recipes import make_bundle, write
from ..registry import ARCHITECTURES, CONNECTIONS, ENCODERS, FAMILIES, NETWORKS, pairs
from .benchmark import setting
from .costs import costs
from .matched import matched_settings
from .measure import machine, markdown_table
from .train_runs import METRICS, parsed, run_jobs, train_and_evaluate

NETWORK_ROWS = "networks"  # the word for all networks from elsewhere
COLORS = {family: f"C{i}" for i, family in enumerate(FAMILIES)}
MARKERS = dict(zip(CONNECTIONS, "osD"))


def pair_setting(text: str) -> tuple[str, str, str]:
    """A setting PATTERN:NAME=VALUE as its three parts."""
    pattern, colon, rest = text.partition(":")
    if not (pattern and colon):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form PATTERN:NAME=VALUE.")
    return (pattern, *setting(rest))


def settings_of(pair: str, args: argparse.Namespace) -> dict[str, Any]:
    """The settings of a pair, values as the command line of ``monai.bundle run`` reads them."""
    pairs = [(name, value) for name, value in args.set]
    pairs += [(name, value) for pattern, name, value in args.pair_set if fnmatch(pair, pattern)]
    return {name: parsed(value) for name, value in pairs}


def compare_pair(pair: str, budget: dict[str, Any], folder: Path, threads: int | None = None) -> dict[str, Any]:
    """Train and evaluate one bundle, or read what was found before.

    Args:
        pair: ``<architecture>_<backbone>``.
        budget: its settings, its parameters and the factor of its channels.
        folder: of its runs.
        threads: of each process.

    Returns:
        The row of the comparison, without costs.
    """
    result = folder / "result.json"
    if result.exists():
        found = json.loads(result.read_text(encoding="utf-8"))
        if found["budget"] != budget:
            raise ValueError(f"{result} was found with other settings; name another --output or remove {folder}.")
        return found["row"]
    folder.mkdir(parents=True, exist_ok=True)
    settings = budget["settings"]
    write(folder, make_bundle(pair))
    metrics, seconds = train_and_evaluate(folder, settings, threads)
    row = {
        "bundle": pair,
        "channels": f"x {budget['factor']:g}",
        "parameters": budget["parameters"],
        **{name: metrics.get(name) for name in METRICS[ARCHITECTURES[pair.partition("_")[0]].task]},
        "seconds an epoch": seconds,
    }
    result.write_text(json.dumps({"budget": budget, "row": row}, indent=1) + "\n", encoding="utf-8")
    return row


def compare_pairs(
    budgets: Mapping[str, dict[str, Any]], output: Path, jobs: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Train and evaluate bundles, some at a time, and then measure what they cost.

    Args:
        budgets: of pairs.
        output: folder of their folders.
        jobs: how many at a time; each computes with its share of the threads.

    Returns:
        A row a bundle, and the messages of those that failed.
    """
    jobs_of = {pair: partial(compare_pair, pair, budget, output / pair) for pair, budget in budgets.items()}
    rows, failed = run_jobs(jobs_of, jobs, lambda pair, row: str(_rounded(row)))
    files = {pair: output / pair / "cost.json" for pair in budgets if pair in rows}
    missing = [pair for pair, path in files.items() if not path.exists()]
    for pair, found in costs({pair: budgets[pair]["settings"] for pair in missing}).items():
        files[pair].write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return [rows[pair] | json.loads(path.read_text(encoding="utf-8")) for pair, path in files.items()], failed


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


def plot(rows: Sequence[dict[str, Any]], metric: str, path: Path) -> None:
    """A metric over the time of a training step.

    A color a family, a marker a connection, filled and joined where hierarchical. Networks from elsewhere are grey,
    with their names.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    encoders: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        encoders.setdefault(row["bundle"].partition("_")[2], []).append(row)
    for encoder, found in encoders.items():
        of = ENCODERS.get(encoder)
        color, marker = ("0.4", ".") if of is None else (COLORS[of.family], MARKERS[of.connection])
        axes.plot([r["step ms"] for r in found], [r[metric] for r in found], color=color, linewidth=0.8)
        for row in found:
            axes.plot(
                row["step ms"],
                row[metric],
                marker,
                color=color,
                markersize=7,
                markerfacecolor=color if ARCHITECTURES[row["bundle"].partition("_")[0]].hierarchical else "white",
            )
        if of is None:
            best = max(found, key=lambda row: row[metric])
            axes.annotate(encoder, (best["step ms"], best[metric]), fontsize=7, color=color)
        else:
            axes.plot([], [], marker, color=color, label=of.name)
    axes.set(xlabel="training step in ms", ylabel=f"test {metric}", title="filled: hierarchical", xlim=(0, None))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Compare the bundles named on the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs and of the comparison")
    parser.add_argument("--architectures", nargs="+", choices=tuple(ARCHITECTURES), default=["sem", "hsem"])
    parser.add_argument(
        "--encoders",
        nargs="+",
        choices=(*ENCODERS, *NETWORKS, NETWORK_ROWS),
        help=f"encoders and networks, {NETWORK_ROWS!r} for all of the latter (default: all encoders)",
    )
    parser.add_argument("--parameters", type=int, default=1_000_000, help="of every network, within 7.5%%")
    parser.add_argument(
        "--at_most",
        action="store_true",
        help="only of networks that have more, as close as their channels come; others stay as they are",
    )
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, each with its share of the threads")
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="NAME=VALUE", help="for all bundles")
    parser.add_argument(
        "--pair_set",
        type=pair_setting,
        nargs="+",
        default=[],
        metavar="PATTERN:NAME=VALUE",
        help="for bundles whose name matches",
    )
    args = parser.parse_args(argv)
    args.output = args.output.resolve()
    tasks = {architecture: ARCHITECTURES[architecture].task for architecture in args.architectures}
    if len(set(tasks.values())) > 1 or not set(tasks.values()) <= METRICS.keys():
        found = ", ".join(f"{architecture} is for {task}" for architecture, task in tasks.items())
        parser.error(f"{found}: name architectures of one task, which is {' or '.join(METRICS)}.")
    chosen = [k for key in args.encoders or ENCODERS for k in (NETWORKS if key == NETWORK_ROWS else [key])]
    shipped = set(pairs(shipped=True))
    todo = [(e, a) for e in chosen for a in tasks if e in (args.encoders or ()) or f"{a}_{e}" in shipped]
    budgets = {}
    for encoder, architecture in todo:
        pair = f"{architecture}_{encoder}"
        settings, factor, parameters = matched_settings(pair, settings_of(pair, args), args.parameters, args.at_most)
        settings = {**settings, "epochs": args.epochs, "seed": args.seed}
        budgets[pair] = {"settings": settings, "factor": factor, "parameters": parameters}
    args.output.mkdir(parents=True, exist_ok=True)
    rows, failed = compare_pairs(budgets, args.output, args.jobs)
    if not rows:
        return 1
    with (args.output / "comparison.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (args.output / "comparison.md").write_text(f"{machine()}\n\n{markdown_table(rows)}\n", encoding="utf-8")
    plot(rows, METRICS[tasks[architecture]][0], args.output / "comparison.png")
    print(f"written: {args.output}/comparison.csv, comparison.md, comparison.png")
    print(*failed, sep="\n", end="\n" if failed else "")
    return int(bool(failed))
