"""What a recipe promises: the configs of any backbone of the registry, and no two parts that are one object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest

from flemme_monai import registry
from flemme_monai.recipes import Workflow, component, make_bundle
from flemme_monai.registry import ARCHITECTURES, ENCODERS, FAMILIES, Network, serves

ROOT = Path(__file__).resolve().parents[2]


def containers(value: Any) -> Iterator[Any]:
    """Every list and dictionary of a config."""
    if isinstance(value, list | dict):
        yield value
        for inside in value.values() if isinstance(value, dict) else value:
            yield from containers(inside)


def test_a_component_is_its_class_and_its_arguments() -> None:
    assert component("a.B", _disabled_="$x", size=3) == {"_target_": "a.B", "_disabled_": "$x", "size": 3}


def test_no_part_of_a_copy_is_another_part() -> None:
    shared = component("a.B")
    workflow = Workflow({"x": shared}, {"y": shared, "z": [shared]}).copy()
    found = [id(part) for part in containers([workflow.settings, workflow.components])]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_recipe_s_configs_are_read_from_settings_to_steps(architecture: str) -> None:
    recipe = locate(ARCHITECTURES[architecture].recipe)("x", ENCODERS["cnn"])
    assert recipe.workflows.keys() >= {"evaluate", "inference", "multi_gpu_train"}
    for workflow in recipe.workflows.values():
        assert not workflow.settings.keys() & workflow.components.keys()
        assert not any("_target_" in value for value in workflow.settings.values() if isinstance(value, dict))
        assert workflow.steps.keys() <= {"initialize", "run", "finalize"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_encoder_of_a_new_family_has_its_class_s_own_settings(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "fft", replace(FAMILIES["conv"], key="fft", encoders={}))
    monkeypatch.setitem(ENCODERS, "fnet", replace(ENCODERS["cnn"], key="fnet", family="fft"))
    files = make_bundle(f"{architecture}_fnet")
    backbone = json.loads(files["configs/inference.json"])["network_def"]["backbone"]
    upsampling = {"up_mode": "conv"} if architecture in ("ae", "hae") else {}  # of all plain encoders of other families
    assert backbone["family"] == {"_target_": FAMILIES["conv"].path, **upsampling}
    assert "position_embedding" not in backbone


def test_a_network_from_elsewhere_has_its_class_s_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Network("segnet", ENCODERS["unet"].path, "a network", "a paper", tuple(ARCHITECTURES))
    monkeypatch.setitem(registry.NETWORKS, "segnet", row)
    for architecture in filter(lambda key: serves("segnet", key), ARCHITECTURES):
        files = make_bundle(f"{architecture}_segnet")
        backbone = json.loads(files["configs/inference.json"])["network_def"]["backbone"]
        assert backbone.keys() <= {"_target_", "spatial_dims", "in_channels", "out_channels", "conditioning"}
        shape = json.loads(files["configs/metadata.json"])["network_data_format"]["inputs"]["image"]["spatial_shape"]
        assert shape == ["16*n", "16*n"]  # twice its total stride


def test_the_license_of_a_bundle_is_the_package_s() -> None:
    assert make_bundle("sem_unet")["LICENSE"] == (ROOT / "LICENSE").read_text(encoding="utf-8")
