"""Does SAS keep its promise? Networks with and without each part, on clean images and on photos of a screen.

python tools/study_sas.py --data_dir DIR --output DIR --jobs 2              # DIR/nuclei holds the images
python tools/study_sas.py --data_dir DIR --output DIR --networks unet --fractions 0.1 --seeds 0

Trains every variant on shares of the labelled training images, with several seeds, and tests it clean and through
`RandScreenPhotod` at three strengths. A run that has its `result.csv` is not run again, so that the study may be
stopped and continued. It ends with `cases.csv` (the Dice of every case of every run), `sas.md` and `sas.png`.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from flemme_monai.commands.measure import machine, markdown_table  # noqa: E402
from flemme_monai.commands.train_runs import run, run_jobs, run_logged  # noqa: E402
from flemme_monai.recipes import make_bundle, write  # noqa: E402
from flemme_monai.statistics import Interval, hierarchical_interval  # noqa: E402

DATA = "nuclei"
STRENGTHS = (0.0, 0.33, 0.66, 1.0)  # of the photographs; 0 is the clean image
STEPS, BATCH = 300, 8
PARTS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
COMMON = {
    "num_classes": 2,
    "image_size": [128, 128],
    "batch_size": BATCH,
    "learning_rate": 0.002,
    "num_workers": 0,
}
PRETRAINING = {"batch_size": 16, "epochs": 60, "learning_rate": 0.001, "watch_interval": 20}
NONE = dict.fromkeys(("flip", "rotate", "scale", "elastic", "intensity", "noise"), 0.0)
USUAL = {  # geometry of the bundles, and what JMedSeg changes: brightness and contrast
    "flip": 0.5,
    "rotate": 0.2,
    "scale": 0.2,
    "elastic": 0.1,
    "intensity": 0.3,
    "noise": 0.2,
    "brightness": 0.3,
    "contrast": 0.3,
    "blur": 0.2,
}


@dataclass(frozen=True)
class Variant:
    """What a training has beside the network.

    Args:
        title: in the table.
        augmentation: probabilities.
        stn: the network sees the image through a spatial transformer.
        method: of the pretraining; empty without.
    """

    title: str
    augmentation: dict[str, float]
    stn: bool = False
    method: str = ""


VARIANTS = {
    "plain": Variant("plain", NONE),
    "augmentation": Variant("+ augmentation", USUAL),
    "stn": Variant("+ spatial transformer", NONE, stn=True),
    "moco": Variant("+ pretraining, MoCo", NONE, method="moco"),
    "masked": Variant("+ pretraining, masked", NONE, method="masked"),
    "sas": Variant("all three (MoCo): SAS", USUAL, stn=True, method="moco"),
    "photos": Variant("+ augmentation with screen photos", {**USUAL, "screen_photo": 0.5}),
    "sas_photos": Variant("SAS with screen photos", {**USUAL, "screen_photo": 0.5}, stn=True, method="moco"),
}
_locks: dict[Path, Lock] = {}


@dataclass(frozen=True)
class Trial:
    """One training.

    Args:
        network: key of a ``sem_`` bundle.
        variant: key of ``VARIANTS``.
        fraction: share of the labelled training images.
        seed: of weights, order, and of which images.
    """

    network: str
    variant: str
    fraction: float
    seed: int

    @property
    def folder(self) -> Path:
        """Below the output folder."""
        return Path(self.network) / self.variant / f"{self.fraction:g}" / str(self.seed)


def parts(names: Sequence[str], fraction: float, seed: int) -> dict[str, list[str]]:
    """The split by sorted names, of whose training part a share drawn by the seed is left."""
    names = sorted(names)
    split = {part: names[round(a * len(names)) : round(b * len(names))] for part, (a, b) in PARTS.items()}
    order = np.random.default_rng(seed).permutation(len(split["train"]))
    kept = order[: max(1, round(fraction * len(order)))]
    return {**split, "train": [split["train"][i] for i in sorted(kept)]}


def pretrained(trial: Trial, data: Path, output: Path, threads: int | None) -> Path:
    """The encoder of a network that saw all training images without labels, trained once for all shares."""
    method = VARIANTS[trial.variant].method
    folder = output / trial.network / f"pretraining_{method}" / str(trial.seed)
    with _locks.setdefault(folder, Lock()):
        weights = folder / "models" / "pretrained.pt"
        if not (folder / "done").exists():
            write(folder, make_bundle(f"sem_{trial.network}"))
            settings = {**COMMON, **PRETRAINING, "method": method, "seed": trial.seed, "dataset_dir": data}
            settings |= {"bundle_root": folder, "resume": (folder / "models" / "pretraining" / "last.pt").is_file()}
            configs = [folder / "configs" / f"{name}.json" for name in ("train", "pretrain")]
            run(configs, settings, folder / "pretrain.log", threads)
            (folder / "done").touch()
    return weights


def trained(trial: Trial, data: Path, output: Path, threads: int | None) -> Path:
    """Train, test, and return the file of the Dice of each case at each strength."""
    folder, variant = output / trial.folder, VARIANTS[trial.variant]
    result = folder / "result.csv"
    if result.exists():
        return result
    write(folder, make_bundle(f"sem_{trial.network}"))
    split = parts([path.stem for path in (data / "images").iterdir()], trial.fraction, trial.seed)
    (folder / "split.json").write_text(json.dumps(split), encoding="utf-8")
    epochs = round(STEPS / -(-len(split["train"]) // BATCH))
    settings: dict[str, Any] = {
        **COMMON,
        "dataset_dir": data,
        "bundle_root": folder,
        "split_file": folder / "split.json",
        "seed": trial.seed,
        "epochs": epochs,
        "warmup_epochs": max(1, epochs // 10),
        "val_interval": max(1, epochs // 5),
        "stn": variant.stn,
        **{f"augmentation#{name}": value for name, value in variant.augmentation.items()},
    }
    settings["resume"] = (folder / "models" / "last.pt").is_file()
    if variant.method and not settings["resume"]:
        settings["pretrained"] = pretrained(trial, data, output, threads)
    run([folder / "configs" / "train.json"], settings, folder / "train.log", threads)
    tested(folder, data, threads)
    (folder / "robustness" / "robustness.csv").rename(result)
    return result


def tested(folder: Path, data: Path, threads: int | None) -> None:
    """Run the command robustness on a trained bundle."""
    words = ["robustness", folder, "--dataset_dir", data, "--output_dir", folder / "robustness"]
    words += ["--corruptions", "screen_photo", "--strengths", *STRENGTHS[1:], "--set", "image_size=[128,128]"]
    run_logged([sys.executable, "-m", "flemme_monai", *map(str, words)], folder / "robustness.log", threads)


def rows_of(trial: Trial, path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a training's result, with what it was."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {**vars(trial), "strength": float(row["strength"]), "case": row["case"], "dice": float(row["dice"])}


def values(rows: Sequence[dict[str, Any]], **where: Any) -> np.ndarray:
    """The Dice of the rows that have these values, (seeds, cases), both in order."""
    found = [row for row in rows if all(row[name] == value for name, value in where.items())]
    found.sort(key=lambda row: (row["seed"], row["case"]))
    seeds = max(1, len({row["seed"] for row in found}))
    return np.array([row["dice"] for row in found]).reshape(seeds, -1)


def table(rows: Sequence[dict[str, Any]], network: str, fraction: float) -> list[dict[str, object]]:
    """Each variant's mean Dice with its interval, and its difference to the plain training, at each strength."""
    lines = []
    variants = [key for key in VARIANTS if any(r["variant"] == key and r["network"] == network for r in rows)]
    for key in variants:
        line: dict[str, object] = {"variant": VARIANTS[key].title}
        for strength in STRENGTHS:
            where = {"network": network, "fraction": fraction, "strength": strength}
            own, plain = (values(rows, variant=variant, **where) for variant in (key, "plain"))
            name = f"photo {strength:g}" if strength else "clean"
            line[name] = str(hierarchical_interval(own))
            line[f"{name}: difference"] = "" if key == "plain" else signed(hierarchical_interval(own - plain))
        lines.append(line)
    return lines


