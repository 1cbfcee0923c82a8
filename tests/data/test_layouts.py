"""The layouts that a folder may have."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_json, write_nifti, write_picture, write_series

from flemme_monai.data.layouts import find_cases

VOLUME = np.zeros((4, 5, 3), np.uint8)


def names(cases: list[dict]) -> list[str]:
    return [case["case"] for case in cases]


def pictures(folder: Path, *files: str) -> None:
    for name in files:
        write_picture(folder / name, random_picture(size=(4, 4)))


def decathlon(folder: Path, count: int = 3, **more) -> Path:
    training = []
    for k in range(count):
        write_nifti(folder / "imagesTr" / f"scan_{k}.nii.gz", VOLUME)
        write_nifti(folder / "labelsTr" / f"scan_{k}.nii.gz", VOLUME)
        training.append({"image": f"./imagesTr/scan_{k}.nii.gz", "label": f"./labelsTr/scan_{k}.nii.gz"})
    write_json(folder / "dataset.json", {"training": training, **more})
    return folder


def test_a_decathlon_is_read_from_its_list(tmp_path: Path) -> None:
    found = find_cases(decathlon(tmp_path), 1, labels=True)
    assert names(found.training) == ["scan_0", "scan_1", "scan_2"]
    assert found.training[0]["label"] == str(tmp_path / "labelsTr" / "scan_0.nii.gz")


def test_hidden_entries_of_a_decathlon_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "._scan_9.nii.gz").write_bytes(b"junk")
    found = find_cases(decathlon(tmp_path, test=["./imagesTr/._scan_9.nii.gz"]), 1, labels=True)
    assert found.test == []


def test_a_decathlon_may_name_validation_and_test(tmp_path: Path) -> None:
    for k in (7, 8):
        write_nifti(tmp_path / "imagesTs" / f"scan_{k}.nii.gz", VOLUME)
    entry = {"image": "imagesTs/scan_7.nii.gz", "label": "imagesTs/scan_7.nii.gz"}
    found = find_cases(decathlon(tmp_path, validation=[entry], test=["imagesTs/scan_8.nii.gz"]), 1, labels=True)
    assert (names(found.validation), names(found.test)) == (["scan_7"], ["scan_8"])


def test_several_files_of_a_decathlon_entry_are_channels(tmp_path: Path) -> None:
    files = [f"a_{k}.nii.gz" for k in range(2)]
    for name in files:
        write_nifti(tmp_path / name, VOLUME)
    write_json(tmp_path / "dataset.json", {"training": [{"image": files, "label": files[0]}]})
    assert find_cases(tmp_path, 2, labels=True).training[0]["image"] == [str(tmp_path / name) for name in files]


def test_equal_names_in_several_folders_stay_distinct(tmp_path: Path) -> None:
    for folder in "ab":
        write_nifti(tmp_path / folder / "scan.nii.gz", VOLUME)
    write_json(tmp_path / "dataset.json", {"training": ["a/scan.nii.gz", "b/scan.nii.gz"]})
    assert names(find_cases(tmp_path, 1, labels=False).training) == ["a/scan", "b/scan"]


@pytest.mark.parametrize("name", ["../secret.nii.gz", "imagesTr/../../secret.nii.gz", "{outside}/secret.nii.gz"])
def test_a_list_does_not_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    write_nifti(tmp_path / "secret.nii.gz", VOLUME)
    folder = decathlon(tmp_path / "set", test=[name.format(outside=tmp_path)])
    with pytest.raises(ValueError, match=r"secret\.nii\.gz, which lies outside"):
        find_cases(folder, 1, labels=False)


def test_a_listed_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.nii\.gz: no such file, though .*dataset\.json"):
        find_cases(decathlon(tmp_path, test=["gone.nii.gz"]), 1, labels=False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "holds a list"),
        ('{"training": {}}', "lists no image"),
        ('{"training": "all"}', "training is a str"),
        ('{"training": [3]}', "training has 3"),
        ('{"training": [{"image": [4]}]}', "names 4 as a file"),
    ],
)
def test_a_malformed_list_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "dataset.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"dataset\.json: {words}"):
        find_cases(tmp_path, 1, labels=False)


def test_a_case_listed_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lists case imagesTr/scan_1 more than once"):
        find_cases(decathlon(tmp_path, test=["imagesTr/scan_1.nii.gz"]), 1, labels=True)


def test_a_list_without_cases_leaves_the_folders_to_speak(tmp_path: Path) -> None:
    decathlon(tmp_path)
    write_json(tmp_path / "dataset.json", {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"})
    assert names(find_cases(tmp_path, 1, labels=True).training) == ["scan_0", "scan_1", "scan_2"]


@pytest.mark.parametrize("masks", ["masks", "labels", "Masks"])
def test_images_and_masks_match_by_stem(tmp_path: Path, masks: str) -> None:
    pictures(tmp_path, "images/b.png", "images/a.jpg", f"{masks}/a.png", f"{masks}/b.tif")
    cases = find_cases(tmp_path, 1, labels=True).training
    assert [(Path(case["image"]).name, Path(case["label"]).name) for case in cases] == [
        ("a.jpg", "a.png"),
        ("b.png", "b.tif"),
    ]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a", "a_mask"),
        ("a", "a_seg"),
        ("a_0000", "a"),
        ("a_image", "a_label"),
        ("a_img", "a-masks"),
        ("p/a", "p/a_gt"),
    ],
)
def test_common_endings_do_not_stand_between(tmp_path: Path, image: str, mask: str) -> None:
    pictures(tmp_path, f"images/{image}.png", f"masks/{mask}.png")
    (case,) = find_cases(tmp_path, 1, labels=True).training
    assert case["case"] == image
    assert case["label"].endswith(f"{mask}.png")


def test_an_exact_name_comes_before_an_ending(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.png", "images/a_0000.png", "masks/a.png", "masks/a_0000.png")
    cases = find_cases(tmp_path, 1, labels=True).training
    assert all(Path(case["image"]).name == Path(case["label"]).name for case in cases)


def test_an_image_without_mask_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.png", "images/b.png", "masks/a.png")
    with pytest.raises(ValueError, match=r"b\.png: has no mask in .*masks \(1 of 2"):
        find_cases(tmp_path, 1, labels=True)
    assert ["label" in case for case in find_cases(tmp_path, 1, labels=False).training] == [True, False]


def test_a_mask_without_image_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.png", "masks/a.png", "masks/c.png")
    with pytest.raises(ValueError, match=r"c\.png: no image"):
        find_cases(tmp_path, 1, labels=True)


def test_ambiguous_masks_are_named(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.png", "masks/a_seg.png", "masks/a_mask.png")
    with pytest.raises(ValueError, match="a_mask, a_seg cannot be told apart"):
        find_cases(tmp_path, 1, labels=True)


def test_two_images_of_one_name_are_named(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.png", "images/a.jpg", "masks/a.png")
    with pytest.raises(ValueError, match=r"a\.jpg and a\.png"):
        find_cases(tmp_path, 1, labels=False)


@pytest.mark.parametrize("folder", ["", "images/"])
def test_two_images_of_one_name_are_two_cases_where_there_are_no_masks(tmp_path: Path, folder: str) -> None:
    pictures(tmp_path, f"{folder}a.png", f"{folder}a.jpg", f"{folder}b.png")
    names = [case["case"] for case in find_cases(tmp_path, 1, labels=False).training]
    assert names == ["a.jpg", "a.png", "b"]


def test_two_mask_folders_are_named(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.png", "masks/a.png", "labels/a.png")
    with pytest.raises(ValueError, match="labels/ and masks/; keep one"):
        find_cases(tmp_path, 1, labels=True)


def test_images_without_a_mask_folder_do_for_reconstruction_only(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.png")
    assert names(find_cases(tmp_path, 1, labels=False).training) == ["a"]
    with pytest.raises(ValueError, match="images/ has no masks/ or labels/ beside it"):
        find_cases(tmp_path, 1, labels=True)


def test_numbered_channel_files_are_one_case(tmp_path: Path) -> None:
    for k in range(2):
        write_nifti(tmp_path / "images" / f"a_{k:04d}.nii.gz", VOLUME)
    write_nifti(tmp_path / "labels" / "a.nii.gz", VOLUME)
    (case,) = find_cases(tmp_path, 2, labels=True).training
    assert case["case"] == "a"
    assert [Path(path).name for path in case["image"]] == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_a_folder_of_images_is_found_with_all_below_it(tmp_path: Path) -> None:
    pictures(tmp_path, "Hand/1.jpg", "Chest/1.jpg", "LICENSE.png")
    assert names(find_cases(tmp_path, 1, labels=False).training) == ["Chest/1", "Hand/1", "LICENSE"]
    with pytest.raises(ValueError, match="has images but no masks"):
        find_cases(tmp_path, 1, labels=True)


def test_masks_may_lie_beside_their_images(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "a_mask.png", "b.png", "b_mask.png", "lonely_seg.png")
    assert names(find_cases(tmp_path, 1, labels=False).training) == ["a", "b", "lonely_seg"]
    (tmp_path / "lonely_seg.png").unlink()
    assert [Path(case["label"]).name for case in find_cases(tmp_path, 1, labels=True).training] == [
        "a_mask.png",
        "b_mask.png",
    ]


def test_dicom_series_are_cases_by_their_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_series(tmp_path / name, VOLUME)
    found = find_cases(tmp_path, 1, labels=False)
    assert names(found.training) == ["one", "two"]
    assert names(find_cases(tmp_path / "one", 1, labels=False).training) == ["one"]


def test_a_label_map_beside_one_series_is_its_label(tmp_path: Path) -> None:
    write_series(tmp_path / "series", VOLUME)
    write_nifti(tmp_path / "labels.nii.gz", VOLUME)
    (case,) = find_cases(tmp_path, 1, labels=False).training
    assert (case["case"], case["label"]) == ("series", str(tmp_path / "labels.nii.gz"))


def test_series_and_other_images_are_not_mixed(tmp_path: Path) -> None:
    write_series(tmp_path / "series", VOLUME)
    write_nifti(tmp_path / "scan.nii.gz", VOLUME)
    with pytest.raises(ValueError, match=r"DICOM series and scan\.nii\.gz"):
        find_cases(tmp_path, 1, labels=False)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone: no such folder"):
        find_cases(tmp_path / "gone", 1, labels=False)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"a\.png: is a file"):
        find_cases(tmp_path / "a.png", 1, labels=False)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_bytes(b"")
    with pytest.raises(ValueError, match=r"the folder is empty; looked for dataset\.json"):
        find_cases(tmp_path, 1, labels=False)


def test_an_unknown_layout_lists_what_was_looked_for_and_found(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "table.csv").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=r"looked for dataset\.json.*images/.*DICOM.*found scans/, 1 file \(\.csv\)"):
        find_cases(tmp_path, 1, labels=False)


def test_an_empty_images_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match="images: holds no image"):
        find_cases(tmp_path, 1, labels=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("separator", ["/", "\\"])
def test_a_list_saved_by_windows_is_read(tmp_path: Path, encoding: str, separator: str) -> None:
    listing = json.loads((decathlon(tmp_path) / "dataset.json").read_text(encoding="utf-8"))
    for entry in listing["training"]:
        entry |= {key: name.replace("/", separator) for key, name in entry.items()}
    (tmp_path / "dataset.json").write_text(json.dumps(listing), encoding=encoding)
    found = find_cases(tmp_path, 1, labels=True).training
    assert [case["image"] for case in found] == [str(tmp_path / "imagesTr" / f"scan_{k}.nii.gz") for k in range(3)]


@pytest.mark.parametrize("name", ["..\\secret.nii.gz", "imagesTr\\..\\..\\secret.nii.gz"])
def test_a_list_saved_by_windows_does_not_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    write_nifti(tmp_path / "secret.nii.gz", VOLUME)
    with pytest.raises(ValueError, match="which lies outside"):
        find_cases(decathlon(tmp_path / "set", test=[name]), 1, labels=False)


def test_testing_of_auto3dseg_is_test(tmp_path: Path) -> None:
    write_nifti(tmp_path / "imagesTs" / "scan_8.nii.gz", VOLUME)
    found = find_cases(decathlon(tmp_path, testing=[{"image": "imagesTs/scan_8.nii.gz"}]), 1, labels=True)
    assert (len(found.training), names(found.test)) == (3, ["scan_8"])


def test_folds_of_a_list_are_not_left_out_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listing = json.loads((decathlon(tmp_path) / "dataset.json").read_text(encoding="utf-8"))
    write_json(tmp_path / "dataset.json", {"training": [{**entry, "fold": 0} for entry in listing["training"]]})
    with caplog.at_level("INFO"):
        find_cases(tmp_path, 1, labels=True)
    assert "the folds of 3 training images are not used" in caplog.text


def test_a_name_without_channel_ending_is_its_channel_files(tmp_path: Path) -> None:
    for k in range(2):
        write_nifti(tmp_path / "imagesTr" / f"scan_000{k}.nii.gz", VOLUME)
    write_json(tmp_path / "dataset.json", {"training": ["./imagesTr/scan.nii.gz"]})
    case = find_cases(tmp_path, 2, labels=False).training[0]
    assert [Path(path).name for path in case["image"]] == ["scan_0000.nii.gz", "scan_0001.nii.gz"]


def test_images_ts_beside_images_tr_are_for_test(tmp_path: Path) -> None:
    decathlon(tmp_path)
    write_json(tmp_path / "dataset.json", {"channel_names": {"0": "CT"}, "numTraining": 3, "file_ending": ".nii.gz"})
    for k in (7, 8):
        write_nifti(tmp_path / "imagesTs" / f"scan_{k}_0000.nii.gz", VOLUME)
    write_nifti(tmp_path / "labelsTs" / "scan_8.nii.gz", VOLUME)
    found = find_cases(tmp_path, 1, labels=True)
    assert (names(found.training), names(found.test)) == (
        ["scan_0", "scan_1", "scan_2"],
        ["scan_7_0000", "scan_8_0000"],
    )
    assert ["label" in case for case in found.test] == [False, True]


def test_a_case_of_training_and_test_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, "imagesTr/a.png", "labelsTr/a.png", "imagesTs/a.png")
    with pytest.raises(ValueError, match="case a lies in imagesTr/ and imagesTs/"):
        find_cases(tmp_path, 1, labels=True)


@pytest.mark.parametrize("listed", [False, True])
def test_names_match_whatever_form_their_accents_have(tmp_path: Path, listed: bool) -> None:
    one, other = (unicodedata.normalize(form, "müller") for form in ("NFC", "NFD"))
    pictures(tmp_path, f"images/{other}.png", f"masks/{one}.png")
    if listed:
        write_json(
            tmp_path / "dataset.json", {"training": [{"image": f"images/{one}.png", "label": f"masks/{other}.png"}]}
        )
    case = find_cases(tmp_path, 1, labels=True).training[0]
    assert case == {
        "case": one,
        "image": str(tmp_path / "images" / f"{other}.png"),
        "label": str(tmp_path / "masks" / f"{one}.png"),
    }


def test_a_folder_a_picture_has_a_mask_an_instance(tmp_path: Path) -> None:
    pictures(tmp_path, "aa/images/aa.png", "aa/masks/n1.png", "aa/masks/n2.png", "bb/images/bb.png", "bb/masks/n1.png")
    for labels in (True, False):
        found = find_cases(tmp_path, 1, labels=labels).training
        assert found == [
            {
                "case": "aa",
                "image": str(tmp_path / "aa/images/aa.png"),
                "label": [str(tmp_path / f"aa/masks/n{k}.png") for k in (1, 2)],
            },
            {"case": "bb", "image": str(tmp_path / "bb/images/bb.png"), "label": str(tmp_path / "bb/masks/n1.png")},
        ]


def test_folders_of_pairs_keep_their_names_apart(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"{site}/{kind}/{k}.png" for site in "xy" for kind in ("images", "masks") for k in (1, 2)))
    found = find_cases(tmp_path, 1, labels=True).training
    assert names(found) == ["x/1", "x/2", "y/1", "y/2"]
    assert found[0]["label"] == str(tmp_path / "x/masks/1.png")


def test_a_folder_without_masks_among_pairs_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, "aa/images/aa.png", "aa/masks/n1.png", "bb/images/bb.png")
    with pytest.raises(ValueError, match="bb: lacks images/ or masks/"):
        find_cases(tmp_path, 1, labels=True)
    assert names(find_cases(tmp_path, 1, labels=False).training) == ["aa", "bb"]


def test_masks_in_a_folder_of_the_images_name_are_its_instances(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.png", "images/b.png", "masks/a/1.png", "masks/a/2.png", "masks/b.png")
    found = find_cases(tmp_path, 1, labels=True).training
    assert [case["label"] for case in found] == [
        [str(tmp_path / "masks/a/1.png"), str(tmp_path / "masks/a/2.png")],
        str(tmp_path / "masks/b.png"),
    ]


def test_train_and_val_of_a_list_are_parts(tmp_path: Path) -> None:
    decathlon(tmp_path, 5)
    training = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))["training"]
    write_json(tmp_path / "dataset.json", {"train": training[:3], "val": training[3:4], "test": training[4:]})
    found = find_cases(tmp_path, 1, labels=True)
    assert [len(part) for part in (found.training, found.validation, found.test)] == [3, 1, 1]


@pytest.mark.parametrize(
    "form", ["{part}/images/{name}.png {part}/masks/{name}.png", "images/{part}/{name}.png labels/{part}/{name}.png"]
)
def test_folders_called_as_parts_are_parts(tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture) -> None:
    for part, letters in (("train", "abc"), ("Valid", "de"), ("test", "f")):
        for name in letters:
            pictures(tmp_path, *form.format(part=part, name=name).split())
    caplog.set_level("INFO")
    found = find_cases(tmp_path, 1, labels=True)
    assert names(found.training) == ["train/a", "train/b", "train/c"]
    assert (names(found.validation), names(found.test)) == (["Valid/d", "Valid/e"], ["test/f"])
    assert "the folders Valid, test, train are taken as parts of the split" in caplog.text


@pytest.mark.parametrize("folders", [("train", "plane"), ("train", "training"), ("val", "test"), ("train",)], ids=str)
def test_other_folders_are_no_parts(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        pictures(tmp_path, f"{folder}/a.png")
    found = find_cases(tmp_path, 1, labels=False)
    assert (len(found.training), found.validation, found.test) == (len(folders), [], [])


def test_numbered_masks_beside_an_image_are_its_instances(tmp_path: Path) -> None:
    """As the breast ultrasound images of Al-Dhabyani et al. (2020) have them."""
    for k in range(2):
        pictures(tmp_path / "benign", f"benign ({k}).png", f"benign ({k})_mask.png")
    pictures(tmp_path / "benign", "benign (1)_mask_1.png", "benign (1)_mask_2.png")
    first, second = find_cases(tmp_path, 1, labels=True).training
    assert first["label"] == str(tmp_path / "benign" / "benign (0)_mask.png")
    assert second["case"] == "benign/benign (1)"
    assert [Path(path).stem[len("benign (1)") :] for path in second["label"]] == ["_mask", "_mask_1", "_mask_2"]


def test_masks_of_two_endings_are_not_merged(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "a_mask_1.png", "a_seg.png")
    with pytest.raises(ValueError, match=r"cannot be told apart|no image has this mask's name"):
        find_cases(tmp_path, 1, labels=True)


def test_a_series_in_folders_below_has_the_mask_of_the_first(tmp_path: Path) -> None:
    for k in range(2):
        write_series(tmp_path / "images" / f"p{k}" / "study" / "series", VOLUME)
        write_nifti(tmp_path / "labels" / f"p{k}.nii.gz", VOLUME)
    found = find_cases(tmp_path, 1, labels=True).training
    assert names(found) == ["p0/study/series", "p1/study/series"]
    assert [Path(case["label"]).name for case in found] == ["p0.nii.gz", "p1.nii.gz"]
