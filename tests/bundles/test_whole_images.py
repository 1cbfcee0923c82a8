"""Segmentations of whole images: what is averaged, cleaned, saved, and evaluated from a folder."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from image_files import write_json, write_nifti
from monai.bundle import ConfigParser, ConfigWorkflow

from flemme_monai.recipes import make_bundle, write
from flemme_monai.utils.errors import one_line_error
from flemme_monai.utils.record import make_record, write_record

SIZE = (20, 16, 12)
AFFINE = np.array([[-1.5, 0, 0, 10], [0, 0, 2.0, 3], [0, 1.2, 0, -4], [0, 0, 0, 1]])
SMALL = {
    "spatial_dims": 3,
    "num_classes": 3,
    "image_size": [8, 8, 8],
    "network_def#backbone#channels": [8],
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#middle_channels": [8],
    "network_def#backbone#num_blocks": 1,
}
INFERENCE, EVALUATION = ("inference",), ("train", "evaluate")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four volumes, turned, with labels of three classes."""
    random = np.random.RandomState(0)
    for name in "abcd":
        labels = random.randint(0, 3, SIZE).astype(np.uint8)
        write_nifti(tmp_path / "data" / "images" / f"{name}.nii.gz", random.rand(*SIZE).astype(np.float32), AFFINE)
        write_nifti(tmp_path / "data" / "labels" / f"{name}.nii.gz", labels, AFFINE)
    return tmp_path / "data"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with weights of two networks, that of ``other`` in a folder of its own."""
    write(tmp_path / "sem_unet", make_bundle("sem_unet", settings=SMALL))
    for k, folder in enumerate((tmp_path / "sem_unet" / "models", tmp_path / "other")):
        save_network(tmp_path / "sem_unet", folder, k)
    return tmp_path / "sem_unet"


def save_network(bundle: Path, folder: Path, seed: int, **settings: Any) -> torch.nn.Module:
    """Weights as a training leaves them."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser.update({"bundle_root": str(bundle), "trained": {}, **settings})
    torch.manual_seed(seed)
    network = parser.get_parsed_content("network_def")
    folder.mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / "model.pt")
    write_record(folder, make_record(network, parser.get_parsed_content("network_settings")))
    return network


def run(bundle: Path, data: Path, names: tuple[str, ...], output: str, **settings: Any) -> Path:
    """Run a workflow; gives the folder of its output."""
    folder = bundle.parent / output
    workflow = ConfigWorkflow(
        config_file=[str(bundle / "configs" / f"{name}.json") for name in names],
        workflow_type="infer" if names == INFERENCE else "train",
        bundle_root=str(bundle),
        dataset_dir=str(data),
        output_dir=str(folder),
        **settings,
    )
    workflow.initialize()
    workflow.run()
    return folder


def masks(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(nibabel.load(path).dataobj) for path in sorted(folder.glob("*_seg.nii.gz"))}


def table(folder: Path) -> list[list[str]]:
    with (folder / "cases.csv").open(encoding="utf-8") as file:
        return list(csv.reader(file))


def logits(bundle: Path, weights: Path, image: Path) -> torch.Tensor:
    """The logits (C, *S) of a whole image in one window, on the axes of its file."""
    network = save_network(bundle, bundle.parent / "again", 0)
    network.load_state_dict(torch.load(weights / "model.pt", weights_only=True))
    values = nibabel.as_closest_canonical(nibabel.load(image)).get_fdata()
    values = torch.from_numpy((values - values.mean()) / values.std()).float()
    with torch.no_grad():
        return network.eval()(values[None, None])[0]


@pytest.mark.parametrize("settings", [{}, {"keep_largest": "1,2", "mirror": True}])
def test_a_folder_of_predictions_has_the_numbers_of_the_network(bundle, data, settings):
    given = {key: value for key, value in settings.items() if key == "keep_largest"}
    predicted = run(bundle, data, INFERENCE, "pred", **settings)
    expected = table(run(bundle, data, EVALUATION, "by_network", **settings))
    (bundle / "models" / "model.pt").unlink()
    found = table(run(bundle, data, EVALUATION, "by_folder", evaluate_folder=str(predicted), **given))
    assert found[0] == expected[0]
    assert len(found) > 1
    for row, other in zip(found[1:], expected[1:], strict=True):
        assert row[:2] == other[:2]
        for value, wanted in zip(row[2:], other[2:], strict=True):
            assert value == wanted or float(value) == pytest.approx(float(wanted), abs=1e-6)


