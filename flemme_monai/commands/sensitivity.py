"""How much a bundle's result depends on settings of its training, one at a time around what they are.

    flemme-monai sensitivity bundles/sem_unet --output DIR --set dataset_dir=DIR num_classes=2 epochs=20
    flemme-monai sensitivity bundles/sem_unet --output DIR --vary learning_rate=0.0003,0.003 batch_size=4,16

Learning rate, batch size, accumulation and input size are varied, or what `--vary` names. Each training and its
evaluation run in processes of their own, some at a time with `--jobs`. A value that has its `result.json` is not run
again, so that the command may be stopped and continued. It ends with `sensitivity.csv`, `sensitivity.md` and
`sensitivity.png` in the output folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..io import write_csv
from .benchmark import setting
from .bundle_files import find_bundle
from .measure import machine, markdown_table
from .train_runs import METRICS, parsed, run_jobs, train_and_evaluate

FACTORS = {"learning_rate": (0.1, 0.3, 3, 10), "batch_size": (0.5, 2), "image_size": (0.5, 1.5)}
ACCUMULATED = (2, 4)  # steps


@dataclass(frozen=True)
class Variation:
    """A training whose settings differ in one from the others'.

    Args:
        name: of the setting; empty for the training at which nothing is varied.
        value: of it.
    """

    name: str
    value: Any

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return f"{self.name}={self.text}".replace("/", "_") if self.name else "default"

    @property
    def text(self) -> str:
        """Its value as JSON without blanks."""
        return json.dumps(self.value, separators=(",", ":")) if self.name else ""


def values_around(config: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of settings that are tried, by what they are in a ``train.json``.

    Args:
        config: with the settings that are not varied.
    """
    values: dict[str, list[Any]] = {"accumulation_steps": list(ACCUMULATED)}
    for name, factors in FACTORS.items():
        usual = config[name]
        if isinstance(usual, list):
            values[name] = [[max(32, 32 * round(side * factor / 32)) for side in usual] for factor in factors]
        elif isinstance(usual, int):
            values[name] = [max(1, round(usual * factor)) for factor in factors]
        else:
            values[name] = [usual * factor for factor in factors]
    return {name: [value for value in found if value != config[name]] for name, found in values.items()}


def tried(config: Mapping[str, Any], vary: Mapping[str, Sequence[Any]] | None) -> list[Variation]:
    """The trainings: the default, then each setting's values.

    Args:
        config: a ``train.json`` with the settings that are not varied.
        vary: values of settings; None for those around the default.

    Raises:
        ValueError: If the bundle has no such setting.
    """
    unknown = [name for name in vary or () if name.partition("#")[0] not in config]
    if unknown:
        raise ValueError(f"--vary: the bundle has no setting {', '.join(unknown)}; name some of train.json.")
    values = values_around(config) if vary is None else vary
    return [Variation("", None), *(Variation(name, value) for name, found in values.items() for value in found)]


def train(
    bundle: Path, variation: Variation, settings: Mapping[str, Any], output: Path, threads: int | None
) -> dict[str, Any]:
    """Train and evaluate with a value of a setting, or read what was found before.

    Args:
        bundle: its folder, which is copied.
        variation: the setting and its value.
        settings: of all trainings.
        output: folder of all trainings.
        threads: of each process.

    Raises:
        ValueError: If other settings were found before.
    """
    folder = output / variation.folder
    result = folder / "result.json"
    used = {**settings, **({variation.name: variation.value} if variation.name else {})}
    if result.exists():
        found = json.loads(result.read_text(encoding="utf-8"))
        if found["settings"] != used:
            raise ValueError(f"{result} was found with other settings; name another --output or remove {folder}.")
        return found
    shutil.copytree(bundle / "configs", folder / "configs", dirs_exist_ok=True)
    metrics, seconds = train_and_evaluate(folder, used, threads)
    found = {"settings": used, "metrics": metrics, "seconds an epoch": seconds}
    result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def compared(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a task's table, or all where it has none."""
    names = next((names for names in METRICS.values() if names[0] in metrics), tuple(metrics))
    return {name: metrics[name] for name in names if name in metrics}


def plot(rows: Sequence[Mapping[str, Any]], metric: str, path: Path) -> None:
    """A metric over the values of each setting, in a panel each, with a line at the default's."""
    import matplotlib.pyplot as plt

    default, *others = rows
    names = list(dict.fromkeys(row["setting"] for row in others))
    figure, panels = plt.subplots(
        1, len(names), figsize=(3 * len(names), 3), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, name in zip(panels[0], names):
        found = [row for row in others if row["setting"] == name]
        axes.plot([row["value"] for row in found], [row[metric] for row in found], "o-")
        axes.axhline(default[metric], color="0.4", linestyle=":")
        axes.set(xlabel=name)
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel(f"test {metric} (dotted: default)")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def variations(text: str) -> tuple[str, list[Any]]:
    """A word NAME=VALUE,VALUE as its name and values; a value in brackets may hold commas."""
    name, value = setting(text)
    found = parsed(f"[{value}]")
    return name, found if isinstance(found, list) else value.split(",")


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Vary the settings of the bundle named on the command line.

    Returns:
        1 if a training failed, else 0.
    """
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("bundle", help="its folder, or its name in bundles/")
    parser.add_argument("--output", type=Path, required=True, help="folder of all trainings and of the table")
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="NAME=VALUE", help="for all trainings")
    parser.add_argument("--vary", type=variations, nargs="+", metavar="NAME=VALUE,VALUE", help="in place of the usual")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, each with its share of the threads")
    args = parser.parse_args(argv)
    bundle, output = find_bundle(args.bundle), args.output.resolve()
    settings = {name: parsed(value) for name, value in args.set}
    config = {**json.loads((bundle / "configs" / "train.json").read_text(encoding="utf-8")), **settings}
    todo = tried(config, None if args.vary is None else dict(args.vary))
    jobs = {each.folder: partial(train, bundle, each, settings, output) for each in todo}
    found, failed = run_jobs(jobs, args.jobs, lambda folder, result: f"{folder}: {result['metrics']}")
    rows = []
    for each in todo:
        if each.folder in found:
            result = found[each.folder]
            row = {"setting": each.name or "default", "value": each.text}
            rows.append(row | compared(result["metrics"]) | {"seconds an epoch": result["seconds an epoch"]})
    if len(rows) > 1 and rows[0]["setting"] == "default":
        write_csv(output / "sensitivity.csv", rows[0], [row.values() for row in rows])
        (output / "sensitivity.md").write_text(f"{machine()}\n\n{markdown_table(rows)}\n", encoding="utf-8")
        plot(rows, list(rows[0])[2], output / "sensitivity.png")
        print(f"written: {output}/sensitivity.csv, sensitivity.md, sensitivity.png")
    print(*failed, sep="\n", end="\n" if failed else "")
    return int(bool(failed))
