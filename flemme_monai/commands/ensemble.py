"""Make one predictor of the folds that `flemme-monai train-folds` has trained, and decide how it cleans its masks.

    flemme-monai ensemble --bundle bundles/liver --dataset_dir DIR --num_folds 5 --mirror "[0,1,2]"

Each fold predicts the cases that it was not trained on. By these predictions the largest connected part alone is kept
of those classes whose Dice that raises. What was found is written into the bundle as settings: ckpt_dir (the mean of
the folds' probabilities), keep_largest and mirror of inference.json, the last two of evaluate.json too. The numbers
are in <bundle>/folds_of_5/largest_part.csv and on the bundle's page.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..data.split_record import SPLIT_FILE, read_split
from ..io import cell, write_csv
from ..recipes.dump import dump
from ..utils.files import atomic_write
from .benchmark import setting
from .bundle_files import find_bundle, read_config
from .largest_part import Comparison, compare_largest
from .train_folds import RESULT, folds_folder
from .train_runs import parsed, run, run_jobs

PAGE, HEADING = "docs/README.md", "## The folds"


def trained_folds(folder: Path, num_folds: int) -> list[Path]:
    """The folders of the folds.

    Raises:
        FileNotFoundError: If one has not been trained.
    """
    folds = [folder / str(fold) for fold in range(num_folds)]
    missing = [fold.name for fold in folds if not (fold / RESULT).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: folds {', '.join(missing)} are not trained; expected all {num_folds}: train them by "
            "`flemme-monai train-folds`"
        )
    return folds


def held_out(folds: Sequence[Path]) -> str:
    """The part of the folds' splits that each fold has for itself, so that each case is in it once.

    It is that of their tests, or of their validations where the data set names the test cases.

    Raises:
        ValueError: If a split is missing, or cases are held out more than once.
    """
    splits = [read_split(fold / "models" / SPLIT_FILE) for fold in folds]
    known = [split for split in splits if split is not None]
    for part in ("test", "val"):
        names = [name for split in known for name in split.parts[part]]
        if len(known) == len(folds) and len(names) == len(set(names)):
            return part
    raise ValueError(
        f"{folds[0].parent}: no part of the folds' split.json holds each case once; expected those of one "
        "cross-validation: train the folds anew"
    )


def predict(fold: Path, part: str, settings: Mapping[str, Any], threads: int | None = None) -> Path:
    """Predict what a fold has held out, into its folder ``predictions``, without cleaning."""
    output = fold / "predictions"
    shutil.rmtree(output, ignore_errors=True)
    given = {"bundle_root": fold, "ckpt_dir": fold / "models", "output_dir": output, "part": part}
    run([fold / "configs" / "inference.json"], {**settings, **given}, fold / "predictions.log", threads)
    return output


def write_settings(bundle: Path, num_folds: int, keep_largest: list[int], mirror: Any, tests: bool) -> dict[str, Any]:
    """Write what was found into a bundle's configs.

    Args:
        bundle: its folder.
        num_folds: number of folds.
        keep_largest: classes of which the largest part alone is kept.
        mirror: axes of the flips.
        tests: whether the data set names test cases, which all folds together may be evaluated on.

    Returns:
        The settings.
    """
    pattern = f"{folds_folder(Path(), num_folds)}/*/models"
    found = {"keep_largest": keep_largest or None, "mirror": mirror}
    ensemble = {"ckpt_dir": f"$flemme_monai.utils.path_in(@bundle_root, {pattern!r})"}
    for name, settings in (("inference", found | ensemble), ("evaluate", found | (ensemble if tests else {}))):
        config = {**read_config(bundle, name), **settings}
        with atomic_write(bundle / "configs" / f"{name}.json") as part:
            part.write_text(dump(config), encoding="utf-8")
    return found | ensemble


def section(found: Comparison, mirror: Any) -> str:
    """What the folds reach on cases held out, as a part of the bundle's page."""
    rows = []
    for number, name, plain, largest in zip(found.classes, found.names, *found.means):
        kept = "largest part alone" if number in found.helped else "all parts"
        rows.append(f"| {number} {name} | {cell(plain)} | {cell(largest)} | {kept} |")
    return "\n".join(
        [
            HEADING,
            "",
            f"Written by `flemme-monai ensemble` from {len(found.cases)} cases, each predicted by the fold that was "
            f"not trained on it, with `mirror` {json.dumps(mirror)}. Inference takes the mean of the folds' "
            "probabilities.",
            "",
            "| class | Dice | Dice of the largest part | kept (`keep_largest`) |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def write_section(page: Path, text: str) -> None:
    """Put a section at a page's end, in the place of an earlier one."""
    earlier = re.compile(rf"\n*^{re.escape(HEADING)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    rest = earlier.sub("\n\n", page.read_text(encoding="utf-8"))
    with atomic_write(page) as part:
        part.write_text(f"{rest.rstrip()}\n\n{text}", encoding="utf-8")


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Make the ensemble that the command line names.

    Returns:
        0, or 1 if a fold's prediction failed.

    Raises:
        FileNotFoundError: If a fold is not trained.
        ValueError: If the folds are not of one cross-validation.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", required=True, help="folder of a segmentation, or its name")
    parser.add_argument("--dataset_dir", required=True, help="the folds' data set")
    parser.add_argument("--num_folds", type=int, default=5)
    parser.add_argument("--mirror", type=parsed, help="axes of flips, such as [0,1,2], or true; as the bundle has it")
    parser.add_argument("--jobs", type=int, default=1, help="folds at a time, each with its share of the threads")
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="NAME=VALUE", help="of its inference")
    args = parser.parse_args(argv)
    bundle = find_bundle(args.bundle)
    folds = trained_folds(folds_folder(bundle, args.num_folds), args.num_folds)
    part = held_out(folds)
    mirror = read_config(bundle, "inference")["mirror"] if args.mirror is None else args.mirror
    settings = {name: parsed(value) for name, value in args.set} | {
        "dataset_dir": str(Path(args.dataset_dir).resolve())
    }
    predicting = {**settings, "mirror": mirror, "keep_largest": None}
    jobs = {fold.name: partial(predict, fold, part, predicting) for fold in folds}
    predicted, failed = run_jobs(jobs, args.jobs, lambda name, output: f"fold {name}: {output}")
    if failed:
        return 1
    measured = [
        compare_largest(fold, {**settings, "ckpt_dir": str(fold / "models")}, part, predicted[fold.name])
        for fold in folds
    ]
    found = Comparison.of(measured)
    write_csv(
        folds[0].parent / "largest_part.csv",
        ["case", "class", "dice", "dice_largest"],
        (
            [case, name, cell(plain), cell(largest)]
            for case, rows in zip(found.cases, zip(found.plain, found.largest))
            for name, plain, largest in zip(found.names, *rows)
        ),
    )
    written = write_settings(bundle, args.num_folds, found.helped, mirror, tests=part == "val")
    text = section(found, mirror)
    write_section(bundle / PAGE, text)
    print(text)
    print(*(f"{name}: {value}" for name, value in written.items()), sep="\n")
    return 0