def test_predictions_of_another_program_need_no_training(bundle, data, tmp_path):
    (tmp_path / "none").mkdir()
    folder = run(bundle, data, EVALUATION, "out", evaluate_folder=str(data / "labels"), ckpt_dir=str(tmp_path / "none"))
    header, *rows = table(folder)
    assert {row[header.index("dice")] for row in rows} == {"1"}


def test_a_missing_prediction_is_said_before_anything_is_written(bundle, data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeError) as error:
        run(bundle, data, EVALUATION, "out", evaluate_folder=str(tmp_path / "empty"))
    line = one_line_error(error.value)
    assert line.startswith(f"ValueError: {tmp_path}/empty: has no prediction of 1 of the 1 cases")
    assert not (tmp_path / "out").exists()


def test_probabilities_of_several_networks_are_averaged_and_saved(bundle, data):
    both = [str(bundle / "models"), str(bundle.parent / "other")]
    image = data / "images" / "a.nii.gz"
    whole = {"image_size": [20, 12, 16]}  # in RAS
    folder = run(bundle, data, INFERENCE, "both", ckpt_dir=both, save_probabilities=True, **whole)
    mean = sum(logits(bundle, Path(path), image).softmax(0) for path in both) / 2
    saved = nibabel.as_closest_canonical(nibabel.load(folder / "a_probabilities.nii.gz"))
    assert np.allclose(np.moveaxis(saved.get_fdata(), -1, 0), mean.numpy(), atol=1e-5)
    assert np.allclose(nibabel.load(folder / "a_probabilities.nii.gz").affine, AFFINE)
    mask = nibabel.as_closest_canonical(nibabel.load(folder / "a_seg.nii.gz")).get_fdata()
    assert np.array_equal(mask, mean.argmax(0).numpy())
    alone = run(bundle, data, INFERENCE, "alone", ckpt_dir=both, **whole)
    for name, values in masks(folder).items():
        assert np.array_equal(values, masks(alone)[name])
    assert not list(alone.glob("*probabilities*"))


def test_saving_probabilities_leaves_the_masks_of_windows_alone(bundle, data):
    with_, without = (run(bundle, data, INFERENCE, f"out{k}", save_probabilities=k) for k in (True, False))
    for name, values in masks(with_).items():
        assert np.array_equal(values, masks(without)[name])


def test_an_evaluation_takes_several_networks(bundle, data):
    both = [str(bundle / "models"), str(bundle.parent / "other")]
    predicted = run(bundle, data, INFERENCE, "pred", ckpt_dir=both)
    expected = table(run(bundle, data, EVALUATION, "by_networks", ckpt_dir=both))
    assert table(run(bundle, data, EVALUATION, "by_folder", evaluate_folder=str(predicted))) == expected


def test_networks_of_other_classes_are_refused(bundle, data):
    save_network(bundle, bundle.parent / "four", 0, num_classes=4)
    with pytest.raises(RuntimeError) as error:
        run(bundle, data, INFERENCE, "out", ckpt_dir=[str(bundle / "models"), str(bundle.parent / "four")])
    assert f"num_classes is 3 here and 4 in {bundle.parent}/four/network.json" in one_line_error(error.value)


def test_networks_that_were_trained_on_the_test_cases_are_refused(bundle, data):
    for folder, test in ((bundle / "models", "a"), (bundle.parent / "other", "b")):
        split_file = write_json(
            bundle.parent / f"{test}.json", {"train": ["c", "ab".replace(test, "")], "val": ["d"], "test": [test]}
        )
        run(
            bundle,
            data,
            ("train",),
            f"out_{test}",
            split_file=str(split_file),
            ckpt_dir=str(folder),
            epochs=1,
            num_workers=0,
        )
    with pytest.raises(RuntimeError) as error:
        run(bundle, data, EVALUATION, "out", ckpt_dir=[str(bundle / "models"), str(bundle.parent / "other")])
    assert "a network was trained on 1 of the 1 test cases (a)" in one_line_error(error.value)


@pytest.mark.parametrize("pair", ["ae_unet", "ddpm_unet"])
def test_only_segmentations_take_several_networks(pair, tmp_path):
    write(tmp_path / pair, make_bundle(pair))
    parser = ConfigParser()
    parser.read_config(str(tmp_path / pair / "configs" / "inference.json"))
    parser.update({"bundle_root": str(tmp_path / pair), "ckpt_dir": ["a", "b"]})
    with pytest.raises(RuntimeError) as error:
        parser.get_parsed_content("network")
    assert one_line_error(error.value).startswith("ValueError: ckpt_dir names 2 folders; expected one")
