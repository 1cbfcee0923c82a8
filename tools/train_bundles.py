"""Train the bundles that come with weights, measure them on their test cases and keep what is shipped.

python tools/train_bundles.py nuclei_hsem_unet --data_dir DIR            # DIR/nuclei holds the images
python tools/train_bundles.py nuclei_hsem_unet --data_dir DIR --no-train # evaluates and keeps what was trained

A run that was stopped goes on. It lives in --work_dir/NAME; weights, records and pictures are then copied into
bundles/NAME, what was measured into flemme_monai/recipes/results/NAME.json, and tools/make_bundles.py writes the pages.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from flemme_monai.commands.bundle_files import WEIGHTS, read_config, trainings, weights_files  # noqa: E402
from flemme_monai.commands.measure import instruction_set  # noqa: E402
from flemme_monai.commands.places import BUNDLES, environment, run_command  # noqa: E402
from flemme_monai.data.split_record import SPLIT_FILE  # noqa: E402
from flemme_monai.recipes import TRAINED, TrainedBundle, make_bundle, write  # noqa: E402
from flemme_monai.utils.record import RECORD  # noqa: E402
from flemme_monai.utils.weights import LAST, read_checkpoint  # noqa: E402

RESULTS = ROOT / "flemme_monai" / "recipes" / "results"
PICTURES = ("examples.png", "curves.png")


def run(folder: Path, configs: Sequence[str], data: Path, **settings: Any) -> None:
    """Run configs of a bundle over each other in a process of one thread."""
    settings = {"bundle_root": folder, "dataset_dir": data, "num_workers": 0, **settings}
    command = run_command([folder / "configs" / f"{name}.json" for name in configs], settings)
    subprocess.run(command, cwd=ROOT, env=environment(OMP_NUM_THREADS="1"), check=True)


def train(folder: Path, data: Path) -> None:
    """Run each training of a bundle, or go on with it."""
    for name, weights in zip(trainings(folder), weights_files(folder), strict=True):
        run(folder, [name], data, resume=(folder / weights).with_name(LAST).is_file())


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measured(bundle: TrainedBundle, folder: Path) -> dict[str, Any]:
    """What the runs in a folder have written of a bundle's training and test."""
    names = trainings(folder)
    metric = next(iter(read_config(folder, names[-1])["validate"]["key_metric"]))
    trainer = read_checkpoint((folder / WEIGHTS).with_name(LAST))["trainer"]
    seconds = sum(float(row["seconds"]) for name in names for row in table(folder / "output" / name / "metrics.csv"))
    tested = {}
    for row in table(folder / "output" / "evaluate" / "summary.csv"):  # the last of a metric is its mean over classes
        found = {"mean": row.get("mean", row.get("value")), "std": row.get("std")}
        tested[row["metric"]] = {name: round(float(value), 4) for name, value in found.items() if value}
    weights = [read_checkpoint(folder / name) for name in weights_files(folder)]
    return {
        "parameters": sum(tensor.numel() for state in weights for tensor in state.values()),
        "epochs": trainer["epoch"],
        "minutes": round(seconds / 60),
        "machine": f"{platform.machine()}, {instruction_set()}, torch {torch.__version__}",
        "chosen": {
            "metric": metric,
            "value": round(float(trainer["best_metric"]), 4),
            "epoch": trainer["best_metric_epoch"],
        },
        "metrics": {name: tested[name] for name in bundle.metrics},
    }


def keep(bundle: TrainedBundle, folder: Path) -> None:
    """Copy what is shipped, and write what was measured."""
    target = BUNDLES / bundle.name
    for name in weights_files(folder):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(read_checkpoint(folder / name), target / name)  # smaller than what was written in mid-run
        for record in (RECORD, SPLIT_FILE):
            shutil.copyfile((folder / name).with_name(record), (target / name).with_name(record))
    (target / "docs").mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        shutil.copyfile(folder / "output" / trainings(folder)[-1] / picture, target / "docs" / picture)
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(measured(bundle, folder), indent=4) + "\n"
    (RESULTS / f"{bundle.name}.json").write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, evaluate and keep the bundles named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", choices=list(TRAINED), help=", ".join(TRAINED))
    parser.add_argument("--data_dir", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--work_dir", type=Path, default=Path("trained"), help="where runs live (default: trained)")
    parser.add_argument("--train", action=argparse.BooleanOptionalAction, default=True, help="train before")
    args = parser.parse_args(argv)
    for name in args.names:
        bundle, folder = TRAINED[name], args.work_dir.resolve() / name
        data = args.data_dir.resolve() / bundle.dataset
        write(folder, make_bundle(bundle.pair, name, bundle.settings))
        if args.train:
            train(folder, data)
        run(folder, [trainings(folder)[-1], "evaluate"], data, **bundle.evaluation_beside(BUNDLES))
        keep(bundle, folder)


if __name__ == "__main__":
    main()
