"""The memory that cases take is known before they are loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import random_picture, write_nifti, write_nrrd, write_picture, write_series
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Spacingd

from flemme_monai.data import CaseDataset, memory
from flemme_monai.transforms import LoadImageAndLabeld, ResizeCased

SIZES = [(8, 6, 4), (16, 12, 10), (4, 4, 4), (9, 9, 9)]
SPACINGS = [(1, 1, 1), (0.5, 0.5, 3), (2, 2, 2), (1, 1, 2)]


def cases(folder: Path) -> list[dict]:
    items = []
    for k, (size, spacing) in enumerate(zip(SIZES, SPACINGS)):
        image = write_nifti(folder / f"{k}.nii.gz", random_picture(k, size), np.diag([*spacing, 1]))
        items.append({"image": str(image), "case": str(k)})
    return items


LOAD = (LoadImaged("image"), EnsureChannelFirstd("image"))


@pytest.mark.parametrize(
    ("transforms", "tolerance"),
    [
        (LOAD, 1e-6),
        ((*LOAD, Spacingd("image", pixdim=(1.0, 1.0, 1.0))), 0.15),
        ((*LOAD, Spacingd("image", pixdim=(0.25, 0.25, -1.0))), 0.15),
        ((*LOAD, ResizeCased("image", 12, 3)), 1e-6),
        ((*LOAD, ResizeCased("image", 12, 2)), 1e-6),
    ],
    ids=["as they are", "one spacing", "one spacing of two axes", "one size", "one size of slices"],
)
def test_the_forecast_is_what_the_cases_take(tmp_path: Path, transforms: tuple, tolerance: float) -> None:
    items = cases(tmp_path)
    taken = [memory.item_bytes(Compose(transforms)(item)) for item in items]
    largest, factor = memory.forecast(items, transforms)
    assert taken[largest] == max(taken)
    assert factor * taken[largest] == pytest.approx(sum(taken), rel=tolerance)


def test_of_many_cases_some_headers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(memory, "geometry", lambda image: (read.append(image), ((4, 4, 4), (1, 1, 1)))[1])
    assert memory.forecast([{"image": str(k)} for k in range(5000)], ()) == (0, 5000)
    assert len(read) == 200
    assert {"0", "4999"} <= set(read)


def test_a_header_that_says_nothing_counts_as_the_others(tmp_path: Path) -> None:
    items = cases(tmp_path)
    Path(items[0]["image"]).write_bytes(b"damaged")
    (tmp_path / "x.nrrd").write_bytes(b"NRRD0004\n")
    sizes = [np.prod(size) for size in SIZES[1:]]
    largest, factor = memory.forecast([*items, {"image": str(tmp_path / "x.nrrd")}], ())
    assert largest == 1
    assert factor == pytest.approx((sum(sizes) + 2 * np.mean(sizes)) / sizes[0])


def test_headers_of_every_kind_of_file_are_understood(tmp_path: Path) -> None:
    volume = random_picture(0, (8, 6, 4))
    pictures = {
        write_picture(tmp_path / "a.png", random_picture()): ((16, 12), (1, 1)),
        write_nifti(tmp_path / "a.nii", volume, np.diag([0.5, 2, 3, 1])): ((8, 6, 4), (0.5, 2, 3)),
        write_nrrd(tmp_path / "a.nrrd", volume, (0.5, 2, 3)): ((8, 6, 4), (0.5, 2, 3)),
    }
    for path, (size, spacing) in pictures.items():
        found = memory.geometry(str(path))
        assert found is not None, path
        assert tuple(found[0]) == size, path
        assert tuple(found[1]) == pytest.approx(spacing), path
    found = memory.geometry(str(write_series(tmp_path / "series", volume.astype(np.int16))))
    assert found is not None
    assert np.prod(found[0]) == volume.size
    assert memory.geometry(torch.zeros(1, 5, 6)) == ((5, 6), (1.0, 1.0))
    assert memory.geometry([str(tmp_path / "a.nii"), str(tmp_path / "b.nii")])[0] == (8, 6, 4)


def test_the_machine_tells_what_is_free() -> None:
    found = memory.available_bytes()
    assert found is None or 1e7 < found < 1e14


def test_the_control_groups_limit_counts_and_processes_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in {"max": "1000", "used": "700", "stat": "anon 5\ninactive_file 200\n"}.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.setattr(memory, "_LIMITS", (tuple(str(tmp_path / name) for name in ("max", "used", "stat")),))
    monkeypatch.setattr(memory, "_from_meminfo", lambda: 10_000)
    assert memory.available_bytes() == 500
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert memory.available_bytes() == 250
    (tmp_path / "max").write_text("max", encoding="utf-8")
    assert memory.available_bytes() == 5000


def dataset(folder: Path, **settings) -> CaseDataset:
    transform = Compose([LoadImageAndLabeld(1, None, 3)])
    return CaseDataset(cases(folder), transform, progress=False, cache="auto", cache_dir=folder / "cache", **settings)


@pytest.mark.parametrize(
    ("available", "settings", "kept", "said"),
    [
        (1e12, {}, "memory", ""),
        (None, {}, "memory", ""),
        (1e4, {}, "disk", "4 cases take 1.16e-05 GB, of 1e-05 GB of free memory: they are kept on disk, in "),
        (1e4, {"once": True}, "none", "each is loaded when it is used"),
        (2 * 11620, {}, "memory", ""),
        (2 * 11620 - 2, {}, "disk", "kept on disk"),
    ],
)
def test_what_does_not_fit_into_half_of_the_free_memory_is_kept_on_disk(
    tmp_path: Path, available: float | None, settings: dict, kept: str, said: str, monkeypatch, caplog
) -> None:
    taken = 4 * sum(int(np.prod(size)) for size in SIZES)
    monkeypatch.setattr("flemme_monai.data.dataset.available_bytes", lambda: available)
    data = dataset(tmp_path, **settings)
    assert data.cache == kept
    assert (tmp_path / "cache").is_dir() == (kept != "memory")
    assert said in caplog.text
    assert caplog.text.count("\n") == bool(said)
    assert sum(memory.item_bytes({"image": item["image"]}) for item in data) == taken


def test_without_room_on_the_disk_each_case_is_loaded_when_it_is_used(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr("flemme_monai.data.dataset.available_bytes", lambda: 1)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 5}))
    assert dataset(tmp_path).cache == "none"
    assert "and 5e-09 GB of free disk" in caplog.text
