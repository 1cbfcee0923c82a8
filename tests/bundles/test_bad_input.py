"""Bad input ends in one clear line that says what was found and how to mend it, and nothing is overwritten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_nifti, write_picture
from refusal import command, earlier_run, refused, save_weights

from flemme_monai.recipes import make_bundle, write

SETTINGS = {"num_classes": 2, "image_size": [16, 16], "epochs": 1, "num_workers": 0, "batch_size": 4}
VOLUMES = {"spatial_dims": 3, "image_size": [16, 16, 16]}
WORKFLOWS = ("train", "evaluate", "inference")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with weights."""
    folder = tmp_path_factory.mktemp("bundles") / "sem_unet"
    write(folder, make_bundle("sem_unet", settings={k: v for k, v in SETTINGS.items() if k != "num_workers"}))
    save_weights(folder, folder / "models")
    return folder


@pytest.fixture
def results(bundle: Path, tmp_path: Path) -> dict[str, Path]:
    """The weights and outputs of earlier runs, in the folders of the next one."""
    return earlier_run(bundle, tmp_path)


def pictures(folder: Path) -> Path:
    for k in range(6):
        picture = random_picture(k, (20, 24))
        write_picture(folder / "images" / f"{k}.png", picture)
        write_picture(folder / "masks" / f"{k}.png", picture // 128)
    return folder


def volumes(folder: Path) -> Path:
    for k in range(6):
        volume = random_picture(k, (18, 20, 17)).astype(np.float32)
        write_nifti(folder / "images" / f"{k}.nii.gz", volume)
        write_nifti(folder / "labels" / f"{k}.nii.gz", (volume > 128).astype(np.uint8))
    return folder


def without_mask(folder: Path) -> None:
    (pictures(folder) / "masks" / "3.png").unlink()


def of_two_shapes(folder: Path) -> None:
    write_picture(pictures(folder) / "masks" / "1.png", np.zeros((20, 23), np.uint8))


def truncated(folder: Path) -> None:
    path = pictures(folder) / "images" / "2.png"
    path.write_bytes(path.read_bytes()[:300])


def truncated_volume(folder: Path) -> None:
    path = volumes(folder) / "images" / "2.nii.gz"
    path.write_bytes(path.read_bytes()[:900])


def no_image(folder: Path) -> None:
    (pictures(folder) / "images" / "1.png").write_text("this is no image", encoding="utf-8")


def not_finite(value: float) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        volume = np.ones((18, 20, 17), np.float32)
        volume[3, 4, 5] = value
        write_nifti(volumes(folder) / "images" / "1.nii.gz", volume)

    return make


def beyond_the_classes(folder: Path) -> None:
    write_picture(pictures(folder) / "masks" / "2.png", np.full((20, 24), 7, np.uint8))


def in_colour(folder: Path) -> None:
    write_picture(pictures(folder) / "images" / "2.png", random_picture(0, (20, 24, 3)))


def of_two_modalities(folder: Path) -> None:
    write_nifti(volumes(folder) / "images" / "2.nii.gz", np.ones((18, 20, 17, 2), np.float32))


TRAINING = {
    "an empty folder": (Path.mkdir, {}, ["set: the folder is empty; looked for dataset.json"]),
    "an image without mask": (without_mask, {}, ["images/3.png: has no mask in", "add the mask"]),
    "two shapes": (of_two_shapes, {}, ["masks/1.png: has the shape (23, 20); expected (24, 20)", "images/1.png"]),
    "a truncated file": (truncated, {}, ["images/2.png: cannot be read as .png", "replace it"]),
    "a truncated volume": (truncated_volume, VOLUMES, ["images/2.nii.gz: cannot be read as .nii.gz", "replace it"]),
    "a file that is no image": (no_image, {}, ["images/1.png: cannot be read as .png", "replace it"]),
    "NaN": (not_finite(np.nan), VOLUMES, ["images/1.nii.gz: 1 of 6120 voxels are NaN or Inf"]),
    "Inf": (not_finite(np.inf), VOLUMES, ["images/1.nii.gz: 1 of 6120 voxels are NaN or Inf"]),
    "a label beyond": (beyond_the_classes, {}, ["masks/2.png: label 7 is beyond num_classes 2", "set num_classes"]),
    "colour": (in_colour, {}, ["images/2.png: has 3 channels; expected in_channels, 1", "set in_channels to 3"]),
    "two modalities": (of_two_modalities, VOLUMES, ["images/2.nii.gz: has 2 channels; expected in_channels, 1"]),
    "an indivisible size": (pictures, {"image_size": [20, 20]}, ["(20, 20) is not divisible", "(16, 16) or (24, 24)"]),
    "a GPU that is not there": (pictures, {"device": "cuda:99"}, ["device 'cuda:99' asks for GPU 99", "use cpu"]),
}


@pytest.mark.parametrize("case", TRAINING)
def test_training_refuses(case: str, bundle: Path, results: dict[str, Path], tmp_path: Path) -> None:
    make, settings, words = TRAINING[case]
    make(tmp_path / "set")
    line = refused(bundle, "train", results, dataset_dir=str(tmp_path / "set"), **settings)
    assert [word for word in words if word not in line] == [], line


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_folder_that_is_not_there_is_no_phantom(workflow: str, bundle: Path, results: dict[str, Path]) -> None:
    line = refused(bundle, workflow, results, dataset_dir="/nowhere/at/all")
    assert line.startswith("FileNotFoundError: /nowhere/at/all: no such folder")


@pytest.mark.parametrize("case", ["a truncated file", "colour", "an indivisible size"])
@pytest.mark.parametrize("workflow", ["evaluate", "inference"])
def test_evaluation_and_inference_refuse(
    case: str, workflow: str, bundle: Path, results: dict[str, Path], tmp_path: Path
) -> None:
    make, settings, words = TRAINING[case]
    make(tmp_path / "set")
    cases = [str(k) for k in range(6)]
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [cases[0]], "val": [cases[1]], "test": cases[2:]}), encoding="utf-8")
    settings = settings | ({"split_file": str(split)} if workflow == "evaluate" else {})
    line = refused(bundle, workflow, results, dataset_dir=str(tmp_path / "set"), **settings)
    assert words[0] in line


