"""What the results of a comparison say: means over seeds, differences with their tests, ranks, and convergence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..statistics import (
    Interval,
    PairedDifference,
    RankComparison,
    compare_ranks,
    hierarchical_interval,
    holm,
    paired_difference,
    pairs_needed,
)
from ..statistics.power import ALPHA, MOST_PAIRS, POWER
from .results import LOWER_IS_BETTER, Results, known

ALL = "mean of all"
COST_COLUMNS = ("GFLOP", "step ms", "inference ms", "step MiB", "step J")
DEVIATION = " deviation"
LATE = 0.2  # share of the epochs


def summary(results: Results) -> list[dict[str, Any]]:
    """A row for each bundle and data set: means and deviations over seeds, and costs.

    The value of a seed is the mean over its folds; of one seed with several folds the deviation is over these.
    """
    several = results.data != [""]
    costs = {(row["data"], row["bundle"]): row for row in results.costs}
    columns = [name for name in COST_COLUMNS if any(name in row for row in results.costs)]
    rows = []
    for data in results.data:
        for bundle in results.bundles(data):
            runs = results.of(data, bundle)
            row: dict[str, Any] = {"data": data} if several else {}
            row |= {"bundle": bundle, "channels": runs[0]["channels"], "parameters": runs[0]["parameters"]}
            for metric in results.metrics:
                values = list(results.by_seed(data, bundle, metric).values())
                row[metric] = float(np.mean(values)) if values else None
                if len(values) == 1:
                    values = [run[metric] for run in runs if known(run.get(metric))]
                row[metric + DEVIATION] = float(np.std(values, ddof=1)) if len(values) > 1 else None
            row["seeds"] = len({run["seed"] for run in runs})
            if any(run["fold"] is not None for run in runs):
                row["folds"] = len({run["fold"] for run in runs})
            row["seconds an epoch"] = float(np.mean([run["seconds an epoch"] for run in runs]))
            cost = costs.get((data, bundle), {})
            rows.append(row | {name: cost.get(name) for name in columns})
    return rows


@dataclass(frozen=True)
class Difference:
    """How much better one bundle is than another.

    Args:
        data, metric: of what.
        label: the encoder that both have; the bundle's name where it is compared with one of another encoder.
        one, other: the bundles; ``ALL`` for the mean over encoders.
        values: means of both.
        found: their difference.
        p: adjusted by Holm's method over the differences of one data set and metric.
    """

    data: str
    metric: str
    label: str
    one: str
    other: str
    values: tuple[float, float]
    relative: float
    found: PairedDifference
    p: float

    @property
    def trainings(self) -> int:
        """How many there were of each bundle."""
        return len(self.found.of_trainings)

    @property
    def significant(self) -> bool:
        """Whether the test over cases and the interval over trainings and cases both say that there is one."""
        interval = self.found.interval
        return bool(self.tested < ALPHA and (interval.low > 0 or interval.high < 0))

    @property
    def tested(self) -> float:
        """The p by which it is judged; the mean over encoders is one test."""
        return self.found.p if self.label == ALL else self.p

    @property
    def needed(self) -> int | None:
        """The pairs of trainings that would show it; None where no number up to 1000 does, or one alone was made."""
        of_trainings = self.found.of_trainings
        if len(of_trainings) < 2 or not np.std(of_trainings):
            return None
        return pairs_needed(float(np.mean(of_trainings) / np.std(of_trainings, ddof=1)))

    @property
    def verdict(self) -> str:
        """What a reader should believe, in words."""
        if self.significant:
            better = (self.found.interval.mean > 0) != (self.metric in LOWER_IS_BETTER)
            word = "better" if better else "worse"
            return word if self.trainings > 1 else f"{word} (one training: of other seeds it says nothing)"
        if self.trainings < 2:
            return "not significant; one training does not say how many would show it"
        what = "not significant" if not self.tested < ALPHA else "not significant over trainings (over cases it is)"
        share = f"with {POWER:.0%} power"
        if self.needed is None:
            return f"{what}; {MOST_PAIRS} pairs of trainings would not show it {share}"
        return f"{what}; {self.needed} pairs of trainings would show it {share}"

    def row(self) -> dict[str, Any]:
        """As a row of a table."""
        interval = self.found.interval
        return {
            **({"data": self.data} if self.data else {}),
            "metric": self.metric,
            "of": self.label,
            "bundle": self.one,
            "against": self.other,
            "value": self.values[0],
            "value against": self.values[1],
            "difference": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "percent": self.relative,
            "p": self.found.p,
            "p (Holm)": self.p,
            "Cohen's d": self.found.effect,
            "rank-biserial": self.found.rank_biserial,
            "trainings": self.trainings,
            "pairs needed": self.needed,
            "verdict": self.verdict,
        }


def contrasts(results: Results, data: str, baseline: str | None) -> list[tuple[str, str, str]]:
    """What is compared with what: label, bundle and its opponent.

    Every hierarchical bundle with the plain one of its encoder, or all bundles with the baseline.

    Args:
        results: of the comparison.
        data: name of the data set.
        baseline: a bundle; without one, and without such pairs, the best.
    """
    bundles = results.bundles(data)
    if baseline is None:
        hierarchical = results.about["hierarchical"]
        encoders: dict[str, dict[bool, str]] = {}
        for bundle in bundles:
            encoders.setdefault(results.of(data, bundle)[0]["encoder"], {})[bundle in hierarchical] = bundle
        found = [(key, both[True], both[False]) for key, both in encoders.items() if len(both) == 2]
        if found:
            return found
        metric = results.metrics[0]
        means = {name: np.mean([*results.by_seed(data, name, metric).values()] or [-np.inf]) for name in bundles}
        baseline = max(means, key=lambda name: means[name])
    return [(bundle, bundle, baseline) for bundle in bundles if bundle != baseline and baseline in bundles]


def differences(
    results: Results, data: str, metric: str, baseline: str | None = None, test: str = "permutation"
) -> list[Difference]:
    """The differences of a data set and metric, and their mean over encoders where each encoder has one.

    Args:
        results: of the comparison.
        data, metric: of what.
        baseline: as of :func:`contrasts`.
        test: key of ``flemme_monai.statistics.TESTS``.
    """
    found: list[tuple[str, str, str, np.ndarray]] = []
    for label, one, other in contrasts(results, data, baseline):
        values = results.matrix(data, [one, other], metric)  # (2, seeds, cases)
        if np.isfinite(values).all(0).any():
            found.append((label, one, other, values))
    tested = [paired_difference(values[0], values[1], test) for *_, values in found]
    rows = []
    for (label, one, other, values), difference, p in zip(found, tested, holm([each.p for each in tested])):
        means = _means(values)
        relative = 100 * (means[0] / means[1] - 1) if means[1] else np.nan
        rows.append(Difference(data, metric, label, one, other, means, relative, difference, p))
    of_encoders = len(rows) > 1 and all(row.label != row.one for row in rows)
    if of_encoders and len({values.shape for *_, values in found}) == 1:
        stacked = np.stack([values for *_, values in found]).mean(0)  # (2, seeds, cases)
        difference = paired_difference(stacked[0], stacked[1], test)
        relative = float(np.mean([row.relative for row in rows]))
        rows.append(Difference(data, metric, ALL, ALL, ALL, _means(stacked), relative, difference, np.nan))
    return rows


def _means(values: np.ndarray) -> tuple[float, float]:
    both = np.isfinite(values).all(0)
    return float(values[0][both].mean()), float(values[1][both].mean())


def intervals(results: Results, data: str, metric: str) -> dict[str, Interval]:
    """The mean of each bundle with its interval over trainings and cases; of bundles whose cases are known."""
    found = {}
    for bundle in results.bundles(data):
        values = results.matrix(data, [bundle], metric)[0]
        if np.isfinite(values).any():
            found[bundle] = hierarchical_interval(values)
    return found


def ranks(results: Results, data: str, metric: str) -> tuple[list[str], RankComparison] | None:
    """The bundles by their mean ranks over cases, each case the mean over its seeds; None of fewer than two."""
    bundles = [name for name in results.bundles(data) if np.isfinite(results.matrix(data, [name], metric)).any()]
    if len(bundles) < 2:
        return None
    each = [_over_seeds(results.matrix(data, [name], metric)[0]) for name in bundles]
    if len({len(values) for values in each}) > 1:
        return None
    values = np.stack(each, 1)  # (cases, bundles)
    if not np.isfinite(values).all(1).any():
        return None
    found = compare_ranks(values, metric not in LOWER_IS_BETTER)
    order = np.argsort(found.ranks)
    return [bundles[i] for i in order], found._replace(ranks=found.ranks[order])


def _over_seeds(values: np.ndarray) -> np.ndarray:
    counts = np.isfinite(values).sum(0)
    sums = np.where(np.isfinite(values), values, 0).sum(0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def convergence(results: Results, data: str, bundle: str) -> float | None:
    """How much of a bundle's best validation came in the last fifth of its epochs, the mean over runs.

    A share of the best value; 0 where nothing was gained there. None where too few epochs were validated.
    """
    metric, gains = results.metrics[0], []
    for run in results.of(data, bundle):
        same = ("data", "bundle", "fold", "seed")
        curve = [row for row in results.curves if all(row[name] == run[name] for name in same)]
        points = [(row["epoch"], row[metric]) for row in curve if row.get(metric) is not None]
        late = [value for epoch, value in points if epoch > (1 - LATE) * run["epochs"]]
        early = [value for epoch, value in points if epoch <= (1 - LATE) * run["epochs"]]
        if late and early and max(late) > 0:
            gains.append(max(0.0, max(late) - max(early)) / max(*late, *early))
    return float(np.mean(gains)) if gains else None


def named(bundles: Sequence[str], name: str | None) -> str | None:
    """A baseline that was run.

    Raises:
        ValueError: If it was not.
    """
    if name is not None and name not in bundles:
        raise ValueError(f"the baseline {name!r} is not compared; expected one of {', '.join(bundles)}: name it too")
    return name
