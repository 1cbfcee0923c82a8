"""Dice of trained bundles on corrupted test images.

    flemme-monai robustness nuclei_sem_unet nuclei_hsem_unet --dataset_dir DIR --output_dir robustness

Each corruption is laid over the bundle's own test images before they are normalised, in strengths from 0 to 1; where it
moves the image it moves the label. What is random is fixed by the case, so all bundles see the same images.
It writes `robustness.csv` (a row a case), `robustness.md`, `robustness.png` (curves) and `corruptions.png` (what the
images look like).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fire.parser import DefaultParseValue
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose
from monai.utils import ensure_tuple
from torch.utils.data import Dataset

from ..io import cell, write_csv, write_figure, write_png
from ..transforms import CheckCased
from ..transforms.corruptions import CORRUPTIONS, Corruptd
from ..utils import paths_in
from ..utils.files import text_file
from ..utils.weights import BEST
from .benchmark import setting
from .bundle_files import find_bundle
from .bundle_runs import read_stack
from .robustness_report import CLEAN, Row, curves, pictures, summary, table

STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
LOADER = "CheckpointLoader"  # the handler of an evaluation that is kept


class CorruptedCases(Dataset):
    """Loaded cases, corrupted and then prepared for the network.

    Args:
        items: cases with ``image`` and ``label`` as they were loaded.
        prepare: what is done after.
    """

    def __init__(self, items: Sequence[dict[str, Any]], prepare: Compose) -> None:
        self.items = items
        self.prepare = prepare
        self.corrupt: Corruptd | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        item = self.items[index]
        return self.prepare(dict(item) if self.corrupt is None else self.corrupt(item))


def trained_evaluator(bundle: Path, settings: dict[str, Any]) -> tuple[SupervisedEvaluator, CorruptedCases]:
    """The evaluator of a bundle with its weights, which has only the key metric, and its test cases.

    Args:
        bundle: its folder.
        settings: over those of ``evaluate.json``.

    Raises:
        FileNotFoundError: If it has no weights.
        ValueError: If it does not segment.
    """
    parser = read_stack(bundle, ("train", "evaluate"))
    if "dice" not in parser["validate"]["key_metric"]:
        raise ValueError(f"{bundle.name} has no Dice; expected a bundle that segments: name sem_* or hsem_* bundles")
    parser.update(settings)
    for weights in ensure_tuple(paths_in(parser.get_parsed_content("ckpt_dir"), BEST)):
        if not Path(weights).is_file():
            raise FileNotFoundError(f"{bundle.name} has no {weights}: train it first")
    parser["validate#additional_metrics"] = {}
    parser["validate#handlers"] = [h for h in parser["validate#handlers"] if h["_target_"].endswith(LOADER)]
    load: Compose = parser.get_parsed_content("validate#preprocessing").flatten()
    checked = 1 + max(i for i, one in enumerate(load.transforms) if isinstance(one, CheckCased))
    read = Compose(load.transforms[:checked])
    cases = CorruptedCases(
        [read(case) for case in parser.get_parsed_content("datalist")["test"]], Compose(load.transforms[checked:])
    )
    parser["validate#dataset"] = cases
    return parser.get_parsed_content("validate#evaluator"), cases


def evaluate(
    name: str,
    evaluator: SupervisedEvaluator,
    cases: CorruptedCases,
    corruptions: Sequence[str],
    strengths: Sequence[float],
    seed: int,
) -> list[Row]:
    """The Dice of a bundle on its clean and its corrupted test cases.

    Args:
        name: the bundle's.
        evaluator, cases: see :func:`trained_evaluator`.
        corruptions, strengths: which.
        seed: of what is random.

    Returns:
        A row for each case and each of its images.
    """
    rows = []
    for corruption, strength in [(CLEAN, 0.0), *((one, value) for one in corruptions for value in strengths)]:
        cases.corrupt = None if corruption == CLEAN else Corruptd(corruption, strength, seed)
        evaluator.run()
        values = evaluator.state.metric_details["dice"].nanmean(1).tolist()  # of a case's classes, without background
        rows += [
            Row(name, corruption, strength, str(item["case"]), value)
            for item, value in zip(cases.items, values, strict=True)
        ]
        print(f"{name}: {corruption} {strength:g}: dice {np.nanmean(values):.4f}", flush=True)
    return rows


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Corrupt the test images of the bundles named on the command line, and write what becomes of their Dice."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="BUNDLE", help="names in bundles/, or paths")
    parser.add_argument("--dataset_dir", required=True, help="folder of the data; its test part is used")
    parser.add_argument("--output_dir", type=Path, default=Path("robustness"), help="default: robustness")
    parser.add_argument("--corruptions", nargs="+", choices=tuple(CORRUPTIONS), help="default: all")
    parser.add_argument("--strengths", nargs="+", type=float, default=STRENGTHS, help="above 0, up to 1")
    parser.add_argument("--seed", type=int, default=0, help="of what is random in the corruptions")
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="NAME=VALUE", help="for all bundles")
    args = parser.parse_args(argv)
    if not all(0 < strength <= 1 for strength in args.strengths):
        parser.error(f"strengths are {args.strengths}; expected numbers above 0 and up to 1")
    bundles = [find_bundle(name) for name in args.names]
    if len({bundle.name for bundle in bundles}) < len(bundles):
        parser.error(f"bundles are {', '.join(args.names)}; expected folders of different names")
    settings = {"dataset_dir": args.dataset_dir, **{name: DefaultParseValue(value) for name, value in args.set}}
    args.output_dir.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    first: list[dict[str, Any]] = []
    for bundle in bundles:
        evaluator, cases = trained_evaluator(bundle, settings)
        first = first or list(cases.items)
        if [item["case"] for item in first] != [item["case"] for item in cases.items]:
            raise ValueError(
                f"{bundle.name} has other test cases than {bundles[0].name}; expected bundles of one split: "
                "train them with the same split_file, or name them apart"
            )
        corruptions = fitting(args.corruptions or list(CORRUPTIONS), first[0]["image"].ndim - 1)
        rows += evaluate(bundle.name, evaluator, cases, corruptions, args.strengths, args.seed)
        write_csv(
            args.output_dir / "robustness.csv",
            Row._fields,
            ((*row[:2], f"{row.strength:g}", row.case, cell(row.dice)) for row in rows),
        )
    means = summary(rows)
    with text_file(args.output_dir / "robustness.md") as file:
        file.write(f"Mean Dice of {len(first)} test cases.\n\n{table(means)}\n")
    write_figure(args.output_dir / "robustness.png", curves(means))
    write_png(args.output_dir / "corruptions.png", pictures(first[0], corruptions, args.strengths, args.seed))
    print(f"written: {args.output_dir}/robustness.csv, robustness.md, robustness.png, corruptions.png")
    return 0


def fitting(corruptions: Sequence[str], dims: int) -> list[str]:
    """The corruptions of images of so many axes; says which are left out.

    Raises:
        ValueError: If none is left.
    """
    left = [name for name in corruptions if dims == 2 or CORRUPTIONS[name].volumes]
    out = [name for name in corruptions if name not in left]
    if not left:
        raise ValueError(f"corruptions are {', '.join(corruptions)}; expected one of volumes, which the images are")
    if out:
        print(f"left out, for the images are volumes: {', '.join(out)}")
    return left
