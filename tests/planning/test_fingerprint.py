"""What planning reads of a data set, and what it refuses."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from flemme_monai.planning import check_same_data, make_plan, read_data_set, read_plan, write_plan
from flemme_monai.planning import fingerprint as module
from flemme_monai.planning.memory import network_bytes, patch_bytes
from flemme_monai.planning.networks import meta_network
from flemme_monai.planning.warnings import data_warnings


def volumes(folder: Path, count: int = 3, size=(12, 10, 8), spacing=(1, 1, 2), low=0, high=100, flip=False) -> Path:
    """Volumes of noise with a box of class 1 and a smaller one of class 2; values are whole numbers."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        rng = np.random.default_rng(index)
        image = rng.integers(low, high, size).astype(np.int16)
        label = np.zeros(size, np.uint8)
        label[2:8, 2:8, 2:6] = 1
        label[3:6, 3:5, 3:5] = 2
        affine = np.diag([-spacing[0] if flip else spacing[0], *spacing[1:], 1.0])
        for part, array in (("images", image), ("labels", label)):
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / part / f"case{index}.nii.gz")
    return folder


def test_a_case_is_known_by_its_grid_values_and_classes(tmp_path):
    case = read_data_set(volumes(tmp_path, 1, flip=True)).cases[0]
    assert (case.shape, case.spacing, case.orientation) == ([12, 10, 8], [1, 1, 2], "LAS")
    assert case.labels == {0: 960 - 144, 1: 144 - 12, 2: 12}
    assert case.content == [12, 10, 8]
    assert case.whole
    image = np.random.default_rng(0).integers(0, 100, (12, 10, 8))
    inside = image[2:8, 2:8, 2:6]
    assert (case.lowest, case.highest) == (image.min(), image.max())
    assert np.median(case.foreground[0]) == pytest.approx(np.median(inside), abs=1)
    assert np.mean(case.foreground[0]) == pytest.approx(inside.mean(), rel=0.01)


