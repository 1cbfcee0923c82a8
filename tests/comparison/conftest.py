"""Results of comparisons that were never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flemme_monai.comparison.results import Results

Make = Callable[..., Results]


@pytest.fixture
def made_results() -> Make:
    """A function that makes results of bundles by the Dice that they reach: name to seeds to cases."""

    def make(values: dict[str, Any], data: str = "", folds: int = 0, epochs: int = 10, **about: Any) -> Results:
        runs, cases, curves, costs = [], [], [], []
        for i, (bundle, of_seeds) in enumerate(values.items()):
            architecture, _, encoder = bundle.partition("_")
            for seed, of_cases in enumerate(np.asarray(of_seeds, float)):
                for fold in range(folds) if folds else [None]:
                    mine = [k for k in range(len(of_cases)) if fold is None or k % folds == fold]
                    key = {"data": data, "bundle": bundle, "fold": fold, "seed": seed}
                    dice = float(np.nanmean(of_cases[mine]))
                    found = {"dice": dice, "iou": dice / 2, "surface_distance": 1 - dice}
                    more = {"architecture": architecture, "encoder": encoder, "epochs": epochs, "seconds": 20.0}
                    runs.append(
                        {**key, "channels": "x 1", "parameters": 1000 + i, **found, "seconds an epoch": 2.0, **more}
                    )
                    for k in mine:
                        value = None if np.isnan(of_cases[k]) else float(of_cases[k])
                        case = {"case": f"case_{k}", "class": "all", "dice": value}
                        cases.append(
                            {**key, **case, "iou": value and value / 2, "surface_distance": value and 1 - value}
                        )
                    for epoch in range(1, epochs + 1):
                        curves.append({**key, "epoch": epoch, "loss": 1 / epoch, "dice": dice * (1 - 0.5**epoch)})
            cost = {"GFLOP": 1.0 + i, "step ms": 10.0 + i, "inference ms": 2.0 + i, "step MiB": 30.0 + i}
            costs.append({"data": data, "bundle": bundle, **cost})
        told = {
            "task": "segmentation",
            "command": "flemme-monai compare --output DIR",
            "date": "2026-01-01",
            "environment": {"versions": {"torch": "2.9"}, "machine": "1 thread of x86_64", "commit": "abc"},
            "hierarchical": [name for name in values if name.startswith("h")],
            "encoders": {name: name.partition("_")[2] for name in values},
            "backbones": {name: name.partition("_")[2].partition("_")[0] for name in values},
            "settings": {"sem_unet": {"epochs": epochs}},
            "splits": {"seed 0": {"train": 6, "val": 2, "test": 2}},
            "runs": [len(runs), len(runs)],
            "failed": [],
            "baseline": None,
            "test": "permutation",
        }
        return Results(runs, cases, curves, costs, {**told, **about})

    return make


@pytest.fixture
def hierarchical_wins(made_results: Make) -> Results:
    """Three encoders; the hierarchical network is clearly better with one, and no better with another."""
    random = np.random.default_rng(0)
    hard = random.normal(0, 0.05, 40)
    values = {}
    for encoder, gain in {"unet": 0.04, "swinu": 0.0005, "vmambau": 0.02}.items():
        for name, more in {"sem": 0.0, "hsem": gain}.items():
            noise = random.normal(0, 0.01, (3, 40)) + random.normal(0, 0.002, (3, 1))
            values[f"{name}_{encoder}"] = 0.8 + hard + more + noise
    return made_results(values)
