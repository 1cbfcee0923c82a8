"""Cases on disk: what memory gives, known by content, made again where they are damaged, safe among processes."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import random_picture, write_nifti
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, EnsureTyped, RandGaussianNoised, RandSpatialCropd, ScaleIntensityd

from flemme_monai.commands.clean_cache import main as clean_cache
from flemme_monai.data import CaseDataset, disk_cache, split_datalist
from flemme_monai.transforms import LoadImageAndLabeld

NOISE = RandGaussianNoised("image", prob=1.0)
ROOT = Path(__file__).resolve().parents[2]


def volumes(folder: Path, count: int = 3) -> list[dict]:
    items = []
    for k in range(count):
        image = write_nifti(folder / f"{k}.nii.gz", random_picture(k, (6, 5, 4)))
        label = write_nifti(folder / f"{k}_seg.nii.gz", random_picture(k, (6, 5, 4)) // 128)
        items.append({"image": str(image), "label": str(label), "case": str(k)})
    return items


def dataset(items: list[dict], cache_dir: Path | None, *more, cache: str = "disk", **settings) -> CaseDataset:
    spatial_dims = 2 if settings.get("slices") else 3
    transform = Compose([LoadImageAndLabeld(1, 2, spatial_dims), ScaleIntensityd("image"), *more])
    return CaseDataset(items, transform, progress=False, cache=cache, cache_dir=cache_dir, **settings)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"*{disk_cache.SUFFIX}") if not path.name.startswith("."))


def check_alike(item: object, other: object) -> None:
    assert type(item) is type(other)
    if isinstance(item, dict):
        assert item.keys() == other.keys()
        for key in item:
            check_alike(item[key], other[key])
    elif isinstance(item, list | tuple):
        assert len(item) == len(other)
        for part, other_part in zip(item, other):
            check_alike(part, other_part)
    elif isinstance(item, torch.Tensor | np.ndarray):
        assert item.dtype == other.dtype
        np.testing.assert_array_equal(np.asarray(item), np.asarray(other))
        if isinstance(item, MetaTensor):
            check_alike(dict(item.meta), dict(other.meta))
    else:
        assert item == other


@pytest.mark.parametrize("slices", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_cases_on_disk_are_those_in_memory_with_their_meta(tmp_path: Path, slices: bool, plain: bool) -> None:
    items = volumes(tmp_path)
    more = [EnsureTyped(["image", "label"], track_meta=False)] if plain else []
    kept = dataset(items, None, *more, cache="memory", slices=slices)
    stored = dataset(items, tmp_path / "cache", *more, slices=slices)
    assert len(stored) == len(kept) == (12 if slices else 3)
    for index in range(len(kept)):
        check_alike(stored[index], kept[index])
        check_alike(stored.deterministic(index), kept.deterministic(index))


def test_augmentation_draws_the_same_as_with_cases_in_memory(tmp_path: Path) -> None:
    items = volumes(tmp_path)
    batches = []
    for cache in ("memory", "disk", "none"):
        data = dataset(items, tmp_path / "cache", NOISE, cache=cache)
        batches.append(next(iter(DataLoader(data, batch_size=3, generator=torch.Generator().manual_seed(1)))))
    assert torch.equal(batches[0]["image"], batches[1]["image"])
    assert torch.equal(batches[0]["image"], batches[2]["image"])


def test_a_second_training_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = volumes(tmp_path)
    first = dataset(items, tmp_path / "cache")
    monkeypatch.setattr("flemme_monai.data.disk_cache.DiskCache._pre_transform", None)
    check_alike(dataset(items, tmp_path / "cache")[1], first[1])
    assert len(files(tmp_path / "cache")) == 3


@pytest.mark.parametrize("changed", ["image", "label"])
def test_a_changed_file_is_read_anew(tmp_path: Path, changed: str) -> None:
    items = volumes(tmp_path)
    before = dataset(items, tmp_path / "cache")[1]
    write_nifti(Path(items[1][changed]), random_picture(9, (6, 5, 4)) // 128)
    after = dataset(items, tmp_path / "cache")[1]
    assert not torch.equal(before[changed], after[changed])
    assert len(files(tmp_path / "cache")) == 4


def test_a_file_of_the_same_size_that_was_written_later_is_another(tmp_path: Path) -> None:
    items = volumes(tmp_path, 1)
    dataset(items, tmp_path / "cache")
    os.utime(items[0]["image"], ns=(0, 1))
    dataset(items, tmp_path / "cache")
    assert len(files(tmp_path / "cache")) == 2


def test_another_preprocessing_has_files_of_its_own(tmp_path: Path) -> None:
    items = volumes(tmp_path)
    dataset(items, tmp_path / "cache")
    other = dataset(items, tmp_path / "cache", ScaleIntensityd("image", minv=0.0, maxv=9.0))
    assert other[0]["image"].max() == 9
    assert len(files(tmp_path / "cache")) == 6


def test_another_version_of_this_package_has_files_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = volumes(tmp_path, 1)
    dataset(items, tmp_path / "cache")
    monkeypatch.setattr("flemme_monai.__version__", "0.0.1")
    dataset(items, tmp_path / "cache")
    assert len(files(tmp_path / "cache")) == 2


class Foreign:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "pickle", "torch pickle", "other content"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    items = volumes(tmp_path)
    first = dataset(items, tmp_path / "cache")
    path, mark = files(tmp_path / "cache")[0], tmp_path / "unpickled"
    if damage == "torch pickle":
        torch.save({"image": Foreign(mark)}, path)
    elif damage == "other content":
        torch.save({disk_cache._META_TENSOR: 3}, path)
    else:
        whole = path.read_bytes()
        content = {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no tensor", "pickle": b""}[damage]
        path.write_bytes(pickle.dumps(Foreign(mark)) if damage == "pickle" else content)
    second = dataset(items, tmp_path / "cache")
    assert not mark.exists()
    assert "is made again" in caplog.text
    for index in range(3):
        check_alike(second[index], first[index])
    caplog.clear()
    dataset(items, tmp_path / "cache")
    assert caplog.text == ""


def test_a_file_that_is_gone_in_the_midst_of_a_training_is_made_again(tmp_path: Path) -> None:
    items = volumes(tmp_path)
    data = dataset(items, tmp_path / "cache")
    first = [data[k]["image"].clone() for k in range(3)]
    for path in files(tmp_path / "cache"):
        path.unlink()
    assert all(torch.equal(data[k]["image"], image) for k, image in enumerate(first))


def test_what_is_changed_in_an_item_stays_out_of_its_file(tmp_path: Path) -> None:
    data = dataset(volumes(tmp_path), tmp_path / "cache")
    data[0]["image"].zero_()
    assert data[0]["image"].any()


def test_a_crop_reads_its_own_part_of_a_volume(tmp_path: Path) -> None:
    image = MetaTensor(torch.rand(1, 256, 256, 256))  # 67 MB
    crop = RandSpatialCropd("image", 16, random_size=False)
    data = disk_cache.DiskCache(
        [{"image": image, "case": "a"}], Compose([EnsureTyped("image", track_meta=False), crop]), tmp_path
    )
    assert data[0]["image"].shape == (1, 16, 16, 16)
    assert _file_pages(lambda: data[0]) < 10e6
    assert _file_pages(lambda: (kept := data.load(0), kept["image"].sum())) > 60e6


def _file_pages(work) -> int:
    """Bytes of mapped files that are in memory while what ``work`` gives is alive, beyond those before."""

    def mapped() -> int:
        line = next(
            line
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            if line.startswith("RssFile")
        )
        return int(line.split()[1]) * 1024

    before = mapped()
    kept = work()
    found = mapped() - before
    del kept
    return found


def test_worker_processes_read_from_disk(tmp_path: Path) -> None:
    data = dataset(volumes(tmp_path), tmp_path / "cache", NOISE, slices=True)
    assert sum(len(batch["image"]) for batch in DataLoader(data, batch_size=4, num_workers=2)) == 12
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(again.deterministic(3)["image"], data.deterministic(3)["image"])


def test_slices_without_foreground_are_left_out(tmp_path: Path) -> None:
    items = volumes(tmp_path, 1)
    label = np.zeros((6, 5, 4), np.uint8)
    label[2, 2, 1] = label[3, 3, 3] = 1
    write_nifti(Path(items[0]["label"]), label)
    kept = dataset(items, tmp_path / "cache", slices=True, keep_empty=False)
    assert [item["slice"] for item in kept] == [1, 3]


def test_phantoms_may_be_on_disk_too(tmp_path: Path) -> None:
    split = split_datalist(None, "segmentation", 3, 1, 3, 16)
    items = [{"image": item["image"], "case": item["case"]} for item in split["val"]]
    kept, stored = (dataset(items, tmp_path / "cache", cache=cache, slices=True) for cache in ("memory", "disk"))
    check_alike(stored[20]["image"].as_tensor(), kept[20]["image"].as_tensor())
    assert len(files(tmp_path / "cache")) == len(split["val"])


def test_a_broken_case_is_named_in_one_line(tmp_path: Path) -> None:
    items = volumes(tmp_path)
    Path(items[1]["image"]).write_bytes(b"")
    with pytest.raises(ValueError, match=r"1\.nii\.gz: cannot be read") as error:
        dataset(items, tmp_path / "cache", NOISE, num_workers=2)
    assert "\n" not in str(error.value)


def test_disk_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set cache_dir"):
        dataset(volumes(tmp_path), None)


def test_an_unknown_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cache is 'disc'; expected auto, memory, disk or none"):
        dataset(volumes(tmp_path), tmp_path, cache="disc")


PROGRAM = """
import sys, json
from pathlib import Path
from monai.transforms import Compose, ScaleIntensityd
from flemme_monai.data import CaseDataset
from flemme_monai.transforms import LoadImageAndLabeld
items, folder = json.loads(sys.argv[1]), sys.argv[2]
data = CaseDataset(items, Compose([LoadImageAndLabeld(1, 2, 3), ScaleIntensityd("image")]), cache="disk",
                   cache_dir=folder, num_workers=2)