def test_what_was_read_is_kept_and_a_changed_case_is_read_again(tmp_path, monkeypatch):
    data, cache = volumes(tmp_path / "data"), tmp_path / "cache"
    first = read_data_set(data, cache_dir=cache)
    read: list[str] = []
    original = module.read_case
    monkeypatch.setattr(module, "read_case", lambda case: (read.append(case["case"]), original(case))[1])
    assert read_data_set(data, cache_dir=cache) == first
    assert read == []
    image = nibabel.load(data / "images" / "case1.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), data / "images" / "case1.nii.gz")
    changed = read_data_set(data, cache_dir=cache)
    assert read == ["case1"]
    assert changed.digest != first.digest
    assert changed.cases[1].lowest == first.cases[1].lowest + 1


def test_a_case_that_is_renamed_is_not_taken_for_another(tmp_path):
    data = read_data_set(volumes(tmp_path, 1))
    for part in ("images", "labels"):
        content = (tmp_path / part / "case0.nii.gz").read_bytes()
        (tmp_path / part / "copy.nii.gz").write_bytes(content)
    copied = read_data_set(tmp_path)
    assert len(copied.cases) == len(data.cases) + 1
    assert any("case0, copy" in warning for warning in data_warnings(copied, [1, 1, 2]))
    assert not any("several names" in warning for warning in data_warnings(data, [1, 1, 2]))


def test_the_modality_is_that_of_dataset_json_else_of_the_values(tmp_path):
    assert read_data_set(volumes(tmp_path / "mr")).modality == "mr"
    assert read_data_set(volumes(tmp_path / "ct", low=-1000, high=1000)).modality == "ct"
    assert read_data_set(tmp_path / "ct", modality="mr").modality == "mr"
    with pytest.raises(ValueError, match=r"modality is 'pet'; expected one of"):
        read_data_set(tmp_path / "ct", modality="pet")


def test_mixed_modalities_are_refused(tmp_path):
    volumes(tmp_path, 3, low=-1000, high=1000)
    volumes(tmp_path, 1)
    with pytest.raises(ValueError, match="2 of 3 cases have the values of CT, case0 is unlike most"):
        read_data_set(tmp_path)


def test_labels_that_do_not_line_up_are_refused(tmp_path):
    data = volumes(tmp_path, 1)
    path = data / "labels" / "case0.nii.gz"
    label = nibabel.load(path)
    moved = label.affine.copy()
    moved[0, 3] += 5
    nibabel.save(nibabel.Nifti1Image(np.asarray(label.dataobj), moved), path)
    with pytest.raises(ValueError, match=r"case0.*lies 2\.5 voxels off its image"):
        read_data_set(data)
    nibabel.save(nibabel.Nifti1Image(np.asarray(label.dataobj)[1:], label.affine), path)
    with pytest.raises(ValueError, match="has the shape"):
        read_data_set(data)


def test_a_spacing_of_0_is_refused(tmp_path):
    data = volumes(tmp_path, 1)
    path = data / "images" / "case0.nii.gz"
    affine = np.diag([1.0, 1, 0, 1])
    header = nibabel.Nifti1Header()
    header.set_sform(affine, 1)
    nibabel.save(nibabel.Nifti1Image(np.zeros((12, 10, 8), np.int16), None, header), path)
    with pytest.raises(ValueError, match=r"case0.*degenerate"):
        read_data_set(data)


def test_odd_data_is_warned_of(tmp_path):
    volumes(tmp_path, 6)
    volumes(tmp_path, 1, spacing=(1, 1, 9), flip=True)
    warnings = "\n".join(data_warnings(read_data_set(tmp_path), [1, 1, 2]))
    assert "several orientations (5 RAS, 1 LAS)" in warnings
    assert "class 2 has 12 voxels in its median case" in warnings
    assert "1 cases have a spacing far from the median, such as case0" in warnings
    assert "class 1" not in warnings


def test_a_plan_of_ct_clips_and_of_mr_does_not(tmp_path):
    ct = make_plan(read_data_set(volumes(tmp_path / "ct", low=-1000, high=1000)), "sem_unet", 1.0)
    low, high = ct.settings["intensity_range"]
    assert -1000 < low < -950
    assert 950 < high < 1000
    mean, std = ct.settings["intensity_mean_std"]
    assert mean == pytest.approx(0, abs=60)
    assert std == pytest.approx(577, rel=0.05)
    mr = make_plan(read_data_set(volumes(tmp_path / "mr")), "sem_unet", 1.0)
    assert mr.settings["intensity_range"] is None
    assert ct.settings.keys() - mr.settings.keys() == set()


def test_a_plan_is_written_read_and_refused_for_other_data(tmp_path):
    data = read_data_set(volumes(tmp_path / "data"))
    plan = make_plan(data, "hsem_unet", 1.0, spacing=[2, 2, 2])
    assert plan.settings["spacing"] == [2, 2, 2]
    found = read_plan(write_plan(plan, tmp_path / "out"))
    assert found["settings"]["spacing"] == {"value": [2, 2, 2], "reason": "given of the cases' 1, 1, 2 mm"}
    check_same_data(found, data)
    with pytest.raises(ValueError, match=r"the plan is of 3 cases of .* is not that data set"):
        check_same_data(found, read_data_set(volumes(tmp_path / "other", 4)))
    (tmp_path / "out" / "plan.json").write_text(json.dumps({"pair": "x"}), encoding="utf-8")
    with pytest.raises(ValueError, match="holds no plan"):
        read_plan(tmp_path / "out" / "plan.json")


def test_what_cannot_be_planned_is_refused(tmp_path):
    data = read_data_set(volumes(tmp_path))
    with pytest.raises(ValueError, match="pair is 'ae_unet'; expected a segmentation"):
        make_plan(data, "ae_unet", 1.0)
    with pytest.raises(ValueError, match=r"spacing is \[0, 1, 1\]; expected 3 lengths"):
        make_plan(data, "sem_unet", 1.0, spacing=[0, 1, 1])
    with pytest.raises(ValueError, match="memory is 0; expected"):
        make_plan(data, "sem_unet", 0)
    with pytest.raises(ValueError, match=r"expected at least .* GiB"):
        make_plan(data, "sem_unet", 0.001)


def test_volumes_with_a_coarse_axis_turn_about_it_alone(tmp_path):
    data = read_data_set(volumes(tmp_path, spacing=(1, 1, 5)))
    assert make_plan(data, "sem_unet", 1.0).settings["augmentation#rotate_range"] == [0.0, 0.0, 0.35]
    assert "augmentation#rotate_range" not in make_plan(data, "sem_unet", 1.0, spacing=[1, 1, 1]).settings


def test_a_spacing_of_0_or_none_is_refused_and_a_file_without_affine_is_named(tmp_path):
    data = volumes(tmp_path, 1)
    for part in ("images", "labels"):
        path = data / part / "case0.nii.gz"
        image = nibabel.load(path)
        image.set_sform(image.affine, 0)
        image.set_qform(image.affine, 0)
        nibabel.save(image, path)
    found = read_data_set(data)
    assert not found.cases[0].placed
    assert "1 files have no affine, such as case0" in "\n".join(data_warnings(found, [1, 1, 2]))
    path = data / "images" / "case0.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[80:92] = np.zeros(3, np.float32).tobytes()  # pixdim
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(ValueError, match=r"case0.*has the spacing 0, 0, 0 mm; expected lengths above 0"):
        read_data_set(data)


def test_a_case_that_lies_the_wrong_way_round_is_warned_of(tmp_path):
    volumes(tmp_path, 6, size=(20, 18, 30))
    assert not any("exchanged" in line for line in data_warnings(read_data_set(tmp_path), [1, 1, 2]))
    for part in ("images", "labels"):
        path = tmp_path / part / "case2.nii.gz"
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[..., ::-1], image.affine), path)
    warnings = "\n".join(data_warnings(read_data_set(tmp_path), [1, 1, 2]))
    assert "1 cases look as if top and bottom were exchanged, such as case2" in warnings
    assert warnings.count("exchanged") == 1


