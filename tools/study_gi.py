"""FancyUNet against SegFormer-B0, as in the study of the GI tract, under one budget.

python tools/study_gi.py --data_dir DIR --output DIR --jobs 2              # DIR/nuclei holds the images

Both are trained with several seeds on the sample of phantoms that `flemme-monai gi-sample` writes and on nuclei, with
Dice-BCE and one sigmoid a class. The learning rate of each network on each data set is the one with the best validation
Dice of the first seed. A run that has its `result.json` is not run again, so that the study may be stopped and
continued. It ends with `runs.csv` and `study.md`; what a step and an image cost is measured after all trainings.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from flemme_monai.commands.costs import costs  # noqa: E402
from flemme_monai.commands.matched import built_network, training_config  # noqa: E402
from flemme_monai.commands.measure import count_parameters, machine, markdown_table  # noqa: E402
from flemme_monai.commands.train_runs import run_jobs, train_and_evaluate  # noqa: E402
from flemme_monai.data.gi_sample import write_gi_sample  # noqa: E402
from flemme_monai.recipes import make_bundle, write  # noqa: E402

NETWORKS = {"fancyunet": "FancyUNet", "segformer": "SegFormer-B0"}
LEARNING_RATES = (0.0003, 0.001, 0.003)
COMMON: dict[str, Any] = {
    "multi_label": True,
    "image_size": [64, 64],
    "batch_size": 4,
    "val_interval": 5,
    "warmup_epochs": 2,
    "num_workers": 0,
}
STEPS = 400
SAMPLE = {"num_cases": 20, "num_slices": 12, "seed": 0}  # 30 days, as every second case has two


@dataclass(frozen=True)
class DataSet:
    """Images of the study.

    Args:
        title: in the table.
        settings: of bundles.
        train: number of training images.
        minutes: table of minutes saved; empty for the organs' own.
    """

    title: str
    settings: dict[str, Any]
    train: int
    minutes: dict[str, list[float]] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """So many that all data sets have the same number of steps."""
        return round(STEPS / -(-self.train // COMMON["batch_size"]))


DATA_SETS = {
    "gi_sample": DataSet("phantoms of the GI tract", {"num_classes": 3, "resize": True, "clip_share": 1 / 30}, 216),
    "nuclei": DataSet("nuclei", {"num_classes": 1}, 120, {"nucleus": [0.9, 1.0, 1.0]}),
}


@dataclass(frozen=True)
class Trial:
    """One training.

    Args:
        data: key of ``DATA_SETS``.
        network: key of ``NETWORKS``.
        learning_rate: the highest.
        seed: of weights and order.
    """

    data: str
    network: str
    learning_rate: float
    seed: int

    def settings(self, output: Path) -> dict[str, Any]:
        """Of its bundle."""
        own = {"learning_rate": self.learning_rate, "seed": self.seed, "epochs": DATA_SETS[self.data].epochs}
        return {**COMMON, **DATA_SETS[self.data].settings, **own, "dataset_dir": str(output / "data" / self.data)}


def prepare(data: Path, output: Path) -> None:
    """Write the sample, and the nuclei with a folder of masks for their class."""
    sample, nuclei = output / "data" / "gi_sample", output / "data" / "nuclei"
    if not sample.exists():
        write_gi_sample(sample, **SAMPLE)
    if not nuclei.exists():
        (nuclei / "masks").mkdir(parents=True)
        (nuclei / "images").symlink_to(data / "nuclei" / "images")
        (nuclei / "masks" / "nucleus").symlink_to(data / "nuclei" / "masks")


def trained(trial: Trial, output: Path, threads: int | None) -> dict[str, Any]:
    """Train and evaluate, or read what was found before: the metrics of the test, and validation's best Dice."""
    folder = output / trial.data / trial.network / f"{trial.learning_rate:g}" / str(trial.seed)
    result = folder / "result.json"
    if not result.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, make_bundle(f"sem_{trial.network}"))
        minutes = DATA_SETS[trial.data].minutes
        overlay = folder / "minutes.json"
        overlay.write_text(json.dumps({"time_saved": minutes} if minutes else {}), encoding="utf-8")
        metrics, seconds = train_and_evaluate(folder, trial.settings(output), threads, [overlay])
        with (folder / "train" / "metrics.csv").open(newline="", encoding="utf-8") as file:
            validation = max(float(row["dice"]) for row in csv.DictReader(file) if row["dice"])
        with (folder / "evaluate" / "summary.csv").open(newline="", encoding="utf-8") as file:
            classes = {
                f"{row['metric']} {row['class']}": float(row["mean"])
                for row in csv.DictReader(file)
                if row["metric"] in ("dice", "time_saved") and row["class"] != "all" and row["mean"]
            }
        found = {"validation dice": validation, **metrics, **classes, "seconds an epoch": seconds}
        result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return json.loads(result.read_text(encoding="utf-8"))


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and standard deviation over seeds."""
    return (
        f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else f"{values[0]:g}"
    )


def table(rows: Sequence[Mapping[str, Any]], measured: Mapping[tuple[str, str], Mapping[str, float]]) -> str:
    """A line a data set and network."""
    lines = []
    for data, network in product(DATA_SETS, NETWORKS):
        own = [row for row in rows if (row["data"], row["network"]) == (data, network)]
        if not own:
            continue
        cost = measured[data, network]
        lines.append(
            {
                "images": DATA_SETS[data].title,
                "network": NETWORKS[network],
                "learning rate": f"{own[0]['learning_rate']:g}",
                "Dice": spread([row["dice"] for row in own], 4),
                "BCE": spread([row["bce"] for row in own], 4),
                "minutes saved an image": spread([row["time_saved_total"] for row in own], 2),
                "parameters": f"{cost['parameters']:,}",
                "images/s, inference": f"{1e3 / cost['inference ms']:.1f}",
                "images/s, training": f"{1e3 * COMMON['batch_size'] / cost['step ms']:.1f}",
                "step MiB": f"{cost['step MiB']:.0f}",
            }
        )
    return markdown_table(lines)


def measured_costs(trials: Sequence[Trial], output: Path) -> dict[tuple[str, str], dict[str, float]]:
    """What each network costs on each data set, measured once and kept in a file."""
    found = {}
    for trial in trials:
        path = output / trial.data / trial.network / "cost.json"
        if not path.exists():
            pair = f"sem_{trial.network}"
            settings = {name: value for name, value in trial.settings(output).items() if name != "dataset_dir"}
            parameters = count_parameters(built_network(training_config(pair, settings)))
            cost = {"parameters": parameters, **costs({pair: (pair, settings)})[pair]}
            path.write_text(json.dumps(cost, indent=1) + "\n", encoding="utf-8")
        found[trial.data, trial.network] = json.loads(path.read_text(encoding="utf-8"))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study.

    Returns:
        1 if a run failed, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with nuclei/")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each with its share of the threads")
    args = parser.parse_args(argv)
    output = args.output.resolve()
    prepare(args.data_dir.resolve(), output)

    def results(trials: Sequence[Trial]) -> tuple[dict[Trial, dict[str, Any]], list[str]]:
        jobs = {trial: partial(trained, trial, output) for trial in trials}
        return run_jobs(jobs, args.jobs, lambda trial, row: f"{trial} {row['dice']:.4f}")

    first = [Trial(*choice, args.seeds[0]) for choice in product(DATA_SETS, NETWORKS, LEARNING_RATES)]
    tried, failed = results(first)
    best = []
    for data, network in product(DATA_SETS, NETWORKS):
        own = [trial for trial in tried if (trial.data, trial.network) == (data, network)]
        best.append(max(own, key=lambda trial: tried[trial]["validation dice"]))
    chosen = [Trial(t.data, t.network, t.learning_rate, seed) for t in best for seed in args.seeds]
    found, failed_later = results(chosen)
    rows = [{**vars(trial), **found[trial]} for trial in chosen if trial in found]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (output / "runs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    text = f"{machine()}\n\n{table(rows, measured_costs(best, output))}\n"
    (output / "study.md").write_text(text, encoding="utf-8")
    print(text)
    return int(bool(failed or failed_later))


if __name__ == "__main__":
    sys.exit(main())
