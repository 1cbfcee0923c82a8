"""Predictions are saved on their image's grid, whether they were put back on it before or not."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from image_files import write_nifti
from monai.data import MetaTensor
from monai.transforms import Compose, CopyItemsd, Invertd

from flemme_monai.handlers import SavePredictions
from flemme_monai.transforms import CheckCased, EnsureChannelAxisd, LoadImageFilesd, OrientVolumesd

AFFINE = np.array([[0.0, 0.1, -2.0, 40.0], [-1.5, 0.2, 0.1, 30.0], [0.3, 1.2, 0.0, -20.0], [0, 0, 0, 1]])
VALUES = np.random.default_rng(0).integers(0, 3, (6, 6, 6)).astype(np.int16)


@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize("task", ["segmentation", "reconstruction", "uncertainty"])
def test_a_volume_is_saved_as_its_file(inverted: bool, task: str, tmp_path) -> None:
    given = write_nifti(tmp_path / "a.nii.gz", VALUES, AFFINE)
    load = Compose([LoadImageFilesd(), EnsureChannelAxisd("image", 3), OrientVolumesd("image"), CheckCased(1, None, 3)])
    item = CopyItemsd("image", names="pred")(load({"image": str(given)}))
    image, pred = item["image"], item["pred"]
    if inverted:
        pred = Invertd("pred", load, orig_keys="image")(item)["pred"]
    image.meta["intensity_range"] = (0.0, 1.0)
    saved = nibabel.load(SavePredictions(tmp_path, "out", task).save(image, pred))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), VALUES)
    np.testing.assert_allclose(saved.affine, AFFINE, atol=1e-5)


def test_a_prediction_put_back_is_drawn_on_its_image(tmp_path) -> None:
    given = write_nifti(tmp_path / "a.nii.gz", VALUES, AFFINE)
    load = Compose([LoadImageFilesd(), EnsureChannelAxisd("image", 3), OrientVolumesd("image"), CheckCased(1, None, 3)])
    item = CopyItemsd("image", names="pred")(load({"image": str(given)}))
    back = Invertd("pred", load, orig_keys="image")(item)["pred"]
    assert not torch.equal(back.as_tensor(), item["pred"].as_tensor())
    for name, pred in (("plain", item["pred"]), ("back", back)):
        SavePredictions(tmp_path, name).save(item["image"], pred)
    overlays = [next(tmp_path.glob(f"*_{name}_overlay.png")).read_bytes() for name in ("plain", "back")]
    assert overlays[0] == overlays[1]


def test_a_volume_in_memory_is_saved_in_its_own_axes(tmp_path) -> None:
    given = MetaTensor(torch.from_numpy(VALUES.astype(np.float32)), affine=torch.from_numpy(AFFINE))
    load = Compose([EnsureChannelAxisd("image", 3), OrientVolumesd("image"), CheckCased(1, None, 3)])
    image = load({"image": given})["image"]
    saved = nibabel.load(SavePredictions(tmp_path).save(image, image.as_tensor()))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), VALUES)
    np.testing.assert_allclose(saved.affine, AFFINE, atol=1e-5)