def test_labels_where_the_image_is_empty_are_warned_of(tmp_path):
    volumes(tmp_path, 2)
    path = tmp_path / "images" / "case1.nii.gz"
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).copy()
    array[:5] = 0
    nibabel.save(nibabel.Nifti1Image(array, image.affine), path)
    data = read_data_set(tmp_path)
    assert data.cases[1].outside == pytest.approx(0.5, abs=0.02)
    assert "1 cases have labels where their image is 0, such as case1" in "\n".join(data_warnings(data, [1, 1, 2]))


def test_air_around_the_body_of_ct_is_cropped_and_patches_are_of_what_is_left(tmp_path):
    data = volumes(tmp_path, size=(40, 40, 16), low=-300, high=1000)
    for path in (data / "images").iterdir():
        image = nibabel.load(path)
        array = np.full(image.shape, -1000, np.int16)
        array[4:20, 4:20] = np.asarray(image.dataobj)[4:20, 4:20]
        nibabel.save(nibabel.Nifti1Image(array, image.affine), path)
    found = read_data_set(data)
    assert found.cases[0].content == [16, 16, 16]
    plan = make_plan(found, "sem_unet", 1.0)
    assert (plan.settings["crop_foreground"], plan.settings["crop_above"]) == (True, -500)
    assert plan.settings["image_size"] == [16, 16, 16]
    assert make_plan(read_data_set(data, modality="mr"), "sem_unet", 1.0).settings["crop_above"] is None


@pytest.mark.parametrize(
    ("size", "depth", "dims", "neighbours", "reason"),
    [
        ((32, 32, 16), 2, 3, None, "3D: volumes of 32x32x16"),
        ((32, 32, 6), 5, 2, 1, "2.5D: a case has 6 slices"),
        ((32, 32, 6), 12, 2, 0, "12 pixels apart"),
        ((32, 32, 2), 5, 2, 0, "no slice with two neighbours"),
        ((6, 32, 32), 1, 3, None, "3D"),
    ],
)
def test_slices_and_their_neighbours_are_proposed_for_thin_volumes(tmp_path, size, depth, dims, neighbours, reason):
    data = read_data_set(volumes(tmp_path, size=size, spacing=(1, 1, depth)))
    plan = make_plan(data, "sem_unet", 1.0)
    assert (plan.settings["spatial_dims"], plan.settings.get("neighbour_slices")) == (dims, neighbours)
    assert plan.settings["in_channels"] == 1 + 2 * (neighbours or 0)
    assert reason in plan.proposal
    assert len(plan.settings["image_size"]) == dims
    assert plan.reasons["spatial_dims"] == plan.proposal