print(*sorted(path.name for path in Path(folder).glob("*.case.pt")))
print(float(sum(item["image"].sum() for item in data)))
"""


def started(items: list[dict], folder: Path, hash_seed: str) -> subprocess.Popen:
    command = [sys.executable, "-c", PROGRAM, json.dumps(items), str(folder)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_that_fill_one_folder_at_a_time_find_each_others_files(tmp_path: Path) -> None:
    items = volumes(tmp_path, 8)
    found = [
        process.communicate()[0].splitlines()
        for process in [started(items, tmp_path / "cache", seed) for seed in ("1", "2")]
    ]
    own = dataset(items, tmp_path / "cache")
    names = [path.name for path in files(tmp_path / "cache")]
    assert len(names) == 8, "one file a case, whichever process made it"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == sorted([*names, disk_cache.TAG_FILE])
    total = float(sum(item["image"].sum() for item in own))
    assert [float(lines[-1]) for lines in found] == pytest.approx([total, total])


@pytest.mark.slow
def test_a_killed_process_leaves_whole_cases_alone(tmp_path: Path) -> None:
    items = volumes(tmp_path, 40)
    process = started(items, tmp_path / "cache", "1")
    while process.poll() is None and not files(tmp_path / "cache"):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    left = files(tmp_path / "cache")
    assert 0 < len(left) < 40
    assert all(disk_cache._read(path) is not None for path in left)
    assert len(dataset(items, tmp_path / "cache")) == 40


def test_a_process_that_is_stopped_while_it_writes_leaves_no_half_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = volumes(tmp_path)

    def die(content: object, file) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", die)
        with pytest.raises(KeyboardInterrupt):
            dataset(items, tmp_path / "cache")
    assert files(tmp_path / "cache") == []
    assert len(dataset(items, tmp_path / "cache")) == 3


def test_a_cache_is_cleaned_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bundle = tmp_path / "bundle"
    dataset(volumes(tmp_path), bundle / "cache")
    old = files(bundle / "cache")[0]
    os.utime(old, (0, 0))
    (bundle / "cache" / f".part_0000_1_x{disk_cache.SUFFIX}").write_bytes(b"half")
    os.utime(bundle / "cache" / f".part_0000_1_x{disk_cache.SUFFIX}", (0, 0))
    assert clean_cache([str(bundle), "--unused_for", "30"]) == 0
    assert "removed 2 files" in capsys.readouterr().out
    assert len(files(bundle / "cache")) == 2
    (bundle / "cache" / "notes.txt").write_text("mine", encoding="utf-8")
    clean_cache([str(bundle / "cache")])
    assert sorted(path.name for path in (bundle / "cache").iterdir()) == [disk_cache.TAG_FILE, "notes.txt"]
    (bundle / "cache" / "notes.txt").unlink()
    clean_cache([str(bundle)])
    assert not (bundle / "cache").exists()


def test_a_folder_that_is_no_cache_is_not_cleaned(tmp_path: Path) -> None:
    (tmp_path / f"weights{disk_cache.SUFFIX}").write_text("mine", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=f"has no {disk_cache.TAG_FILE}"):
        clean_cache([str(tmp_path)])
    assert (tmp_path / f"weights{disk_cache.SUFFIX}").exists()
