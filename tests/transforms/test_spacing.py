"""Volumes brought to a spacing and back, against SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd
from scipy import ndimage

from flemme_monai.transforms import OrientVolumesd, ResampleSpacingd
from flemme_monai.transforms.spacing import grid_scale, interpolation_orders, resample


def volume(size=(12, 10, 8), spacing=(1.0, 1.0, 2.0), channels=1, origin=5.0) -> MetaTensor:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return MetaTensor(torch.rand(channels, *size), affine=affine)


def outline(image: MetaTensor) -> np.ndarray:
    """The outer corners of the first and last voxel, mm."""
    ends = np.array([[-0.5] * 3 + [1], [n - 0.5 for n in image.shape[1:]] + [1]])
    return (image.affine.numpy() @ ends.T)[:3].T


def test_axis_by_axis_is_scipys_spline():
    image = torch.rand(1, 20, 18, 7)
    found = resample(image, [30, 9, 7], [3, 3, 3])[0].numpy()
    expected = ndimage.zoom(image[0].numpy(), (1.5, 0.5, 1), order=3, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_ramp_stays_a_ramp_in_mm():
    """A linear function of place keeps its values where they are, away from the borders: the grid has no shift."""
    image = volume((40, 6, 6), (1.0, 1.0, 1.0))
    x = image.affine[0, 3] + torch.arange(40.0)
    image[0] = x[:, None, None].expand(40, 6, 6)
    found = ResampleSpacingd("image", [0.8, None, None])({"image": image})["image"]
    place = found.affine[0, 3] + found.affine[0, 0] * torch.arange(found.shape[1])
    np.testing.assert_allclose(found[0, 10:-10, 3, 3], place[10:-10], atol=1e-4)


@pytest.mark.parametrize("spacing", [[2.0, 2.0, 2.0], [0.7, 1.3, 2.0], [None, None, 1.0]])
def test_outlines_stay_and_the_spacing_is_as_asked(spacing):
    image = volume((24, 20, 16))
    found = ResampleSpacingd("image", spacing)({"image": image})["image"]
    np.testing.assert_allclose(outline(found), outline(image), atol=1e-6)
    asked = [1.0 if a is None and i < 2 else 2.0 if a is None else a for i, a in enumerate(spacing)]
    np.testing.assert_allclose(np.diag(found.affine)[:3], asked, rtol=0.05)
    assert found.shape[1] == round(24 * 1.0 / asked[0])


def test_labels_are_resampled_class_by_class_and_stay_labels():
    """Linear one-hot halves between neighbours; the nearest voxel or the mean of labels would give others."""
    labels = torch.zeros(1, 4, 1, 1, dtype=torch.uint8)
    labels[0, :, 0, 0] = torch.tensor([0, 3, 3, 1])
    found = resample(labels, [8, 1, 1], [1, 1, 1], labels=True)
    assert found.dtype == torch.uint8
    assert found[0, :, 0, 0].tolist() == [0, 0, 3, 3, 3, 3, 1, 1]
    assert set(resample(labels, [7, 1, 1], [1, 1, 1], labels=True).unique().tolist()) <= {0, 1, 3}


def test_a_coarse_axis_takes_the_nearest_voxel():
    assert interpolation_orders(np.array([1, 1, 5]), np.array([1, 1, 1]), 3) == [3, 3, 0]
    assert interpolation_orders(np.array([1, 1, 1]), np.array([1, 1, 5]), 3) == [3, 3, 0]
    assert interpolation_orders(np.array([1, 1, 2]), np.array([1, 1, 1]), 3) == [3, 3, 3]
    image = volume((6, 6, 4), (1.0, 1.0, 5.0))
    found = ResampleSpacingd("image", [1.0, 1.0, 1.0])({"image": image})["image"]
    np.testing.assert_allclose(found[..., 0:5], image[..., :1].expand(1, 6, 6, 5))


def test_scores_go_back_to_the_files_grid_before_classes_are_decided():
    image = volume((12, 10, 8))
    image[0] = torch.linspace(0, 1, 12)[:, None, None].expand(12, 10, 8)
    image.affine = torch.diag(torch.tensor([-1.0, 1, 2, 1], dtype=torch.float64))  # stored from right to left
    steps = Compose([OrientVolumesd("image"), ResampleSpacingd("image", [1.5, 1.5, 1.5])])
    data = steps({"image": image})
    scores = torch.stack([data["image"].as_tensor()[0], 1 - data["image"].as_tensor()[0]])
    data["pred"] = MetaTensor(scores, meta=data["image"].meta)
    back = Invertd("pred", steps, orig_keys="image")(data)["pred"]
    assert back.shape == (2, 12, 10, 8)
    np.testing.assert_allclose(back.affine, image.affine, atol=1e-6)
    np.testing.assert_allclose(back.sum(0), 1, atol=1e-5)  # linear: scores that sum to 1 still do
    np.testing.assert_allclose(back[0, 2:-2], image[0, 2:-2], atol=0.01)


def test_label_maps_go_back_as_labels():
    steps = Compose([ResampleSpacingd("image", [2.0, 2.0, 2.0])])
    data = steps({"image": volume((12, 12, 12), (1.0, 1.0, 1.0))})
    labels = torch.zeros(1, 6, 6, 6, dtype=torch.uint8)
    labels[:, 2:4] = 2
    data["pred"] = MetaTensor(labels, meta=data["image"].meta)
    back = Invertd("pred", steps, orig_keys="image")(data)["pred"]
    assert back.shape == (1, 12, 12, 12)
    assert (back[0, 4:8] == 2).all()
    assert set(back.unique().tolist()) == {0, 2}


def test_pictures_and_missing_keys_pass():
    picture = MetaTensor(torch.rand(1, 8, 8))
    found = ResampleSpacingd(["image", "label"], [1, 1, 1])({"image": picture})
    assert found["image"] is picture


def test_the_grid_of_twice_as_many_voxels_begins_a_quarter_outwards():
    assert grid_scale([4, 4, 4], [8, 4, 2])[:3, 3].tolist() == [-0.25, 0, 0.5]


@pytest.mark.parametrize("spacing", [[1.0, 1.0], [0.0, 1, 1], "1", [1, 1, float("nan")], 1.0])
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(ValueError, match=r"spacing is .*; expected three lengths"):
        ResampleSpacingd("image", spacing)


def test_a_volume_without_an_affine_is_refused():
    with pytest.raises(ValueError, match="image has no affine; expected a MetaTensor"):
        ResampleSpacingd("image", [1, 1, 1])({"image": torch.rand(1, 4, 4, 4)})
