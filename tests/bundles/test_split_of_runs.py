"""The split of a training follows its weights through the bundles' workflows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_picture
from monai.bundle import ConfigParser, run
from refusal import contents, refused

from flemme_monai.commands.bundle_files import workflows
from flemme_monai.commands.bundle_runs import working_in
from flemme_monai.recipes import make_bundle, write

NETWORK = {"patch_channels": 8, "channels": [8, 8], "middle_channels": [8], "num_blocks": 1}
SMALL = {"image_size": [16, 16], "num_workers": 0, "epochs": 1, "batch_size": 8}


def made(pair: str, folder: Path, **settings) -> Path:
    """A bundle of small networks."""
    parts = ("network_def", "autoencoder_def") if pair.startswith("ldm") else ("network_def",)
    networks = {f"{part}#backbone#{name}": value for part in parts for name, value in NETWORK.items()}
    write(folder / pair, make_bundle(pair, settings={**networks, **SMALL, **settings}))
    return folder / pair


def done(bundle: Path, workflow: str, **settings) -> Path:
    """Run a workflow in its bundle; the folder of its outputs."""
    with working_in(bundle):
        run(config_file=[f"configs/{name}.json" for name in workflows(bundle)[workflow]], **settings)
    return bundle / "output" / workflow


def split(bundle: Path, folder: str = "models") -> dict:
    return json.loads((bundle / folder / "split.json").read_text(encoding="utf-8"))


def cases_of(folder: Path) -> set[str]:
    with open(folder / "cases.csv", encoding="utf-8") as file:
        return {row["case"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients of two slices each."""
    folder = tmp_path_factory.mktemp("data")
    for k in range(20):
        picture = random_picture(k, (16, 16))
        picture[:8] = 0
        write_picture(folder / "images" / f"case{k // 2}_slice{k % 2}.png", picture)
        write_picture(folder / "masks" / f"case{k // 2}_slice{k % 2}.png", (picture > 0).astype(np.uint8))
    return folder


def test_a_fold_is_trained_evaluated_and_taken_up_again(data: Path, tmp_path: Path) -> None:
    bundle = made("sem_unet", tmp_path, num_classes=2)
    settings = {"dataset_dir": str(data)}
    done(bundle, "train", fold=2, group_by=r"case\d+", **settings)
    record = split(bundle)
    assert record["test"] == ["case2_slice0", "case2_slice1", "case7_slice0", "case7_slice1"]
    assert record["settings"]["group_by"] == r"case\d+"
    assert len(record["train"]) == 12

    assert cases_of(done(bundle, "evaluate", **settings)) == set(record["test"])
    assert cases_of(done(bundle, "evaluate", fold=3, **settings)) == set(record["val"])
    results = {"ckpt_dir": bundle / "models", "output_dir": bundle / "output" / "evaluate"}
    with working_in(bundle):
        line = refused(bundle, "evaluate", results, fold=1, **settings)
    assert "fold 1 would test on 4 cases" in line
    assert "(case1_slice0, case1_slice1, case6_slice0, ...)" in line

    before = contents({"ckpt_dir": bundle / "models"})
    done(bundle, "train", resume="true", epochs=2, **settings)
    after = contents({"ckpt_dir": bundle / "models"})
    assert before.keys() == after.keys()
    assert split(bundle) == record


def test_a_new_training_has_a_new_record(data: Path, tmp_path: Path) -> None:
    bundle = made("sem_unet", tmp_path, num_classes=2, dataset_dir=str(data))
    done(bundle, "train", fold=2)
    done(bundle, "train")
    assert split(bundle)["settings"]["fold"] is None
    assert [len(split(bundle)[part]) for part in ("train", "val", "test")] == [12, 4, 4]


def test_a_denoiser_does_not_test_on_what_its_autoencoder_was_trained_on(tmp_path: Path) -> None:
    for name in "ab":
        for k in range(10):
            write_picture(tmp_path / "data" / name / f"{k}.png", random_picture(k + 10 * (name == "b"), (16, 16)))
    bundle = made("ldm_cnn", tmp_path, dataset_dir=str(tmp_path / "data"))
    done(bundle, "train_autoencoder")
    done(bundle, "train_diffusion", num_classes=2)
    autoencoder, denoiser = split(bundle, "models/autoencoder"), split(bundle)
    assert {part: autoencoder[part] for part in ("train", "val", "test")} == {
        part: denoiser[part] for part in ("train", "val", "test")
    }
    results = {"ckpt_dir": bundle / "models", "output_dir": bundle / "output" / "train_diffusion"}
    with working_in(bundle):
        line = refused(bundle, "train_diffusion", results, fold=0)
    assert "the autoencoder was trained on 4 of the 4 test cases (a/0, a/5, b/0, ...)" in line


@pytest.mark.parametrize("workflow", ["train", "evaluate"])
def test_a_config_is_parsed_where_there_are_no_weights(workflow: str, tmp_path: Path) -> None:
    """Federated clients and MONAI Label do so."""
    bundle = made("sem_unet", tmp_path)
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in workflows(bundle)[workflow]])
    parser["bundle_root"] = str(tmp_path / "nowhere")
    assert [len(cases) for cases in parser.get_parsed_content("datalist").values()] == [48, 16, 16]
