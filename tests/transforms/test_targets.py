"""Reconstruction from given pairs: targets beside their inputs, and inputs that get larger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import write_nifti, write_picture
from monai.data import MetaTensor
from monai.transforms import RandFlipd, ScaleIntensityd

from flemme_monai.transforms import CheckCased, EnlargeImaged, JoinTargetd, SplitTargetd


def loaded(values: np.ndarray, affine: torch.Tensor | None = None) -> MetaTensor:
    """An image (1, *S) as it is after loading and scaling."""
    image = MetaTensor(torch.as_tensor(values, dtype=torch.float32)[None], affine=affine)
    item = CheckCased(1, spatial_dims=values.ndim)({"image": image})
    return ScaleIntensityd("image")(item)["image"]


@pytest.mark.parametrize(("scale", "target"), [("input", [0.5, 1.5]), ("own", [0.0, 1.0])])
def test_a_target_is_scaled_by_its_inputs_range_or_its_own(tmp_path: Path, scale: str, target: list[float]) -> None:
    image = loaded(np.array([[0, 100], [50, 100]]))
    path = write_picture(tmp_path / "a.png", np.array([[50, 150], [50, 150]], np.uint8).T)
    item = JoinTargetd(1, 2, scale)({"image": image, "target": str(path), "case": "a"})
    assert "target" not in item
    split = SplitTargetd(1)(item)
    torch.testing.assert_close(split["image"].as_tensor(), image.as_tensor())
    assert sorted(set(split["label"].flatten().tolist())) == target


def test_input_and_target_are_turned_alike(tmp_path: Path) -> None:
    values = np.arange(16).reshape(4, 4)
    path = write_nifti(tmp_path / "a.nii.gz", values[..., None].astype(np.uint8))
    volume = MetaTensor(torch.arange(16.0).reshape(1, 4, 4, 1) / 15)
    volume.meta["intensity_range"] = (0.0, 15.0)
    item = JoinTargetd(1, 2)({"image": volume, "target": str(path), "case": "a"})
    item = SplitTargetd(1)(RandFlipd("image", prob=1.0, spatial_axis=0)(item))
    torch.testing.assert_close(item["image"].as_tensor(), item["label"].as_tensor())
    assert item["image"][0, 0, 0, 0] == pytest.approx(12 / 15)


def test_without_a_target_the_image_is_its_own(tmp_path: Path) -> None:
    image = loaded(np.eye(4))
    item = SplitTargetd(1)(JoinTargetd(1, 2)({"image": image, "case": "a"}))
    torch.testing.assert_close(item["label"].as_tensor(), image.as_tensor())
    item["image"] += 1
    assert item["label"].max() == 1  # a copy


def test_a_target_of_another_size_is_refused(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match=r"is of \(8, 8\) and its input of \(4, 4\).*set upscale"):
        JoinTargetd(1, 2)({"image": loaded(np.eye(4)), "target": str(path), "case": "a"})


def test_an_enlarged_image_lies_where_it_lay() -> None:
    affine = torch.tensor([[2.0, 0, 0, 10], [0, 2, 0, 20], [0, 0, 5, 30], [0, 0, 0, 1]], dtype=torch.float64)
    volume = loaded(np.random.default_rng(0).random((4, 6, 3)), affine)
    larger = EnlargeImaged(2, 2)({"image": volume})["image"]
    assert larger.shape == (1, 8, 12, 3)
    # the corner of the first voxel, half a voxel before its centre, is where it was
    corner = torch.tensor([-0.5, -0.5, -0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(larger.affine @ corner, volume.affine @ corner)
    assert larger.affine.diagonal()[:3].tolist() == [1.0, 1.0, 5.0]
    # of a ramp every new value is on the ramp
    ramp = EnlargeImaged(3, 2)({"image": loaded(np.arange(5.0)[:, None].repeat(2, 1))})["image"]
    steps = ramp[0, 1:-1, 0].diff()
    torch.testing.assert_close(steps, torch.full_like(steps, 1 / 12))


@pytest.mark.parametrize("factor", [0, 1.5, [2, 2, 2]])
def test_a_factor_that_is_none_is_refused(factor) -> None:
    with pytest.raises(ValueError, match="expected a whole number from 1"):
        EnlargeImaged(factor, 2)


def test_another_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="'input' or 'own'"):
        JoinTargetd(1, 2, "both")
