"""Whether the largest connected part of a class alone is nearer to its label, by predictions of cases held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from ..utils import as_bool
from ..utils.progress import StepProgress

CONFIGS = ("train", "evaluate")


@dataclass(frozen=True)
class Comparison:
    """Dice of predictions as they are, and with the largest part of each class alone.

    Attributes:
        cases: their names, N.
        classes: numbers of the foreground's classes, C.
        names: of these classes.
        plain, largest: (N, C); NaN where Dice is not defined.
    """

    cases: list[str]
    classes: list[int]
    names: list[str]
    plain: np.ndarray
    largest: np.ndarray

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """The means over the cases, (C,) each; NaN of a class without a value."""
        return _means(self.plain), _means(self.largest)

    @property
    def helped(self) -> list[int]:
        """The classes whose mean is higher with the largest part alone, and of which no more cases lose than gain."""
        change = np.nan_to_num(self.largest - self.plain)
        better = (change.sum(0) > 0) & ((change > 0).sum(0) >= (change < 0).sum(0))
        return [number for number, helps in zip(self.classes, better) if helps]

    @classmethod
    def of(cls, parts: Sequence[Comparison]) -> Comparison:
        """Several as one."""
        cases = [case for part in parts for case in part.cases]
        plain, largest = (np.concatenate([getattr(part, name) for part in parts]) for name in ("plain", "largest"))
        return cls(cases, parts[0].classes, parts[0].names, plain, largest)


def _means(values: np.ndarray) -> np.ndarray:
    """The mean of each column of (N, C), NaN left out."""
    known = ~np.isnan(values)
    return np.where(known.any(0), np.where(known, values, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


def compare_largest(bundle: Path, settings: Mapping[str, Any], part: str, predictions: Path) -> Comparison:
    """Measure predictions as an evaluation does, with and without all but the largest part of each class.

    Args:
        bundle: its folder, or one with its ``configs``.
        settings: of its evaluation, ``ckpt_dir`` and ``dataset_dir`` among them.
        part: of the split, whose cases are measured.
        predictions: folder of their label maps or masks.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a prediction does not fit its case.
    """
    from ..metrics import OverlapMetric

    plain = _evaluation(bundle, settings, predictions)
    masks = as_bool(plain.get_parsed_content("multi_label"))
    classes = list(range(1, int(plain.get_parsed_content("num_classes")) + masks))
    cleaned = _evaluation(bundle, {**settings, "keep_largest": classes}, predictions)
    plain["validate"]["dataset"]["data"] = plain["validate"]["dataset"]["data"].replace("'test'", f"'{part}'")
    cases = plain.get_parsed_content("validate#dataset#data")
    load = plain.get_parsed_content("validate#preprocessing")
    finish = [parser.get_parsed_content("validate#postprocessing") for parser in (plain, cleaned)]
    metrics = [OverlapMetric(empty_class=plain["empty_class"], include_background=masks) for _ in finish]
    with StepProgress(len(cases), "cases measured") as progress:
        for case in cases:
            item = load(dict(case))
            for transform, metric in zip(finish, metrics):
                found = transform({**item, "pred": torch.zeros(1)})  # the file's takes its place
                metric([found["pred"]], [found["label"]])
            progress.update()
    dice = [np.atleast_2d(metric.get_buffer().cpu().numpy()) for metric in metrics]
    names = (plain.get_parsed_content("names") or [f"class {number}" for number in classes])[-len(classes) :]
    return Comparison([str(case["case"]) for case in cases], classes, names, dice[0], dice[1])


def _evaluation(bundle: Path, settings: Mapping[str, Any], predictions: Path) -> ConfigParser:
    """The evaluation of a folder of predictions, of which nothing is built yet."""
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{config}.json") for config in CONFIGS])
    parser.update({**settings, "bundle_root": str(bundle), "evaluate_folder": str(predictions)})
    return parser
