"""A plan: settings of a bundle, each with its reason, and its file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..utils.files import atomic_write
from .fingerprint import DataFingerprint

PLAN = "plan.json"


@dataclass
class Plan:
    """Settings of a bundle with a reason each.

    Attributes:
        pair: ``<architecture>_<backbone>``.
        data: digest of the data set that it is of.
        settings: values by their paths in a bundle.
        reasons: why, by the same paths.
        memory: GiB that a training step may take, and that it takes by the count.
        proposal: whether 2D, 2.5D (slices with their neighbours as channels) or 3D is proposed, and why.
        warnings: of the data set.
    """

    pair: str
    data: dict[str, Any]
    memory: dict[str, float]
    proposal: str
    settings: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def set(self, name: str, value: Any, reason: str) -> None:
        """Settle a setting."""
        self.settings[name], self.reasons[name] = value, reason

    def plain(self) -> dict[str, Any]:
        """As ``plan.json`` has it."""
        return {
            "pair": self.pair,
            "data": self.data,
            "memory_gib": self.memory,
            "proposal": self.proposal,
            "settings": {name: {"value": value, "reason": self.reasons[name]} for name, value in self.settings.items()},
            "warnings": self.warnings,
        }


def write_plan(plan: Plan, folder: Path) -> Path:
    """Write ``plan.json`` into a folder in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PLAN
    with atomic_write(path) as part:
        part.write_text(json.dumps(plan.plain(), indent=2) + "\n", encoding="utf-8")
    return path


def read_plan(path: str | os.PathLike) -> dict[str, Any]:
    """A plan from its file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file holds something else.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such plan; expected the plan.json of `flemme-monai plan`: name it")
    try:
        plan = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}); expected a plan: make it again") from None
    if not isinstance(plan, dict) or not {"pair", "data", "settings"} <= plan.keys():
        raise ValueError(f"{file} holds no plan; expected pair, data and settings: make it again")
    return plan


def check_same_data(plan: dict[str, Any], data: DataFingerprint) -> None:
    """Refuse a plan of another data set.

    Raises:
        ValueError: If the plan's data set is another, or has changed.
    """
    if plan["data"]["digest"] != data.digest:
        raise ValueError(
            f"the plan is of {plan['data']['cases']} cases of {plan['data']['folder']}, and {data.folder} with its "
            f"{len(data.cases)} cases is not that data set; expected the same files: plan anew"
        )


def reason_lines(plan: Plan) -> Iterator[str]:
    """A row of a table for each setting."""
    for name, value in plan.settings.items():
        yield f"| `{name}` | `{json.dumps(value)}` | {plan.reasons[name]} |"
