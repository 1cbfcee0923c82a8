"""From a case to what is shown and measured, for each kind of bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import nibabel
import numpy as np
import pytest
import torch
from image_files import write_nifti, write_picture
from PIL import Image

from flemme_monai.data.reading import read_image
from flemme_monai.demo.limits import Limits
from flemme_monai.demo.measures import class_dice, class_masks, class_minutes
from flemme_monai.demo.runs import Outcome, Sampling, preview, run_case, run_generator
from flemme_monai.demo.served import ServedBundle

Serve = Callable[..., ServedBundle]


def first(bundle: ServedBundle, folder: Path, index: int | None = None, limits: Limits | None = None) -> Outcome:
    case = next(iter(bundle.cases.values()))
    return run_case(bundle, case, index, folder, limits or Limits(), lambda share: None)


def test_a_segmentation_has_its_prediction_target_and_numbers(serve: Serve, tmp_path: Path) -> None:
    outcome = first(serve("sem_unet", num_classes=3), tmp_path)
    assert outcome.scene is not None
    assert [panel.caption for panel in outcome.scene.panels] == ["image", "prediction", "target"]
    assert set(outcome.measures) == {"Dice", "loss"}
    header, rows = outcome.table or ([], [])
    assert header == ["class", "found, pixels", "target, pixels", "Dice"]
    assert [row[2] for row in rows] == [str(mask.sum()) for mask in outcome.scene.panels[2].masks.values()]


def test_a_photograph_of_a_screen_takes_the_image_s_place_and_its_label_is_warped(serve: Serve, tmp_path: Path) -> None:
    bundle = serve("sem_unet", num_classes=2)
    case = next(iter(bundle.cases.values()))
    plain, first, again = (
        run_case(bundle, case, None, tmp_path, Limits(), lambda share: None, photo).scene for photo in (0.0, 0.5, 0.5)
    )
    assert plain is not None
    assert first is not None
    assert again is not None
    assert (first.panels[0].image == again.panels[0].image).all()
    assert (first.panels[0].image != plain.panels[0].image).any()
    assert (first.panels[2].masks[1] != plain.panels[2].masks[1]).any()


def test_a_volume_cannot_be_photographed(serve: Serve, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "in" / "a.nii", np.random.RandomState(0).rand(32, 32, 3))
    with pytest.raises(ValueError, match="a volume cannot be photographed; expected a picture"):
        run_case(
            serve("sem_unet"), {"image": str(path), "case": "a"}, None, tmp_path, Limits(), lambda share: None, 0.5
        )


def test_classes_that_overlap_are_downloaded_as_a_mask_of_each(serve: Serve, tmp_path: Path) -> None:
    names = ["stomach", "small_bowel"]
    outcome = first(serve("sem_unet", multi_label=True, class_names=names, num_classes=2), tmp_path)
    assert outcome.scene is not None
    assert dict(outcome.scene.names) == {1: "stomach", 2: "small_bowel"}
    assert "time saved" in outcome.measures
    assert (outcome.table or ([], []))[0][-1] == "minutes saved"
    assert outcome.download is not None
    with ZipFile(outcome.download) as archive:
        assert [name.partition("/")[0] for name in archive.namelist()] == names
        masks = [np.asarray(Image.open(archive.open(name))) > 0 for name in archive.namelist()]
    assert [mask.sum() for mask in masks] == [mask.sum() for mask in outcome.scene.panels[1].masks.values()]


def test_organs_with_minutes_save_or_cost_time_and_others_do_not() -> None:
    whole, none = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    names = {1: "large_bowel", 2: "stomach", 3: "liver"}
    minutes = class_minutes({1: whole, 2: none, 3: whole}, {1: whole, 2: whole, 3: whole}, names)
    assert minutes is not None
    assert (minutes[1], minutes[2]) == (5.0, -4.0)
    assert np.isnan(minutes[3])
    assert class_minutes({1: whole}, {1: whole}, {1: "liver"}) is None
    assert class_minutes({1: whole}, {1: whole}, {1: "liver"}, {"liver": [0.5, 7, 1]}) == {1: 7.0}


def test_dice_is_that_of_the_masks(serve: Serve) -> None:
    found = class_masks(torch.tensor([[[1, 1, 0, 2]]]), (1, 2))
    truth = class_masks(torch.tensor([[[1, 0, 0, 0]]]), (1, 2))
    assert class_dice(found, truth) == {1: pytest.approx(2 / 3), 2: 0.0}


def test_masks_of_each_class_may_overlap() -> None:
    masks = class_masks(torch.tensor([[[1, 1, 0]], [[0, 1, 1]]]), (1, 2))
    assert [mask.sum() for mask in masks.values()] == [2, 2]


def test_a_volume_s_classes_are_measured_in_ml(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "data"
    labels = np.zeros((32, 32, 32), np.uint8)
    labels[:10, :10, :10] = 1
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    write_nifti(data / "imagesTr" / "a.nii.gz", np.random.RandomState(0).rand(32, 32, 32).astype(np.float32), affine)
    write_nifti(data / "labelsTr" / "a.nii.gz", labels, affine)
    outcome = first(serve("sem_unet", data, spatial_dims=3, num_classes=2), tmp_path)
    header, rows = outcome.table or ([], [])
    assert header[2] == "target, ml"
    assert rows[0][2] == "12.000"  # 1000 voxels of 12 mm3


def test_the_file_has_the_geometry_of_the_input(serve: Serve, tmp_path: Path) -> None:
    affine = np.array([[0, -2, 0, 5], [-1.5, 0, 0, 7], [0, 0, 3, -9], [0, 0, 0, 1]], dtype=float)
    path = write_nifti(tmp_path / "in" / "a.nii.gz", np.random.RandomState(0).rand(40, 36, 34), affine)
    bundle = serve("sem_unet", spatial_dims=3)
    outcome = run_case(bundle, {"image": str(path), "case": "a"}, None, tmp_path, Limits(), lambda share: None)
    assert outcome.download is not None
    saved = nibabel.load(outcome.download)
    assert saved.shape == (40, 36, 34)
    assert np.allclose(saved.affine, affine)


def test_a_2d_network_takes_a_volume_or_the_slice_that_is_shown(serve: Serve, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "in" / "a.nii", np.random.RandomState(0).rand(32, 32, 3))
    bundle, case = serve("sem_unet"), {"image": str(path), "case": "a"}
    whole = run_case(bundle, case, None, tmp_path, Limits(), lambda share: None)
    one = run_case(bundle, case, 1, tmp_path, Limits(), lambda share: None)
    assert whole.scene is not None
    assert one.scene is not None
    assert (whole.scene.shape, one.scene.shape) == ((32, 32, 3), (32, 32))
    assert (whole.scene.panels[1].masks[1][..., 1] == one.scene.panels[1].masks[1]).all()


def test_a_reconstruction_is_compared_with_the_whole_image(serve: Serve, tmp_path: Path) -> None:
    outcome = first(serve("ae_unet", degradation="equispaced"), tmp_path)
    assert outcome.scene is not None
    assert [panel.caption for panel in outcome.scene.panels] == ["input", "output", "target", "error x 5"]
    panels = [panel.image for panel in outcome.scene.panels]
    assert not np.allclose(panels[0], panels[2])
    assert np.allclose(panels[3], np.abs(panels[1] - panels[2]))
    assert {"PSNR", "SSIM", "PSNR of the input"} <= set(outcome.measures)


def test_a_classification_has_probabilities_of_all_classes(serve: Serve, tmp_path: Path) -> None:
    outcome = first(serve("clm_cnn", num_classes=3), tmp_path)
    assert outcome.probabilities is not None
    assert len(outcome.probabilities) == 3
    assert sum(outcome.probabilities.values()) == pytest.approx(1)


def test_a_generator_s_samples_are_fixed_by_the_seed(serve: Serve) -> None:
    bundle = serve("ddpm_unet", num_classes=3)
    made = [
        run_generator(bundle, Sampling(1, 2, seed, 2.0, 3), Limits(), lambda share: None).samples for seed in (0, 0, 1)
    ]
    assert made[0] is not None
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()


def test_the_denoising_is_shown_step_by_step(serve: Serve) -> None:
    outcome = run_generator(serve("ddpm_unet"), Sampling(None, 1, 0, 1.0, 4), Limits(), lambda share: None)
    assert len(outcome.steps) == 4
    assert all(step.shape == outcome.steps[0].shape for step in outcome.steps)


@pytest.mark.parametrize(("count", "steps"), [(17, 3), (0, 3), (1, 251)])
def test_a_generator_makes_no_more_than_the_limits(serve: Serve, count: int, steps: int) -> None:
    with pytest.raises(ValueError, match="choose a number between"):
        run_generator(serve("ddpm_unet"), Sampling(None, count, 0, 1.0, steps), Limits(), lambda share: None)


def test_progress_grows_to_the_end_and_a_run_stops_at_its_deadline(serve: Serve, tmp_path: Path) -> None:
    bundle = serve("sem_unet", dataset_dir=None)
    path = write_picture(tmp_path / "a.png", np.random.RandomState(0).randint(0, 255, (96, 96)).astype(np.uint8))
    case, shares = {"image": str(path), "case": "a"}, []
    run_case(bundle, case, None, tmp_path, Limits(), shares.append)
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert 0.5 < shares[-1] < 1
    with pytest.raises(ValueError, match="the run was stopped"):
        run_case(bundle, case, None, tmp_path, Limits(seconds=1e-9), lambda share: None)
    assert not bundle.network._forward_pre_hooks


def test_a_preview_is_the_image_of_the_file(serve: Serve, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", np.arange(32 * 32, dtype=np.uint8).reshape(32, 32))
    scene = preview(serve("sem_unet"), {"image": str(path), "case": "a"})
    assert (scene.panels[0].image == np.asarray(read_image(path)[0])).all()