def test_slices_may_be_asked_for_and_are_resampled_in_their_planes_alone(tmp_path):
    data = read_data_set(volumes(tmp_path, size=(32, 32, 16)))
    plan = make_plan(data, "sem_unet", 1.0, spatial_dims=2, spacing=[2, 2, 3], neighbour_slices=2)
    assert plan.settings["spacing"] == [2, 2, None]
    assert (plan.settings["in_channels"], plan.settings["neighbour_slices"]) == (5, 2)
    assert plan.reasons["spatial_dims"].startswith("given; proposed: 3D")
    with pytest.raises(ValueError, match="neighbour_slices is 1 with spatial_dims 3; expected 0"):
        make_plan(data, "sem_unet", 1.0, neighbour_slices=1)


def test_classes_with_a_side_are_not_mirrored_from_left_to_right(tmp_path):
    data = volumes(tmp_path)
    assert make_plan(read_data_set(data), "sem_unet", 1.0).settings["mirror"] == [0, 1, 2]
    names = {"background": 0, "left kidney": 1, "right kidney": 2}
    cases = [{"image": f"./images/case{k}.nii.gz", "label": f"./labels/case{k}.nii.gz"} for k in range(3)]
    listing = {"labels": names, "modality": {"0": "MRI"}, "training": cases}
    (data / "dataset.json").write_text(json.dumps(listing), encoding="utf-8")
    plan = make_plan(read_data_set(data), "sem_unet", 1.0)
    assert plan.settings["augmentation#flip_axes"] == plan.settings["mirror"] == [1, 2]
    assert "left kidney" in plan.reasons["augmentation#flip_axes"]


def test_what_another_version_kept_is_read_again(tmp_path):
    data, cache = volumes(tmp_path / "data"), tmp_path / "cache"
    first = read_data_set(data, cache_dir=cache)
    path = cache / "fingerprint.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    for record in known.values():
        record.pop("centres")
    path.write_text(json.dumps(known), encoding="utf-8")
    assert read_data_set(data, cache_dir=cache) == first


def test_masks_that_overlap_are_classes_each(tmp_path):
    data = volumes(tmp_path, 3, flip=True)
    maps = read_data_set(data)
    for name, low in (("bone", 1), ("marrow", 2)):
        (data / "masks" / name).mkdir(parents=True)
        for path in sorted((data / "labels").iterdir()):
            label = nibabel.load(path)
            mask = (np.asarray(label.dataobj) >= low).astype(np.uint8)
            nibabel.save(nibabel.Nifti1Image(mask, label.affine), data / "masks" / name / path.name)
    shutil.rmtree(data / "labels")
    found = read_data_set(data, multi_label=True)
    assert found.cases[0].labels == {0: 960 - 144, 1: 144, 2: 12}
    assert found.cases[0].centres[2] == maps.cases[0].centres[2]
    assert found.cases[0].foreground == maps.cases[0].foreground
    plan = make_plan(found, "sem_unet", 1.0)
    assert (plan.settings["num_classes"], plan.settings["multi_label"]) == (2, True)
    assert plan.reasons["num_classes"] == "a mask each: 1 bone, 2 marrow"


def test_a_dry_run_corrects_the_count(tmp_path):
    data = read_data_set(volumes(tmp_path, 3, size=(64, 64, 64)))
    asked = []

    def measure(settings, ratio):
        asked.append(settings)
        built = meta_network("sem_unet", {name: value for name, value in settings.items() if name != "batch_size"})
        return (12 / 16 * network_bytes(built) + ratio * 2 * patch_bytes(built, 1, settings["image_size"])) / 2**20

    counted, as_much, half = (
        make_plan(data, "sem_unet", 1.0, measure=run)
        for run in (None, lambda settings: measure(settings, 1.0), lambda settings: measure(settings, 0.5))
    )
    assert asked[0]["batch_size"] == 2
    assert max(asked[0]["image_size"]) <= 48
    assert as_much.settings == counted.settings
    assert np.prod(half.settings["image_size"]) > np.prod(counted.settings["image_size"])
    assert half.memory["used"] <= 1
    assert "a patch took 0.50 of what was counted" in half.reasons["batch_size"]