@pytest.mark.parametrize("workflow", ["evaluate", "inference"])
def test_weights_of_another_network_name_the_first_keys(workflow: str, bundle: Path, results: dict[str, Path]) -> None:
    save_weights(bundle, results["ckpt_dir"], num_classes=5)
    line = refused(bundle, workflow, results)
    assert "model.pt does not fit the network: backbone." in line
    assert "(32, 5, 4, 4) and the network's is (32, 2, 4, 4)" in line


@pytest.mark.parametrize("workflow", ["evaluate", "inference"])
def test_weights_that_are_not_there_are_named(workflow: str, bundle: Path, results: dict[str, Path]) -> None:
    (results["ckpt_dir"] / "model.pt").unlink()
    assert "model.pt: train first" in refused(bundle, workflow, results)


def test_a_run_that_cannot_be_resumed_is_named(bundle: Path, results: dict[str, Path]) -> None:
    assert "last.pt is no checkpoint" in refused(bundle, "train", results, resume="true")
    (results["ckpt_dir"] / "last.pt").unlink()
    assert "resume found no" in refused(bundle, "train", results, resume="true")


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_an_output_folder_that_cannot_be_written_is_named(
    workflow: str, bundle: Path, results: dict[str, Path]
) -> None:
    blocked = results["ckpt_dir"] / "model.pt" / "out"
    line = refused(bundle, workflow, {**results, "output_dir": blocked})
    assert f"{blocked} is not a writable folder" in line


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_misspelt_setting_of_the_network_is_named(
    workflow: str, bundle: Path, results: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(bundle, tmp_path / "sem_unet")
    for name in ("train", "inference"):
        path = tmp_path / "sem_unet" / "configs" / f"{name}.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["network_def"]["backbone"]["num_block"] = 1
        path.write_text(json.dumps(config), encoding="utf-8")
    line = refused(tmp_path / "sem_unet", workflow, results)
    assert line == "ValueError: flemme_monai.backbones.UNet has no setting 'num_block'; did you mean num_blocks?"


@pytest.mark.parametrize("config", ["train", "inference"])
def test_the_command_line_ends_with_the_line(config: str, bundle: Path, tmp_path: Path) -> None:
    truncated(tmp_path / "set")
    done = command(bundle, config, "--dataset_dir", str(tmp_path / "set"), "--output_dir", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ValueError: {tmp_path}/set/images/2.png: cannot be read")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_misspelt_setting_of_the_command_line_is_named(bundle: Path, tmp_path: Path) -> None:
    done = command(bundle, "train", "--epoch", "1", "--output_dir", str(tmp_path / "out"))
    assert done.returncode == 1
    line = "ValueError: there is no setting 'epoch'; did you mean epochs?; FLEMME_TRACEBACK=1 shows the trace"
    assert done.stderr.splitlines()[-1] == line
    assert not (tmp_path / "out").exists()
