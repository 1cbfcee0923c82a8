"""Bundles with a spacing, intensities and sampling of a plan: predictions and metrics are on the input's own grid."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from test_whole_images import AFFINE, EVALUATION, INFERENCE, SIZE, SMALL, bundle, data, run, save_network  # noqa: F401

from flemme_monai.planning import make_plan, planned_bundle, read_data_set
from flemme_monai.recipes import make_bundle, write
from flemme_monai.utils.errors import one_line_error

COARSE = [2.0, 2.5, 1.7]


def planned(bundle: Path, **settings) -> Path:  # noqa: F811
    """The bundle with settings of a plan, and weights that were trained under them."""
    write(bundle, make_bundle("sem_unet", settings={**SMALL, **settings}))
    save_network(bundle, bundle / "models", 0)
    return bundle


def label_maps(folder: Path) -> dict[str, nibabel.Nifti1Image]:
    return {path.name[0]: nibabel.load(path) for path in sorted(folder.glob("*_seg.nii.gz"))}


def mean_of(folder: Path, metric: str) -> float:
    with (folder / "summary.csv").open(encoding="utf-8") as lines:
        rows = {(row["metric"], row["class"]): row["mean"] for row in csv.DictReader(lines)}
    return float(rows[metric, "mean"] or "nan")


@pytest.mark.parametrize("settings", [{}, {"crop_foreground": True, "intensity_range": [0.1, 0.9]}])
def test_predictions_lie_on_the_grid_of_the_file(bundle, data, settings):  # noqa: F811
    folder = run(planned(bundle, spacing=COARSE, **settings), data, INFERENCE, "out")
    found = label_maps(folder)
    assert sorted(found) == ["a", "b", "c", "d"]
    for image in found.values():
        assert image.shape == SIZE
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
        assert image.get_data_dtype() == np.uint8


def test_the_spacing_of_the_file_changes_nothing(bundle, data):  # noqa: F811
    own = [2.0, 1.2, 1.5]  # in RAS order: of the axes as they are turned
    spacings = [float(np.linalg.norm(AFFINE[:3, axis])) for axis in (0, 2, 1)]
    assert sorted(own) == pytest.approx(sorted(spacings))
    plain = label_maps(run(planned(bundle), data, INFERENCE, "plain"))
    spaced = label_maps(run(planned(bundle, spacing=spacings), data, INFERENCE, "spaced"))
    for name in plain:
        assert np.array_equal(np.asarray(plain[name].dataobj), np.asarray(spaced[name].dataobj))


def test_evaluation_measures_the_predictions_that_inference_writes(bundle, data):  # noqa: F811
    """Both on the file's grid: with the label resampled instead, or the prediction, the numbers would differ."""
    planned(bundle, spacing=COARSE)
    predictions = run(bundle, data, INFERENCE, "out")
    direct = run(bundle, data, EVALUATION, "direct")
    files = run(bundle, data, EVALUATION, "files", evaluate_folder=str(predictions))
    for metric in ("dice", "hausdorff95", "surface_dice", "absent_class_mm3"):
        assert mean_of(direct, metric) == pytest.approx(mean_of(files, metric), nan_ok=True), metric
    labels = run(bundle, data, EVALUATION, "labels", evaluate_folder=str(data / "labels"))
    assert mean_of(labels, "dice") == 1
    assert mean_of(labels, "surface_dice") == 1


def test_ct_is_clipped_and_standardised_by_the_data_set_s_numbers(bundle, data):  # noqa: F811
    planned(bundle, intensity_range=[0.2, 0.6], intensity_mean_std=[0.4, 0.1])
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="infer",
        bundle_root=str(bundle),
        dataset_dir=str(data),
    )
    workflow.initialize()
    image = workflow.parser.get_parsed_content("dataset")[0]["image"].as_tensor()
    assert image.min() == pytest.approx(-2, abs=1e-5)
    assert image.max() == pytest.approx(2, abs=1e-5)


def test_a_planned_bundle_trains_by_its_settings_and_says_why(tmp_path, data):  # noqa: F811
    plan = make_plan(read_data_set(data), "hsem_unet", 0.05, spacing=[2.0, 2.0, 2.0])
    plan.set("steps_per_epoch", 3, "a test")
    plan.set("network_def#backbone#channels", [8] * len(plan.settings["network_def#backbone#channels"]), "a test")
    folder = tmp_path / "planned"
    write(folder, planned_bundle(plan, "planned"))
    page = (folder / "docs" / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in plan.settings)
    config = json.loads((folder / "configs" / "train.json").read_text(encoding="utf-8"))
    assert config["spacing"] == [2.0, 2.0, 2.0]
    assert config["foreground_share"] == 0.333
    workflow = ConfigWorkflow(
        config_file=str(folder / "configs" / "train.json"),
        workflow_type="train",
        bundle_root=str(folder),
        dataset_dir=str(data),
        epochs=2,
        num_workers=0,
    )
    workflow.initialize()
    assert len(workflow.parser.get_parsed_content("train#dataloader")) == 3
    cases = workflow.parser.get_parsed_content("train#dataset")
    shape = [round(n * mm / 2) for n, mm in zip(SIZE, np.linalg.norm(AFFINE[:3, :3], axis=0))]
    assert sorted(cases.deterministic(0)["image"].shape[1:]) == sorted(shape)
    workflow.run()
    trainer = workflow.parser.get_parsed_content("train#trainer")
    assert trainer.state.iteration == 6
    assert torch.load(folder / "models" / "last.pt", weights_only=True)


