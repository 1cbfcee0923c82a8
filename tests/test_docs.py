"""The pages of the documentation say what is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# what a config is made of, and what the lists of settings need not explain
PARTS = {"imports", "datalist", "network_def", "network", "loss", "optimizer", "lr_scheduler", "train", "validate"}
PARTS |= {"preprocessing", "dataset", "dataloader", "inferer", "postprocessing", "checkpointloader", "handlers"}
PARTS |= {"evaluator", "initialize", "run"}


def settings(bundle: str, workflow: str) -> dict[str, object]:
    """The settings of a config by name, those of the augmentation one by one."""
    config = json.loads((ROOT / "bundles" / bundle / "configs" / f"{workflow}.json").read_text())
    augmentation = {f"augmentation#{name}": value for name, value in config.pop("augmentation", {}).items()}
    return {name: value for name, value in config.items() if name not in PARTS} | augmentation


def rows() -> dict[str, list[str]]:
    """The cells of the table of settings by name."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `([\w#]+)`[^|]*\|(.*)\|$", page, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in table}


@pytest.mark.parametrize("bundle", ["sem_unet", "hae_swin"])
@pytest.mark.parametrize(("workflow", "letter"), [("train", "T"), ("inference", "I")])
def test_every_setting_has_a_row_with_its_default(bundle: str, workflow: str, letter: str) -> None:
    table = rows()
    for name, value in settings(bundle, workflow).items():
        default, _, places = table[name]
        assert letter in places, name
        if isinstance(value, int | float | str) and not str(value).startswith("$") and bundle == "sem_unet":
            assert str(value).lower() in default, name


@pytest.mark.parametrize(
    "page", ["README.md", "docs/data.md", "docs/settings.md", "docs/results.md", "docs/benchmark.md"]
)
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_every_row_is_a_setting() -> None:
    known = {name for bundle in ("sem_unet", "ae_unet") for w in ("train", "inference") for name in settings(bundle, w)}
    assert set(rows()) <= known
