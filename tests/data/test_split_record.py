"""A training's split is kept, and used by what evaluates or goes on with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from image_files import random_picture, write_json, write_nifti, write_picture

from flemme_monai.data import split_datalist
from flemme_monai.data.fingerprint import data_set_fingerprint, fingerprint
from flemme_monai.data.split_record import read_split, save_split, settle_split

IMAGES = {"task": "reconstruction", "spatial_dims": 2, "in_channels": 1, "out_channels": 1, "image_size": [16, 16]}


def names(cases: list[dict]) -> list[str]:
    return [case["case"] for case in cases]


def named(split: dict) -> dict[str, list[str]]:
    return {part: names(cases) for part, cases in split.items()}


def pictures(folder: Path, count: int = 40, first_seed: int = 0) -> Path:
    for k in range(count):
        write_picture(folder / f"{k:02d}.png", random_picture(first_seed + k, (6, 6)))
    return folder


def trained(folder: Path, data: Path | None, **settings) -> dict:
    """The split of a training, whose record is in a folder."""
    split = split_datalist(data, **{**IMAGES, **settings})
    folder.mkdir(exist_ok=True)
    save_split(SimpleNamespace(dataset=SimpleNamespace(data=split["train"])), folder)
    return split


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pictures(tmp_path / "data")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "ckpt" / "split.json"


def evaluated(data: Path | None, record: Path, **settings) -> dict:
    return split_datalist(data, **{**IMAGES, **settings}, record=record)


@pytest.mark.parametrize(
    "settings",
    [
        {"fold": 2},
        {"fold": 1, "num_folds": 4},
        {"shuffle_split": True, "seed": 3},
        {"group_by": "^."},
        {"split_by": "case"},
    ],
    ids=str,
)
def test_an_evaluation_that_sets_nothing_has_the_trainings_split(data: Path, record: Path, settings: dict) -> None:
    split = trained(record.parent, data, **settings)
    found = evaluated(data, record)
    assert named(found) == named(split)
    assert not set(names(found["test"])) & set(names(split["train"]))
    assert named(evaluated(data, record, **settings)) == named(split)


def test_the_record_says_what_made_the_split(data: Path, record: Path) -> None:
    split = trained(record.parent, data, fold=2, group_by=".+")
    found = json.loads(record.read_text(encoding="utf-8"))
    assert found["settings"] == {
        "seed": 0,
        "shuffle_split": False,
        "split_by": "case",
        "split_file": None,
        "fold": 2,
        "num_folds": 5,
        "group_by": ".+",
    }
    assert {part: found[part] for part in split} == named(split)
    assert found["data_set"]["cases"] == 40
    assert len(found["data_set"]["sha256"]) == 64


def test_the_fingerprint_is_of_names_and_content(data: Path, tmp_path: Path) -> None:
    def found() -> dict:
        trained(tmp_path / "ckpt", data)
        return json.loads((tmp_path / "ckpt" / "split.json").read_text(encoding="utf-8"))["data_set"]

    first = found()
    shutil.copytree(data, tmp_path / "other")
    (data / "07.png").touch()
    assert found() == first
    write_picture(data / "07.png", random_picture(99, (6, 6)))
    assert found() != first


def test_a_record_is_a_split_file(data: Path, record: Path) -> None:
    split = trained(record.parent, data, fold=2)
    assert named(split_datalist(data, **IMAGES, split_file=record)) == named(split)


def test_the_split_is_that_of_the_same_cases_elsewhere(data: Path, record: Path, tmp_path: Path) -> None:
    split = trained(record.parent, data, fold=2)
    data.rename(tmp_path / "moved")
    assert named(evaluated(tmp_path / "moved", record)) == named(split)


@pytest.mark.parametrize(
    ("training", "settings", "words"),
    [
        ({"fold": 2}, {"fold": 1}, r"fold 1 would test on 8 cases .*\(01, 06, 11, \.\.\.\).*leave out fold"),
        ({}, {"fold": 0}, r"fold 0 would test on 5 cases .*\(00, 05, 10, \.\.\.\)"),
        ({"shuffle_split": True}, {"shuffle_split": True, "seed": 1}, r"seed 1 would test on \d cases"),
        ({}, {"shuffle_split": True}, r"shuffle_split True would test on \d cases"),
        ({"fold": 2}, {"num_folds": 4}, r"num_folds 4 would test on \d cases"),
        ({}, {"group_by": "$"}, "finds nothing"),
    ],
    ids=str,
)
def test_a_split_that_tests_on_training_cases_is_refused(
    data: Path, record: Path, training: dict, settings: dict, words: str
) -> None:
    trained(record.parent, data, **training)
    with pytest.raises(ValueError, match=words):
        evaluated(data, record, **settings)


def test_a_split_file_that_tests_on_training_cases_is_refused(data: Path, record: Path, tmp_path: Path) -> None:
    trained(record.parent, data)
    file = write_json(tmp_path / "own.json", {"train": ["30"], "val": ["39"], "test": ["00", "35", "01"]})
    with pytest.raises(ValueError, match=r"own\.json would test on 2 cases .*\(00, 01\)"):
        evaluated(data, record, split_file=file)


def test_another_split_without_training_cases_is_taken_and_logged(
    data: Path, record: Path, caplog: pytest.LogCaptureFixture
) -> None:
    split = trained(record.parent, data, fold=2, num_folds=4)
    caplog.set_level("INFO")
    assert names(evaluated(data, record, fold=3)["test"]) == names(split["val"])
    assert "fold 3 makes another split than" in caplog.text


@pytest.mark.parametrize("again", [{"num_folds": 5}, {"split_by": "case"}, {"fold": 2}], ids=str)
def test_a_setting_of_the_training_may_be_repeated(data: Path, record: Path, again: dict) -> None:
    split = trained(record.parent, data, fold=2)
    assert named(evaluated(data, record, **again)) == named(split)


def test_a_seed_alone_makes_no_other_split(data: Path, record: Path) -> None:
    split = trained(record.parent, data, shuffle_split=True, seed=4)
    assert named(evaluated(data, record, seed=9)) == named(split)


def test_an_external_data_set_tests_whole(data: Path, record: Path, tmp_path: Path, caplog) -> None:
    trained(record.parent, data)
    caplog.set_level("INFO")
    external = pictures(tmp_path / "external", 7, first_seed=100)
    split = named(evaluated(external, record))
    assert split == {part: [f"{k:02d}" for k in range(7)] for part in ("train", "val", "test")}
    assert "all 7 cases that" in caplog.text
    assert "7 of them have names of its cases, but another content: 00, 01, 02, ..." in caplog.text


def test_training_cases_under_other_names_never_test(data: Path, record: Path, tmp_path: Path, caplog) -> None:
    trained(record.parent, data)
    caplog.set_level("INFO")
    pictures(tmp_path / "external" / "more", 3, first_seed=100)
    shutil.copy(data / "05.png", tmp_path / "external" / "more" / "copy.png")
    assert names(evaluated(tmp_path / "external", record)["test"]) == ["more/00", "more/01", "more/02"]
    assert "1 cases train or validate under other names and are left out: more/copy" in caplog.text
    for k in range(3):
        (tmp_path / "external" / "more" / f"{k:02d}.png").unlink()
    with pytest.raises(ValueError, match=r"none of the test cases of .*split\.json is among the 1 cases"):
        evaluated(tmp_path / "external", record)


def test_cases_that_came_later_are_left_out(data: Path, record: Path, caplog) -> None:
    split = trained(record.parent, data)
    write_picture(data / "000.png", random_picture(500, (6, 6)))
    (data / "39.png").unlink()
    caplog.set_level("INFO")
    assert names(evaluated(data, record)["test"]) == names(split["test"])[:-1]
    assert f"the split is the training's: {record}" in caplog.text
    assert "1 of its 8 test cases are not among the cases" in caplog.text
    assert "1 cases that it does not know are left out: 000" in caplog.text


def test_without_its_test_cases_there_is_nothing_to_test(data: Path, record: Path) -> None:
    for name in names(trained(record.parent, data)["test"]):
        (data / f"{name}.png").unlink()
    with pytest.raises(ValueError, match=r"none of the test cases of .*among the 32 cases.*\(00, 01, 02, \.\.\.\)"):
        evaluated(data, record)


def test_without_a_record_one_line_says_so(data: Path, record: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert named(evaluated(data, record)) == named(split_datalist(data, **IMAGES))
    assert f"{record} is not there: which cases the weights were trained on is not known" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"settings": 3}',
        '{"settings": {}, "train": ["a"], "val": [], "test": [], "fingerprints": {}}',
    ],
)
def test_a_malformed_record_is_named(data: Path, record: Path, content: str) -> None:
    record.parent.mkdir()
    record.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"split\.json: is no record of a training's split"):
        evaluated(data, record)


def test_a_run_goes_on_with_its_split(data: Path, record: Path) -> None:
    split = trained(record.parent, data, fold=2)
    write_picture(data / "000.png", random_picture(500, (6, 6)))
    assert named(split_datalist(data, **IMAGES, record=record, resume=True)) == named(split)


@pytest.mark.parametrize(("name", "words"), [("missing", r"missing \(07, 39\)"), ("changed", r"changed \(07, 39\)")])
def test_a_run_does_not_go_on_with_other_cases(data: Path, record: Path, name: str, words: str) -> None:
    trained(record.parent, data)
    for case in ("07", "39"):
        if name == "missing":
            (data / f"{case}.png").unlink()
        else:
            write_picture(data / f"{case}.png", random_picture(500, (6, 6)))
    with pytest.raises(ValueError, match=rf"2 of 40 cases in .*split\.json are {words}"):
        split_datalist(data, **IMAGES, record=record, resume=True)


SEGMENTED = {"task": "segmentation", "out_channels": 2}


def segmented(folder: Path, several: bool = False) -> Path:
    """Pictures with a mask each, or a folder of masks, one per instance."""
    for k in range(6):
        write_picture(folder / "images" / f"{k}.png", random_picture(k, (6, 6)))
        for mask in [f"{k}/{i}" for i in range(3)] if several else [str(k)]:
            write_picture(folder / "masks" / f"{mask}.png", np.eye(6, dtype=np.uint8) * 255)
    return folder


@pytest.mark.parametrize("several", [False, True])
def test_a_run_goes_on_with_other_labels_and_says_so(record: Path, tmp_path: Path, caplog, several: bool) -> None:
    data = segmented(tmp_path / "segmented", several)
    trained(record.parent, data, **SEGMENTED)
    split_datalist(data, **{**IMAGES, **SEGMENTED}, record=record, resume=True)
    assert not [message for message in caplog.messages if "labels" in message]
    write_picture(data / "masks" / ("2/1.png" if several else "2.png"), np.ones((6, 6), np.uint8) * 255)
    split = split_datalist(data, **{**IMAGES, **SEGMENTED}, record=record, resume=True)
    line = "the labels of 1 of 6 cases are not those that the run began with (2): it goes on with them as they are"
    assert [message for message in caplog.messages if "labels" in message] == [line]
    assert sum(map(len, split.values())) == 6


def test_a_record_of_0_5_0_says_nothing_of_labels(record: Path, tmp_path: Path, caplog) -> None:
    data = segmented(tmp_path / "segmented")
    trained(record.parent, data, **SEGMENTED)
    content = json.loads(record.read_text(encoding="utf-8"))
    assert content.pop("labels").keys() == set("012345")
    write_json(record, content)
    split_datalist(data, **{**IMAGES, **SEGMENTED}, record=record, resume=True)
    assert not [message for message in caplog.messages if "labels" in message]


@pytest.mark.parametrize("fold", [1, 3])
def test_a_run_does_not_go_on_with_another_split(data: Path, record: Path, fold: int) -> None:
    trained(record.parent, data, fold=2)
    with pytest.raises(ValueError, match=f"fold {fold} .*leave out fold"):
        split_datalist(data, **IMAGES, record=record, resume=True, fold=fold)


def test_slabs_are_kept(tmp_path: Path, record: Path) -> None:
    write_nifti(tmp_path / "data" / "a.nii.gz", random_picture(size=(8, 8, 20)))
    split = trained(record.parent, tmp_path / "data", split_by="slab")
    found = evaluated(tmp_path / "data", record)
    assert [cases[0]["slab"] for cases in found.values()] == [cases[0]["slab"] for cases in split.values()]
    assert [cases[0]["slab"] for cases in found.values()] == [(0, 12), (12, 16), (16, 20)]
    file = write_json(tmp_path / "own.json", {"train": ["a"], "val": ["a"], "test": ["a"]})
    with pytest.raises(ValueError, match="twice"):
        evaluated(tmp_path / "data", record, split_file=file)
    with pytest.raises(ValueError, match="records a split by slabs"):
        split_datalist(tmp_path / "data", **IMAGES, split_file=record)


def test_a_whole_volume_of_which_a_slab_was_trained_on_does_not_test(tmp_path: Path, record: Path) -> None:
    for k in range(4):
        write_nifti(tmp_path / "data" / f"{k}.nii.gz", random_picture(k, (8, 8, 20)))
    trained(record.parent, tmp_path / "data", split_by="slab")
    with pytest.raises(ValueError, match=r"fold 0, num_folds 3 would test on 2 cases .*\(0, 3\)"):
        evaluated(tmp_path / "data", record, fold=0, num_folds=3)


def test_phantoms_are_known_by_their_seed(record: Path, caplog: pytest.LogCaptureFixture) -> None:
    split = trained(record.parent, None, fold=2)
    assert named(evaluated(None, record, image_size=[24, 24])) == named(split)
    caplog.set_level("INFO")
    assert len(evaluated(None, record, seed=1)["test"]) == 80


def test_an_autoencoders_training_cases_do_not_test(data: Path, record: Path, caplog) -> None:
    trained(record.parent, data, fold=2)
    with pytest.raises(ValueError, match=r"autoencoder was trained on 4 of the 8 test cases \(34, 35, 36, .*is fold 2"):
        split_datalist(data, **IMAGES, autoencoder_record=record)
    split_datalist(data, **IMAGES, fold=2, autoencoder_record=record)
    caplog.set_level("INFO")
    split_datalist(data, **IMAGES, autoencoder_record=record.with_name("gone.json"))
    assert "gone.json is not there" in caplog.text


def test_weights_that_outlive_their_record_do_not_test_on_their_training_cases(data: Path, record: Path) -> None:
    """A training in a folder of an earlier one that ends before its first weights are written."""
    split = trained(record.parent, data)
    (record.parent / "model.pt").touch()
    trained(record.parent, data, fold=0)
    with pytest.raises(ValueError, match=r"may still be those of an earlier .* 5 of its test cases \(00, 05, 10"):
        evaluated(data, record)
    trained(record.parent, data)
    assert named(evaluated(data, record)) == named(split)
    trained(record.parent, data, fold=0)
    settle_split(record.parent)
    assert named(evaluated(data, record)) == named(split_datalist(data, **IMAGES, fold=0))


def test_data_of_another_origin_leave_no_record(data: Path, record: Path) -> None:
    trained(record.parent, data)
    save_split(SimpleNamespace(dataset=SimpleNamespace(data=[{"image": "a.png"}])), record.parent)
    assert not record.exists()
    save_split([1, 2], record.parent)
    assert not record.exists()


def test_a_record_is_read_as_it_was_written(data: Path, record: Path) -> None:
    split = trained(record.parent, data, shuffle_split=True)
    found = read_split(record)
    assert found.is_of(split)
    assert not found.is_of({**split, "val": split["test"]})


def test_images_of_one_size_have_fingerprints_of_their_own(tmp_path: Path) -> None:
    """Uncompressed volumes are as large as each other, and most of their voxels are background."""
    found = set()
    for k in range(4):
        volume = np.zeros((64, 64, 32), np.uint8)
        volume[12:52, 12:52, 4:28] = np.random.default_rng(k).integers(1, 255, (40, 40, 24))
        path = write_nifti(tmp_path / f"{k}.nii", volume)
        found.add(fingerprint({"case": "a", "image": str(path)}))
        found.add(fingerprint({"case": "a", "image": [str(path), str(path)]}))
    assert len(found) == 8


def test_a_series_has_a_fingerprint(tmp_path: Path) -> None:
    for k in range(5):
        write_picture(tmp_path / "series" / f"{k}.png", random_picture(k)).rename(tmp_path / "series" / str(k))
    case = {"case": "series", "image": str(tmp_path / "series")}
    first = fingerprint(case)
    (tmp_path / "series" / ".DS_Store").touch()
    assert fingerprint(case) == first
    (tmp_path / "series" / "4").unlink()
    assert fingerprint(case) != first


def test_names_that_the_terminals_encoding_cannot_hold_have_the_same_fingerprint() -> None:
    """Where the locale is C, Python reads the bytes of ``患者`` as characters that UTF-8 does not write."""
    name = "患者"
    undecoded = name.encode().decode("ascii", "surrogateescape")
    assert data_set_fingerprint({undecoded: "0"}) == data_set_fingerprint({name: "0"})
    assert fingerprint({"case": undecoded, "image": None}) == fingerprint({"case": name, "image": None})


def test_validation_cases_under_other_names_never_test(data: Path, record: Path, tmp_path: Path) -> None:
    split = trained(record.parent, data)
    for k, path in enumerate(sorted(data.iterdir())):
        write = tmp_path / "renamed" / f"z{k:02d}.png"
        write.parent.mkdir(exist_ok=True)
        shutil.copy(path, write)
    found = evaluated(tmp_path / "renamed", record)
    assert names(found["test"]) == [f"z{int(name)}" for name in names(split["test"])]


def test_a_record_whose_training_cases_test_is_refused(data: Path, record: Path) -> None:
    trained(record.parent, data)
    content = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps({**content, "test": content["test"] + content["train"][:1]}), encoding="utf-8")
    with pytest.raises(ValueError, match="00 trains and is held out"):
        evaluated(data, record)


def test_a_list_without_training_cases_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path, 4)
    write_json(tmp_path / "dataset.json", {"training": [], "test": [f"{k:02d}.png" for k in range(4)]})
    with pytest.raises(
        ValueError, match=r"dataset\.json: has 0 cases for validation, 4 for test and none for training"
    ):
        split_datalist(tmp_path, **IMAGES)
