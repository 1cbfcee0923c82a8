"""The bundle of a plan: each planned number is a setting, and stands with its reason on the bundle's page."""

from __future__ import annotations

from pathlib import Path

from ..recipes import make_bundle, write
from .plan import Plan, reason_lines

PAGE = "docs/README.md"


def planned_bundle(plan: Plan, name: str) -> dict[str, str]:
    """The files of a bundle with a plan's settings.

    Args:
        plan: of a data set and a pair.
        name: the bundle's.

    Returns:
        The text of each file by its path inside the bundle.

    Raises:
        ValueError: If the name is none of a bundle.
    """
    files = make_bundle(plan.pair, name, plan.settings)
    page = files[PAGE].rstrip("\n")
    return {**files, PAGE: f"{page}\n\n{plan_section(plan)}"}


def plan_section(plan: Plan) -> str:
    """The plan, as a part of a page."""
    lines = [
        "## The plan",
        "",
        f"Made by `flemme-monai plan` from {plan.data['cases']} cases ({plan.data['modality']}); `plan/plan.json` has "
        "the same, `plan/report.md` what it was made from. Each is a setting of the configs, and may be changed there "
        "or on the command line.",
        "",
        "| setting | value | why |",
        "|---|---|---|",
        *reason_lines(plan),
    ]
    if plan.warnings:
        lines += ["", "Before training, look at:", "", *(f"- {warning}" for warning in plan.warnings)]
    return "\n".join(lines) + "\n"


def write_planned(plan: Plan, folder: Path) -> None:
    """Write a plan's bundle into a folder, whose name it takes; weights and outputs there are left alone.

    Raises:
        ValueError: If the folder's name is none of a bundle.
    """
    write(folder, planned_bundle(plan, folder.resolve().name))
