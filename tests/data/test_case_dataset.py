"""The data set that feeds training."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import random_picture, write_nifti, write_picture
from monai.data import DataLoader, ThreadDataLoader
from monai.transforms import (
    Compose,
    EnsureTyped,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    ScaleIntensityd,
)

from flemme_monai.data import CaseDataset, split_datalist
from flemme_monai.transforms import LoadImageAndLabeld

NOISE = RandGaussianNoised("image", prob=1.0)


def volumes(folder: Path, count: int = 3, depth: int = 4) -> list[dict]:
    items = []
    for k in range(count):
        image = write_nifti(folder / f"{k}.nii.gz", random_picture(k, (6, 5, depth)))
        label = write_nifti(folder / f"{k}_seg.nii.gz", random_picture(k, (6, 5, depth)) // 128)
        items.append({"image": str(image), "label": str(label), "case": str(k)})
    return items


def dataset(items: list[dict], *more, **settings) -> CaseDataset:
    spatial_dims = 2 if settings.get("slices") else 3
    transform = Compose([LoadImageAndLabeld(1, 2, spatial_dims), ScaleIntensityd("image"), *more])
    return CaseDataset(items, transform, progress=False, **settings)


def test_each_axial_slice_of_a_volume_is_an_item(tmp_path: Path) -> None:
    whole, sliced = dataset(volumes(tmp_path)), dataset(volumes(tmp_path), slices=True)
    assert (len(whole), len(sliced)) == (3, 12)
    item = sliced[5]
    assert (item["case"], item["slice"]) == ("1", 1)
    assert item["image"].shape == item["label"].shape == (1, 6, 5)
    assert torch.equal(item["image"], whole[1]["image"][..., 1])
    assert torch.equal(item["label"], whole[1]["label"][..., 1])


def test_the_transforms_may_be_nested(tmp_path: Path) -> None:
    items = volumes(tmp_path)
    nested = Compose([Compose([LoadImageAndLabeld(1, 2)]), Compose([ScaleIntensityd("image")])])
    data = CaseDataset(items, nested, slices=True, progress=False)
    assert len(data) == 12
    assert torch.equal(data[5]["image"], dataset(items, slices=True)[5]["image"])


def test_a_picture_is_one_item(tmp_path: Path) -> None:
    items = [{"image": str(write_picture(tmp_path / "a.png", random_picture())), "case": "a"}]
    data = CaseDataset(items, Compose([LoadImageAndLabeld(1)]), slices=True, progress=False)
    assert len(data) == 1
    assert data[0]["image"].shape == (1, 16, 12)


def test_cases_are_read_once_and_random_transforms_run_each_time(tmp_path: Path) -> None:
    items = volumes(tmp_path)
    data = dataset(items, NOISE)
    for item in items:
        Path(item["image"]).unlink()
    assert not torch.equal(data[0]["image"], data[0]["image"])
    assert torch.equal(data[0]["label"], data[0]["label"])


def test_random_transforms_do_not_change_the_cache(tmp_path: Path) -> None:
    class Spoil(RandFlipd):
        def __call__(self, data, lazy=None):
            data["image"].zero_()
            return data

    data = dataset(volumes(tmp_path), Spoil("image"), slices=True)
    data[0]
    assert data._cache[0]["image"].any()


def test_the_random_state_decides(tmp_path: Path) -> None:
    data = dataset(volumes(tmp_path), NOISE, slices=True)
    data.transform.set_random_state(7)
    first = [data[k]["image"] for k in range(3)]
    data.transform.set_random_state(7)
    assert all(torch.equal(data[k]["image"], image) for k, image in enumerate(first))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_threads_fill_the_cache_in_order(tmp_path: Path, num_workers: int) -> None:
    data = dataset(volumes(tmp_path, 6), num_workers=num_workers)
    assert [data[k]["case"] for k in range(6)] == list("012345")
    assert [item["case"] for item in data.data] == list("012345")


def test_a_slice_owns_its_memory(tmp_path: Path) -> None:
    item = dataset(volumes(tmp_path), slices=True)[0]
    assert item["image"].untyped_storage().nbytes() == item["image"].numel() * 4
    assert item["label"].dtype == torch.uint8


def test_it_survives_pickling(tmp_path: Path) -> None:
    data = dataset(volumes(tmp_path), slices=True)
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(again[3]["image"], data[3]["image"])


@pytest.mark.parametrize("loader", [DataLoader, ThreadDataLoader])
def test_loaders_batch_its_slices(tmp_path: Path, loader: type) -> None:
    data = dataset(volumes(tmp_path), NOISE, slices=True)
    batches = list(loader(data, batch_size=4, num_workers=0))
    assert [len(batch["image"]) for batch in batches] == [4, 4, 4]
    assert batches[1]["case"] == ["1"] * 4
    assert batches[1]["slice"].tolist() == [0, 1, 2, 3]


def test_worker_processes_load_its_slices(tmp_path: Path) -> None:
    data = dataset(volumes(tmp_path), NOISE, slices=True)
    assert sum(len(batch["image"]) for batch in DataLoader(data, batch_size=4, num_workers=1)) == 12


def test_plain_tensors_are_sliced_too(tmp_path: Path) -> None:
    data = dataset(volumes(tmp_path), EnsureTyped(["image", "label"], track_meta=False), slices=True)
    assert type(data[0]["image"]) is torch.Tensor
    assert data[0]["image"].shape == (1, 6, 5)


def test_several_crops_of_a_case_are_batched_together(tmp_path: Path) -> None:
    crop = RandCropByPosNegLabeld(["image", "label"], "label", [4, 4, 2], num_samples=2)
    batch = next(iter(DataLoader(dataset(volumes(tmp_path), crop), batch_size=3)))
    assert batch["image"].shape == (6, 1, 4, 4, 2)


def test_without_cache_a_case_is_loaded_when_asked_for(tmp_path: Path) -> None:
    items = volumes(tmp_path)
    data = dataset(items, cache=False)
    assert len(data) == 3
    assert data[1]["image"].shape == (1, 6, 5, 4)
    Path(items[1]["image"]).unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.nii\.gz: no such file"):
        data[1]


def test_without_cache_a_broken_case_is_named_before_the_first_is_asked_for(tmp_path: Path) -> None:
    items = volumes(tmp_path)
    Path(items[2]["image"]).write_bytes(b"")
    with pytest.raises(ValueError, match=r"2\.nii\.gz: cannot be read"):
        dataset(items, cache=False)


def test_slices_need_the_cache(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected auto, memory or disk"):
        dataset(volumes(tmp_path), slices=True, cache=False)


def test_a_broken_case_is_named_in_one_line_before_training(tmp_path: Path) -> None:
    items = volumes(tmp_path)
    Path(items[1]["image"]).write_bytes(b"")
    with pytest.raises(ValueError, match=r"1\.nii\.gz: cannot be read") as error:
        dataset(items, NOISE, num_workers=2)
    assert "\n" not in str(error.value)


def test_a_broken_transform_keeps_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="applying transform") as error:
        dataset(volumes(tmp_path), lambda item: item["gone"])[0]
    assert isinstance(error.value.__cause__, KeyError)


def test_a_log_file_gets_no_progress_bar(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    CaseDataset(volumes(tmp_path), Compose([LoadImageAndLabeld(1, 3)]))
    assert capsys.readouterr().err == ""


def test_phantoms_are_cases() -> None:
    split = split_datalist(None, "segmentation", 3, 1, 3, 16)
    data = CaseDataset(split["val"], Compose([LoadImageAndLabeld(1, 3, 2)]), slices=True, progress=False)
    assert len(data) == 4 * 16
    assert data[20]["label"].shape == (1, 16, 16)


def test_volumes_feed_2d_networks_slice_by_slice(data_dir: Path) -> None:
    split = split_datalist(data_dir / "Task04_Hippocampus", "segmentation", 2, 1, 3, 32)
    data = CaseDataset(split["val"][:4], Compose([LoadImageAndLabeld(1, 3)]), slices=True, progress=False)
    assert {item["case"] for item in data} == {case["case"] for case in split["val"][:4]}
    assert np.unique(np.concatenate([item["label"].numpy().ravel() for item in data])).tolist() == [0, 1, 2]


def test_slices_without_foreground_are_left_out_where_that_is_set(tmp_path: Path) -> None:
    items = volumes(tmp_path, count=1)
    label = np.zeros((6, 5, 4), np.uint8)
    label[2, 2, 1] = label[3, 3, 3] = 1
    write_nifti(Path(items[0]["label"]), label)
    kept = dataset(items, slices=True, keep_empty=False)
    assert [item["slice"] for item in kept] == [1, 3]
    assert len(dataset(items, slices=True)) == 4
    write_nifti(Path(items[0]["label"]), label * 0)
    with pytest.raises(ValueError, match="no image has foreground while keep_empty is false"):
        dataset(items, slices=True, keep_empty=False)