def signed(interval: Interval) -> str:
    """A difference; in bold where its interval leaves out 0."""
    text = f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
    return f"**{text}**" if interval.low > 0 or interval.high < 0 else text


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Dice over strengths: a row a network, a panel a share of the images, a line a variant."""
    import matplotlib.pyplot as plt

    networks, fractions = (list(dict.fromkeys(row[name] for row in rows)) for name in ("network", "fraction"))
    size = (4 * len(fractions) + 2.5, 3.2 * len(networks))
    figure, panels = plt.subplots(
        len(networks), len(fractions), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for (i, network), (j, fraction) in product(enumerate(networks), enumerate(sorted(fractions))):
        axes = panels[i][j]
        for k, (key, variant) in enumerate(VARIANTS.items()):
            where = {"network": network, "fraction": fraction, "variant": key}
            means = [values(rows, strength=strength, **where) for strength in STRENGTHS]
            if all(found.size for found in means):
                axes.plot(STRENGTHS, [found.mean() for found in means], "o-", color=f"C{k}", label=variant.title)
        axes.set_title(f"{network}, {fraction:.0%} of the training images", fontsize=9)
        axes.set_xlabel("strength of the screen photo")
        axes.grid(alpha=0.3)
    for row in panels:
        row[0].set_ylabel("test Dice")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study.

    Returns:
        1 if a run failed, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help=f"folder with {DATA}/")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--networks", nargs="+", default=["unet", "swinu"])
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.1, 0.25, 1.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each with its share of the threads")
    args = parser.parse_args(argv)
    data, output = (args.data_dir / DATA).resolve(), args.output.resolve()
    order = product(args.networks, args.seeds, args.fractions, args.variants)
    trials = [Trial(network, variant, fraction, seed) for network, seed, fraction, variant in order]
    jobs = {trial: partial(trained, trial, data, output) for trial in trials}
    found, failed = run_jobs(jobs, args.jobs, lambda trial, path: str(trial.folder))
    rows = [row for trial in trials if trial in found for row in rows_of(trial, found[trial])]
    with (output / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    pages = [f"Dice of {DATA}, mean with its 95% interval over seeds and cases; {machine()}"]
    for network, fraction in product(args.networks, sorted(args.fractions)):
        lines = table(rows, network, fraction)
        pages.append(f"{network}, {fraction:.0%} of the training images\n\n{markdown_table(lines)}")
    (output / "sas.md").write_text("\n\n".join(pages) + "\n", encoding="utf-8")
    plot(rows, output / "sas.png")
    print(f"written: {output}/cases.csv, sas.md, sas.png")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
