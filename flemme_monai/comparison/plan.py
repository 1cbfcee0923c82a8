"""The runs of a comparison: every bundle on every data set and fold with every seed, and the settings of each."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..commands.costs import measured_costs
from ..commands.matched import Match, matched_settings, training_config
from ..commands.train_runs import parsed
from ..utils.files import text_file
from .entries import Entry

RESULT, PLAN = "result.json", "plan.json"
NETWORK_SETTINGS = ("network_def", "loss", "optimizer", "learning_rate", "epochs", "seed")  # no case depends on them


@dataclass(frozen=True)
class Budget:
    """How long each bundle is trained.

    Args:
        unit: ``epochs``, ``steps`` of the optimizer, or ``minutes`` of training steps by their measured time.
        amount: how many.
    """

    unit: str
    amount: float


@dataclass(frozen=True, eq=False)
class Run:
    """One training and its evaluation.

    Args:
        entry: what is trained.
        data: name of the data set; empty where there is one without a name.
        fold: of the data; None without folds.
        seed: of weights, order and augmentation.
        budget: ``settings`` of the bundle, ``factor`` of its channels and its ``parameters``.
        folder: of the run.
    """

    entry: Entry
    data: str
    fold: int | None
    seed: int
    budget: dict[str, Any]
    folder: Path

    @property
    def title(self) -> str:
        """What it is called in messages."""
        words = [self.entry.name, *([f"on {self.data}"] if self.data else [])]
        words += [] if self.fold is None else [f"fold {self.fold}"]
        return " ".join([*words, f"seed {self.seed}"])

    def found(self) -> dict[str, Any] | None:
        """The content of its ``result.json``, also where a comparison of version 0.6 left it; None before it is run.

        Raises:
            ValueError: If it was run with other settings.
        """
        for path in (self.folder / RESULT, self.folder.parent / RESULT):
            if path.exists():
                content = json.loads(path.read_text(encoding="utf-8"))
                if content["budget"] == self.budget:
                    return content
                if path.parent == self.folder or content["budget"]["settings"].get("seed") == self.seed:
                    raise ValueError(
                        f"{path} was found with other settings; name another --output or remove {path.parent}."
                    )
        return None

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which :meth:`from_json` makes it again."""
        return {**asdict(self), "folder": str(self.folder)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Run:
        """A run by what :meth:`as_json` made of it."""
        return cls(**{**content, "entry": Entry(**content["entry"]), "folder": Path(content["folder"])})


@dataclass(frozen=True)
class Comparison:
    """What is compared, on what, how often and how long.

    Args:
        entries: the bundles.
        data: folders of data sets by name; one without a name is called "".
        folds: of the data; none for the bundle's own split.
        seeds: at least one.
        budget: of each training.
        match: what the channels are scaled to; None leaves the bundles as they are.
        settings: of all bundles.
        settings_of_some: patterns of names, and settings of the bundles that they fit.
        output: folder of all runs.
    """

    entries: Sequence[Entry]
    data: Mapping[str, str | None]
    folds: Sequence[int]
    seeds: Sequence[int]
    budget: Budget
    match: Match | None
    settings: Sequence[tuple[str, str]]
    settings_of_some: Sequence[tuple[str, str, str]]
    output: Path

    def folder(self, data: str, entry: Entry) -> Path:
        """The folder of a bundle's runs on a data set."""
        return self.output / (data if len(self.data) > 1 else "") / entry.name

    def settings_of(self, data: str, entry: Entry) -> dict[str, Any]:
        """The settings of a bundle on a data set, values as ``monai.bundle run`` reads them."""
        chosen = list(self.settings)
        names = (entry.name, f"{data}/{entry.name}")
        chosen += [
            (name, value) for pattern, name, value in self.settings_of_some if any(fnmatch(n, pattern) for n in names)
        ]
        directory = self.data[data]
        first = {} if directory is None else {"dataset_dir": directory}
        return first | {name: parsed(value) for name, value in chosen}

    def runs(self) -> list[Run]:
        """All runs, those of the first seed and fold first, so that what a stopped comparison has can be compared."""
        budgets = {(data, entry): self.planned(data, entry) for data in self.data for entry in self.entries}
        found = []
        for seed in self.seeds:
            for fold in self.folds or (None,):
                for (data, entry), budget in budgets.items():
                    settings = {**budget["settings"], "seed": seed} | ({} if fold is None else {"fold": fold})
                    label = f"seed_{seed}" if fold is None else f"fold_{fold}_seed_{seed}"
                    folder = self.folder(data, entry) / label
                    found.append(Run(entry, data, fold, seed, {**budget, "settings": settings}, folder))
        return found

    def planned(self, data: str, entry: Entry) -> dict[str, Any]:
        """The budget of a bundle's runs, which is found once and kept, since what is measured does not repeat."""
        wanted = {
            "source": entry.source,
            "settings": self.settings_of(data, entry),
            "budget": asdict(self.budget),
            "match": None if self.match is None else asdict(self.match),
        }
        wanted = json.loads(json.dumps(wanted))
        path = self.folder(data, entry) / PLAN
        if path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["wanted"] == wanted:
                return kept["budget"]
        settings, factor, parameters = matched_settings(entry.source, wanted["settings"], self.match)
        settings = {**settings, "epochs": self._epochs(entry, settings)}
        budget = {"settings": settings, "factor": factor, "parameters": parameters}
        path.parent.mkdir(parents=True, exist_ok=True)
        with text_file(path) as file:
            json.dump({"wanted": wanted, "budget": budget}, file, indent=1)
        return budget

    def _epochs(self, entry: Entry, settings: dict[str, Any]) -> int:
        """The epochs of the budget; whole ones, since the schedule of the learning rate ends with the last."""
        if self.budget.unit == "epochs":
            return int(self.budget.amount)
        steps = self.budget.amount
        if self.budget.unit == "minutes":
            cost = measured_costs({entry.name: (entry.source, settings)})[entry.name]
            steps = 60e3 * self.budget.amount / cost["step ms"]
        return max(1, round(steps / steps_an_epoch(entry.source, settings)))


_STEPS: dict[str, int] = {}


def steps_an_epoch(source: str, settings: Mapping[str, Any]) -> int:
    """The batches of an epoch of a bundle's training, which loads its data once for all bundles of one recipe.

    Args:
        source: pair or folder of the bundle.
        settings: of the bundle.
    """
    config = training_config(source, dict(settings))
    of_data = {k: v for k, v in config.items() if not k.startswith(NETWORK_SETTINGS) and k != "bundle_root"}
    key = json.dumps(of_data, sort_keys=True)
    if key not in _STEPS:
        parser = ConfigParser(config)
        with tempfile.TemporaryDirectory() as folder:
            parser["bundle_root"] = folder
            _STEPS[key] = len(parser.get_parsed_content("train#dataloader"))
    return _STEPS[key]
