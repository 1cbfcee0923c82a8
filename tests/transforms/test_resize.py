"""Images of any size become the network's."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from flemme_monai.transforms import ResizeImaged


@pytest.mark.parametrize("shape", [(1, 64, 48), (3, 20, 30), (1, 20, 70)])
def test_an_image_gets_the_size(shape: tuple[int, ...]) -> None:
    assert ResizeImaged("image", (32, 32), 2)({"image": torch.rand(shape)})["image"].shape == (shape[0], 32, 32)


def test_the_slices_of_a_volume_stay_apart() -> None:
    volume = torch.rand(1, 40, 20, 5)
    resized = ResizeImaged("image", 16, 2)({"image": volume})["image"]
    assert resized.shape == (1, 16, 16, 5)
    alone = ResizeImaged("image", 16, 2)({"image": volume[..., 3]})["image"]
    torch.testing.assert_close(resized[..., 3], alone)


def test_a_shrunk_image_keeps_its_mean_and_does_not_alias() -> None:
    stripes = torch.zeros(1, 64, 64)
    stripes[:, ::2] = 1
    assert (ResizeImaged("image", 16, 2)({"image": stripes})["image"] == 0.5).all()


def test_an_enlarged_image_is_smooth() -> None:
    ramp = torch.linspace(0, 1, 8)[None, :, None].expand(1, 8, 8)
    steps = ResizeImaged("image", [32, 32], 2)({"image": ramp})["image"][0, :, 0].diff()
    assert steps.max() < 1.01 / 7 / 4


def test_meta_data_stays() -> None:
    image = MetaTensor(torch.rand(1, 8, 8), meta={"filename_or_obj": "a.png"})
    assert ResizeImaged("image", [4, 4], 2)({"image": image, "case": "a"})["image"].meta["filename_or_obj"] == "a.png"


def test_a_picture_is_no_volume() -> None:
    with pytest.raises(ValueError, match=r"image is \(8, 8\); expected at least the 3 axes of \(4, 4, 4\)"):
        ResizeImaged("image", 4, 3)({"image": torch.rand(1, 8, 8)})


def test_a_size_of_another_number_of_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        ResizeImaged("image", [4, 4], 3)
