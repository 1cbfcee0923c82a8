"""The pages of the documentation say what is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from flemme_monai.registry import ARCHITECTURES, pairs
from flemme_monai.utils.record import CHANGEABLE
from flemme_monai.utils.settings import FORMER_NAMES, default_of

ROOT = Path(__file__).resolve().parents[1]
# what a config is made of, and what the lists of settings need not explain
PARTS = {"imports", "datalist", "network_def", "network", "loss", "optimizer", "lr_scheduler", "train", "validate"}
PARTS |= {"preprocessing", "dataset", "dataloader", "inferer", "postprocessing", "checkpointloader", "handlers"}
PARTS |= {"evaluator", "initialize", "run", "ema", "scheduler", "sampling", "prepare_batch", "sample_shape", "real"}
PARTS |= {
    "start_preprocessing",
    "network_settings",
    "trained",
    "initial_network",
    "pretrained_weights",
    *FORMER_NAMES.values(),
}
PARTS |= {"networks", "losses", "make_views"}
PARTS |= {"names", "resized_to"}
PARTS |= {"autoencoder_def", "autoencoder", "latent_space", "latent_images", "classifier_def", "classifier"}
# one bundle of each architecture, and the letters that a row has for its configs
BUNDLES = [next(pair for pair in pairs(shipped=True) if pair.startswith(f"{key}_")) for key in ARCHITECTURES]
LETTERS = {"train": "T", "train_autoencoder": "T", "train_diffusion": "T", "evaluate": "E", "inference": "I"}
LETTERS |= {"pretrain": "P", "joint": "T"}
CONFIGS = [
    (bundle, path.stem, letter)
    for bundle in BUNDLES
    for path in sorted((ROOT / "bundles" / bundle / "configs").glob("*.json"))
    if (letter := LETTERS.get(path.stem))
]


def settings(bundle: str, workflow: str) -> dict[str, object]:
    """The settings of a config by name, those of the augmentation and of views one by one."""
    config = json.loads((ROOT / "bundles" / bundle / "configs" / f"{workflow}.json").read_text(encoding="utf-8"))
    tables = [(table, config.pop(table, {})) for table in ("augmentation", "views")]
    each = {f"{table}#{name}": value for table, values in tables for name, value in values.items()}
    own = {name: default_of(value) for name, value in config.items() if name not in PARTS and "#" not in name}
    return own | each


def rows() -> dict[str, list[str]]:
    """The cells of the table of settings by name."""
    page, _, _ = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").partition("\n## The network's settings\n")
    table = re.findall(r"^\| `([\w#]+)`[^|]*\|(.*)\|$", page, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in table}


@pytest.mark.parametrize(("bundle", "workflow", "letter"), CONFIGS)
def test_every_setting_has_a_row_with_its_default(bundle: str, workflow: str, letter: str) -> None:
    table = rows()
    for name, value in settings(bundle, workflow).items():
        default, _, places = table[name]
        assert letter in places, name
        if value is not None and not str(value).startswith(("$", "@")):
            assert str(value).lower() in stated(default), name


def stated(default: str) -> list[str]:
    """The values that a cell of defaults states, outside of the brackets that say for which bundles."""
    return re.findall(r"\[[^]]*\]|[\w.<>/]+", re.sub(r"\([^)]*\)", "", default))


def test_a_default_of_400_is_not_one_of_40() -> None:
    assert stated("400, 0.0 (`clm` 40); `[64, 64]`, `none`: own") == ["400", "0.0", "[64, 64]", "none", "own"]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/compare.md",
        "docs/data.md",
        "docs/settings.md",
        "docs/results.md",
        "docs/benchmark.md",
        "docs/finetuning.md",
        "docs/flemme.md",
        "docs/generation.md",
        "docs/gi_tract.md",
        "docs/inference.md",
        "docs/metrics.md",
        "docs/planning.md",
        "docs/pretraining.md",
        "docs/robustness.md",
    ],
)
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_every_row_is_a_setting() -> None:
    known = {name for bundle, workflow, _ in CONFIGS for name in settings(bundle, workflow)}
    assert set(rows()) <= known | {"interpolate_between"}


def test_the_marked_settings_are_those_that_training_keeps_with_the_weights() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    marked = set(re.findall(r"^\| `(\w+)`[^|]*¹[^|]*\|", page, re.MULTILINE))
    free = set(re.findall(r"^\| `(\w+)`[^|]*²[^|]*\|", page, re.MULTILINE))
    configs = [ROOT / "bundles" / bundle / "configs" / f"{workflow}.json" for bundle, workflow, _ in CONFIGS]
    kept = [json.loads(path.read_text(encoding="utf-8")).get("network_settings", {}) for path in configs]
    assert marked == {name for names in kept for name in names}
    assert free == set(CHANGEABLE)