def test_masks_that_overlap_are_learned_and_predicted_through_a_spacing(tmp_path, data):  # noqa: F811
    for number, folder in enumerate(("bone", "skin")):
        (data / "masks" / folder).mkdir(parents=True)
        for path in sorted((data / "labels").iterdir()):
            labels = nibabel.load(path)
            mask = np.asarray(labels.dataobj) > number
            nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), labels.affine), data / "masks" / folder / path.name)
    shutil.rmtree(data / "labels")
    bundle = tmp_path / "sem_unet"  # noqa: F811
    masks = {"num_classes": 2, "multi_label": True, "epochs": 1, "batch_size": 2, "foreground_share": 0.5}
    write(bundle, make_bundle("sem_unet", settings={**SMALL, **masks, "spacing": COARSE, "crop_foreground": True}))
    run(bundle, data, ("train",), "train")
    predictions = run(bundle, data, INFERENCE, "out")
    found = sorted(predictions.rglob("*.nii.gz"))
    assert len(found) == 8
    for path in found:
        image = nibabel.load(path)
        assert image.shape == SIZE
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    direct = run(bundle, data, EVALUATION, "direct")
    files = run(bundle, data, EVALUATION, "files", evaluate_folder=str(predictions))
    for metric in ("dice", "hausdorff95", "surface_dice"):
        assert mean_of(direct, metric) == pytest.approx(mean_of(files, metric), nan_ok=True), metric


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"spacing": COARSE}, "resize is true and spacing is"), ({"crop_foreground": True}, "crop_foreground is true")],
)
def test_whole_images_of_one_size_have_no_other_grid(bundle, data, settings, message):  # noqa: F811
    with pytest.raises(RuntimeError) as error:
        run(planned(bundle, resize=True, **settings), data, INFERENCE, "out")
    assert message in one_line_error(error.value)


def test_a_clipped_share_and_the_data_set_s_numbers_follow_each_other(bundle, data):  # noqa: F811
    planned(bundle, clip_share=0.01, intensity_mean_std=[0.5, 0.25])
    parser = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="infer",
        bundle_root=str(bundle),
        dataset_dir=str(data),
    ).parser
    image = parser.get_parsed_content("dataset")[0]["image"]
    assert (image.min(), image.max()) == pytest.approx((-2, 2))


def test_slices_with_their_neighbours_are_planned_trained_and_predicted(tmp_path, data):  # noqa: F811
    plan = make_plan(read_data_set(data), "sem_unet", 0.05, spatial_dims=2, spacing=[2.0, 2.0, 2.0], neighbour_slices=1)
    channels = "network_def#backbone#channels"
    plan.set(channels, [8] * len(plan.settings[channels]), "a test")
    plan.set("steps_per_epoch", 2, "a test")
    folder = tmp_path / "planned"
    write(folder, planned_bundle(plan, "planned"))
    run(folder, data, ("train",), "train", epochs=1, num_workers=0)
    predictions = run(folder, data, INFERENCE, "out")
    for image in label_maps(predictions).values():
        assert image.shape == SIZE
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    direct = run(folder, data, EVALUATION, "direct")
    files = run(folder, data, EVALUATION, "files", evaluate_folder=str(predictions))
    assert mean_of(direct, "dice") == pytest.approx(mean_of(files, "dice"))


@pytest.mark.parametrize("above", [None, -500])
def test_the_content_of_an_image_is_what_is_not_0_or_above_a_value(bundle, data, above):  # noqa: F811
    path = data / "images" / "a.nii.gz"
    image = nibabel.load(path)
    array = np.full(SIZE, 0 if above is None else -1000, np.float32)
    array[4:12, 3:11, 2:9] = 100 + np.asarray(image.dataobj)[4:12, 3:11, 2:9]
    nibabel.save(nibabel.Nifti1Image(array, image.affine), path)
    planned(bundle, crop_foreground=True, crop_above=above)
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="infer",
        bundle_root=str(bundle),
        dataset_dir=str(data),
    )
    assert sorted(workflow.parser.get_parsed_content("dataset")[0]["image"].shape) == [1, 7, 8, 8]
