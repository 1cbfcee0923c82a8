"""Every sub-folder is divided for itself, and what belongs together stays together."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_json, write_nifti, write_picture

from flemme_monai.data import split_datalist
from flemme_monai.data.divide import balanced, divide
from flemme_monai.data.splits import by_fold, by_share, for_validation

SETTINGS = {"spatial_dims": 2, "in_channels": 1, "image_size": [16, 16]}
IMAGES = {**SETTINGS, "task": "reconstruction", "out_channels": 1}
UNCONDITIONAL = {**SETTINGS, "task": "generation", "out_channels": None}


def names(cases: list[dict]) -> list[str]:
    return [case["case"] for case in cases]


def named(split: dict) -> dict[str, list[str]]:
    return {part: names(cases) for part, cases in split.items()}


def pictures(folder: Path, paths: list[str]) -> Path:
    for k, path in enumerate(paths):
        write_picture(folder / f"{path}.png", random_picture(k, (4, 4)))
    return folder


def patients(split: dict, patient=lambda name: name.split("_")[0]) -> dict[str, set[str]]:
    return {part: {patient(case["case"]) for case in cases} for part, cases in split.items()}


def are_disjoint(parts: dict[str, set[str]]) -> bool:
    return sum(map(len, parts.values())) == len(set().union(*parts.values()))


@pytest.fixture(scope="module")
def six_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("six"), [f"{name}/{k:02d}" for name in "abcdef" for k in range(20)])


@pytest.fixture(scope="module")
def ten_patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("ten"), [f"p{p:02d}_slice{k:02d}" for p in range(10) for k in range(10)])


@pytest.mark.parametrize("settings", [{}, {"fold": 1}, {"shuffle_split": True, "seed": 3}], ids=str)
def test_a_split_is_one_with_classes_without_and_for_any_task(six_folders: Path, settings: dict) -> None:
    with_classes = named(split_datalist(six_folders, **{**UNCONDITIONAL, "out_channels": 6}, **settings))
    for task in (UNCONDITIONAL, IMAGES, {**IMAGES, "task": "classification", "out_channels": 6}):
        assert named(split_datalist(six_folders, **task, **settings)) == with_classes


def test_every_folder_has_its_share_of_every_part(six_folders: Path) -> None:
    split = split_datalist(six_folders, **UNCONDITIONAL)
    counts = {part: Counter(name[0] for name in names(cases)) for part, cases in split.items()}
    assert counts == {
        "train": dict.fromkeys("abcdef", 12),
        "val": dict.fromkeys("abcdef", 4),
        "test": dict.fromkeys("abcdef", 4),
    }


def test_masks_beside_the_images_of_a_class_are_no_images_of_it(tmp_path: Path) -> None:
    for name, k in itertools.product("ab", range(5)):
        pictures(tmp_path, [f"{name}/{name} ({k})", f"{name}/{name} ({k})_mask"])
    with_classes = split_datalist(tmp_path, **{**IMAGES, "task": "classification", "out_channels": 2})
    assert named(with_classes) == named(split_datalist(tmp_path, **IMAGES))
    assert sum(map(len, with_classes.values())) == 10


def test_images_in_folders_of_folders_are_divided_by_the_first(tmp_path: Path) -> None:
    pictures(tmp_path, [f"{name}/x{k % 3}/{k}" for name in "ab" for k in range(10)])
    assert Counter(name[0] for name in names(split_datalist(tmp_path, **IMAGES)["test"])) == {"a": 2, "b": 2}


@pytest.mark.parametrize("settings", [{}, {"fold": 0}, {"shuffle_split": True}], ids=str)
def test_folders_of_one_or_two_images_stay_whole(tmp_path: Path, settings: dict) -> None:
    pictures(tmp_path, [f"x{p}/{k}" for p in range(30) for k in range(1 + p % 2)])
    split = split_datalist(tmp_path, **IMAGES, **settings)
    assert are_disjoint(patients(split, lambda name: name.split("/")[0]))
    assert [len(cases) for cases in split.values()] == [27, 9, 9]


def test_folders_that_are_called_as_patients_stay_whole_which_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pictures(tmp_path, [f"Patient_{p}/{k}" for p in range(10) for k in range(5)])
    split = split_datalist(tmp_path, **IMAGES)
    assert are_disjoint(patients(split, lambda name: name.split("/")[0]))
    assert [len(cases) for cases in split.values()] == [30, 10, 10]
    assert "10 sub-folders are called as patients (Patient_0, Patient_1, Patient_2, ...)" in caplog.text
    assert "--group_by folder" in caplog.text
    with pytest.raises(ValueError, match=r'folders such as Patient_0 stay whole, --group_by "\.\+" divides them$'):
        split_datalist(tmp_path, **IMAGES, fold=0, num_folds=11)


def test_a_small_folder_beside_large_ones_is_divided_with_the_last(tmp_path: Path) -> None:
    pictures(tmp_path, [f"a/{k}" for k in range(10)] + [f"b/{k}" for k in range(8)] + ["c/0", "c/1"])
    split = split_datalist(tmp_path, **IMAGES)
    assert [len(cases) for cases in split.values()] == [12, 4, 4]
    assert are_disjoint(patients(split, lambda name: name if name < "c" else "c"))


def test_three_images_in_two_folders_can_still_be_divided(tmp_path: Path) -> None:
    pictures(tmp_path, ["a/0", "a/1", "b/0"])
    assert list(named(split_datalist(tmp_path, **IMAGES)).values()) == [["a/0"], ["a/1"], ["b/0"]]


@pytest.mark.parametrize(
    "settings", [{}, {"fold": 0}, {"fold": 3}, {"shuffle_split": True}, {"shuffle_split": True, "fold": 1}], ids=str
)
def test_slices_of_a_patient_stay_in_one_part(ten_patients: Path, settings: dict) -> None:
    split = split_datalist(ten_patients, **IMAGES, group_by=r"(p\d+)_", **settings)
    assert are_disjoint(patients(split))
    assert [len(cases) for cases in split.values()] == [60, 20, 20]


def test_over_all_folds_each_patient_tests_once(ten_patients: Path) -> None:
    found = [patients(split_datalist(ten_patients, **IMAGES, group_by="^[^_]+", fold=k))["test"] for k in range(5)]
    assert sorted(itertools.chain(*found)) == [f"p{p:02d}" for p in range(10)]


def test_a_shuffled_split_of_patients_is_decided_by_its_seed(ten_patients: Path) -> None:
    first, again, other = (
        patients(split_datalist(ten_patients, **IMAGES, group_by="^p..", shuffle_split=True, seed=seed))["test"]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_groups_of_one_case_are_divided_as_cases_are(six_folders: Path) -> None:
    assert named(split_datalist(six_folders, **IMAGES, group_by=".+")) == named(split_datalist(six_folders, **IMAGES))


def test_a_folder_is_a_group(tmp_path: Path) -> None:
    pictures(tmp_path, [f"{name}/q{p}/{k}" for name in "ab" for p in range(5) for k in range(1 + p)])
    for task in (IMAGES, {**IMAGES, "task": "classification", "out_channels": 2}):
        split = split_datalist(tmp_path, **task, group_by="folder")
        assert are_disjoint(patients(split, lambda name: name.rpartition("/")[0]))
        assert [len(cases) for cases in split.values()] == [18, 6, 6]
        assert Counter(name[0] for name in names(split["test"])) == {"a": 3, "b": 3}


def test_a_patient_in_two_classes_stays_in_one_part(tmp_path: Path) -> None:
    pictures(tmp_path, [f"{name}/p{p}_{k}" for name in "ab" for p in range(10) for k in range(3)])
    split = split_datalist(
        tmp_path, **{**IMAGES, "task": "classification", "out_channels": 2}, group_by=r"p\d", shuffle_split=True
    )
    assert are_disjoint(patients(split, lambda name: name.split("/")[1].split("_")[0]))
    assert {part: Counter(case["class_name"] for case in cases) for part, cases in split.items()} == {
        "train": {"a": 18, "b": 18},
        "val": {"a": 6, "b": 6},
        "test": {"a": 6, "b": 6},
    }


def test_classes_keep_their_shares_where_most_patients_have_one() -> None:
    random = np.random.RandomState(0)
    cases = [
        {"case": f"{k}", "class_label": int(label), "class_name": "ab"[label], "patient": f"{p}"}
        for k, (p, label) in enumerate((p, int(p % 4 == 0 or random.rand() < 0.1)) for p in range(40) for _ in range(5))
    ]
    split = divide(cases, by_share(), {case["case"]: case["patient"] for case in cases})
    assert [len(found) for found in split.values()] == [120, 40, 40]
    whole = np.mean([case["class_label"] for case in cases])
    assert [np.mean([case["class_label"] for case in found]) for found in split.values()] == pytest.approx(
        [whole] * 3, abs=0.03
    )


def test_a_class_of_two_patients_cannot_be_divided(tmp_path: Path) -> None:
    pictures(tmp_path, [f"{name}/p{p}_{k}" for name in "ab" for p in range(3 if name == "a" else 2) for k in range(3)])
    with pytest.raises(ValueError, match=r"class b \(1\): .*has 2 groups of 6 cases to divide, at least 3"):
        split_datalist(tmp_path, **{**IMAGES, "task": "classification", "out_channels": 2}, group_by=r".*p\d")


def test_volumes_of_a_patient_are_cut_into_slabs_at_the_same_slices(tmp_path: Path) -> None:
    for name, first, last in (("a_t1", 5, 20), ("a_t2", 10, 25), ("b_t1", 0, 10)):
        volume = np.zeros((8, 8, 30), np.uint8)
        volume[2:6, 2:6, first:last] = 200
        write_nifti(tmp_path / f"{name}.nii.gz", volume)
    split = split_datalist(tmp_path, **IMAGES, split_by="slab", group_by="^.")
    slabs = {part: [case["slab"] for case in cases] for part, cases in split.items()}
    assert slabs == {
        "train": [(5, 17), (5, 17), (0, 6)],
        "val": [(17, 21), (17, 21), (6, 8)],
        "test": [(21, 25), (21, 25), (8, 10)],
    }
    write_nifti(tmp_path / "a_t2.nii.gz", random_picture(0, (8, 8, 20)))
    with pytest.raises(ValueError, match=r"group a: .*different numbers of slices \(a_t1 30, a_t2 20\)"):
        split_datalist(tmp_path, **IMAGES, split_by="slab", group_by="^.")


def test_lists_that_tear_a_patient_are_refused(ten_patients: Path, tmp_path: Path) -> None:
    every = [f"p{p:02d}_slice{k:02d}" for p in range(10) for k in range(10)]
    file = write_json(tmp_path / "split.json", {"train": every[:65], "val": every[65:80], "test": every[80:]})
    with pytest.raises(
        ValueError, match=r"split\.json: puts 1 of 10 groups .*p06: train has p06_slice00, val has p06_"
    ):
        split_datalist(ten_patients, **IMAGES, split_file=file, group_by=r"p\d+")
    file = write_json(tmp_path / "split.json", {"train": every[:60], "val": every[60:]})
    split = split_datalist(ten_patients, **IMAGES, split_file=file, group_by=r"p\d+")
    assert [len(cases) for cases in split.values()] == [60, 40, 40]


@pytest.mark.parametrize("settings", [{}, {"fold": 0, "num_folds": 3}, {"split_by": "slab"}], ids=str)
def test_a_patient_that_dataset_json_names_for_test_too_is_refused(tmp_path: Path, settings: dict) -> None:
    listing = {"training": [f"p{k}_0.nii.gz" for k in range(6)], "test": ["p0_1.nii.gz", "p9_1.nii.gz"]}
    for k, name in enumerate(itertools.chain(*listing.values())):
        write_nifti(tmp_path / name, random_picture(k, (4, 4, 6)))
    write_json(tmp_path / "dataset.json", listing)
    with pytest.raises(ValueError, match=r"dataset\.json: puts 1 of 7 groups .*p0: train has p0_0, test has p0_1"):
        split_datalist(tmp_path, **IMAGES, group_by=r"p\d", **settings)


def test_where_others_test_the_last_quarter_validates() -> None:
    split = divide([{"case": f"{k}"} for k in range(8)], for_validation("set"))
    assert list(named(split).values()) == [list("012345"), list("67"), []]
    uneven = dict(zip("01234567", "aaaaabcc"))  # 5, 1 and 2 cases: 6 and 2 of groups that keep their shares
    assert [len(part) for part in divide([{"case": c} for c in uneven], for_validation("set"), uneven).values()] == [
        6,
        2,
        0,
    ]
    groups = {f"{k}": f"{k // 2}" for k in range(8)}
    assert list(named(divide([{"case": f"{k}"} for k in range(8)], for_validation("set"), groups)).values())[1] == [
        "6",
        "7",
    ]


def test_too_few_groups_for_the_folds_are_refused(ten_patients: Path) -> None:
    with pytest.raises(ValueError, match=r"num_folds is 11 for 10 groups of 100 cases; set num_folds to 10 or less$"):
        split_datalist(ten_patients, **IMAGES, group_by=r"p\d+", fold=0, num_folds=11)


@pytest.mark.parametrize("seed", range(12))
def test_shares_are_as_equal_as_groups_allow(seed: int) -> None:
    sizes = np.random.RandomState(seed).randint(1, 12, 6)
    cases = [{"case": f"{group}_{k}"} for group, size in enumerate(sizes) for k in range(size)]
    split = divide(cases, by_share(), {case["case"]: case["case"][0] for case in cases})
    goal = np.array([0.6, 0.2, 0.2]) * len(cases)
    pieces = [np.array(p) for p in itertools.product(range(3), repeat=6) if len(set(p)) == 3]
    best = min(sum((np.bincount(p, sizes, 3) - goal) ** 2) for p in pieces)
    assert sum((np.array([len(found) for found in split.values()]) - goal) ** 2) == pytest.approx(best)


def test_the_size_of_a_part_weighs_as_much_as_its_classes() -> None:
    """Of 6, 10, 6 and 10 cases, 20 train: with other groups for a class's sake it were 16."""
    counts = np.array([[0, 0, 3, 3], [1, 3, 2, 4], [4, 0, 0, 2], [4, 4, 0, 2]])  # of four classes in four groups
    pieces = balanced(counts, [0, 1, 2, 0], (0.6, 0.2, 0.2))
    assert np.bincount(pieces, counts.sum(1)).tolist() == [20, 6, 6]


@pytest.mark.parametrize("sizes", [[90, 5, 1], [35, 35, 30]])
def test_balancing_empties_no_piece(sizes: list[int]) -> None:
    """70, 0 and 30 of 100 were closer to the shares than 35, 35 and 30."""
    assert sorted(balanced(np.array(sizes)[:, None], [0, 1, 2], (0.6, 0.2, 0.2))) == [0, 1, 2]


@pytest.mark.parametrize(("fold", "num_folds"), [(0, 2), (5, 5), (-1, 5)])
def test_folds_that_there_are_not_are_refused(fold: int, num_folds: int) -> None:
    with pytest.raises(ValueError, match="num_folds"):
        by_fold(fold, num_folds)
