"""Loading the image and the label of a case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import random_picture, write_nifti, write_picture
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import EnsureChannelFirst, LoadImage
from PIL import Image

from flemme_monai.data import inference_list, split_datalist
from flemme_monai.transforms import LoadImageAndLabeld

GREY = random_picture()
VOLUME = random_picture(size=(6, 5, 4))


def picture(folder: Path, array: np.ndarray = GREY, name: str = "image.png") -> str:
    return str(write_picture(folder / name, array))


def volume(folder: Path, array: np.ndarray = VOLUME, name: str = "image.nii.gz", affine=None) -> str:
    return str(write_nifti(folder / name, array, affine))


def rgb(array: np.ndarray, alpha: int | np.ndarray | None = None) -> np.ndarray:
    channels = [array] * 3 + ([] if alpha is None else [np.broadcast_to(np.uint8(alpha), array.shape)])
    return np.dstack(channels)


def test_a_picture_and_its_mask_agree(tmp_path: Path) -> None:
    item = {
        "image": picture(tmp_path),
        "label": picture(tmp_path, GREY // 128 * np.uint8(255), "mask.png"),
        "case": "a",
    }
    loaded = LoadImageAndLabeld(1, 2)(item)
    assert loaded["image"].shape == loaded["label"].shape == (1, 16, 12)
    assert torch.equal(loaded["label"], (loaded["image"] >= 128).to(torch.uint8))
    assert loaded["case"] == "a"


def test_a_volume_and_a_flipped_mask_are_aligned_by_their_affines(tmp_path: Path) -> None:
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = VOLUME.shape[0] - 1
    label = volume(tmp_path, (VOLUME[::-1] >= 128).astype(np.uint8), "mask.nii.gz", flipped)
    loaded = LoadImageAndLabeld(1, 2, 3)({"image": volume(tmp_path), "label": label, "case": "a"})
    assert torch.equal(loaded["label"], (loaded["image"] >= 128).to(torch.uint8))


def test_a_label_that_does_not_fit_is_left_out_where_none_is_needed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    item = {"image": picture(tmp_path), "label": picture(tmp_path, GREY // 2, "mask.png"), "case": "a"}
    load = LoadImageAndLabeld(1, 2, need_label=False)
    assert "label" not in load(item)
    assert "label" not in load(item)
    assert len(caplog.records) == 1
    assert "the label is left out" in caplog.text
    assert "mask.png: label" in caplog.text


@pytest.mark.parametrize("array", [rgb(GREY), rgb(GREY, 255), np.dstack([GREY, np.full_like(GREY, 255)])])
def test_a_grey_picture_stored_in_colour_is_one_channel(tmp_path: Path, array: np.ndarray) -> None:
    image = LoadImageAndLabeld(1)({"image": picture(tmp_path, array), "case": "a"})["image"]
    np.testing.assert_array_equal(image[0].numpy(), GREY.T)


def test_an_opaque_alpha_is_left_out(tmp_path: Path) -> None:
    colours = random_picture(size=(12, 16, 3))
    path = picture(tmp_path, np.dstack([colours, np.full_like(GREY, 255)]))
    np.testing.assert_array_equal(LoadImageAndLabeld(3)({"image": path, "case": "a"})["image"].numpy(), colours.T)
    assert LoadImageAndLabeld(4)({"image": path, "case": "a"})["image"].shape == (4, 16, 12)


@pytest.mark.parametrize(
    ("array", "in_channels", "channels"),
    [
        (random_picture(size=(12, 16, 3)), 1, 3),
        (GREY, 3, 1),
        (rgb(GREY, GREY), 1, 4),
        (rgb(GREY, GREY), 3, 4),
    ],
)
def test_a_wrong_number_of_channels_is_named(tmp_path: Path, array, in_channels: int, channels: int) -> None:
    with pytest.raises(ValueError, match=rf"image\.png: has {channels} channels?; expected in_channels, {in_channels}"):
        LoadImageAndLabeld(in_channels)({"image": picture(tmp_path, array), "case": "a"})


def test_modalities_are_channels(tmp_path: Path) -> None:
    item = {"image": volume(tmp_path, np.stack([VOLUME, VOLUME], axis=-1)), "case": "a"}
    assert LoadImageAndLabeld(2, spatial_dims=3)(item)["image"].shape == (2, 6, 5, 4)
    with pytest.raises(ValueError, match="has 2 channels; expected in_channels, 1"):
        LoadImageAndLabeld(1, spatial_dims=3)(item)


def test_without_classes_no_label_is_read(tmp_path: Path) -> None:
    assert "label" not in LoadImageAndLabeld(1)({"image": picture(tmp_path), "label": "gone.png", "case": "a"})


def test_an_image_without_label_is_loaded(tmp_path: Path) -> None:
    assert set(LoadImageAndLabeld(1, 2)({"image": picture(tmp_path), "case": "a"})) == {"image", "case"}


def test_colours_become_classes(tmp_path: Path) -> None:
    colors = np.array([[0, 0, 0], [255, 0, 0]], np.uint8)
    item = {"image": picture(tmp_path), "label": picture(tmp_path, colors[GREY // 128], "mask.png"), "case": "a"}
    loaded = LoadImageAndLabeld(1, 2)({**item, "colors": [(0, 0, 0), (255, 0, 0)]})
    assert torch.equal(loaded["label"], (loaded["image"] >= 128).to(torch.uint8))
    assert "colors" not in loaded


def test_a_slab_is_cut_out_and_keeps_its_place(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1, 2, 1])
    item = {"image": volume(tmp_path, affine=affine), "case": "a", "slab": (1, 3)}
    loaded = LoadImageAndLabeld(1)(item)
    np.testing.assert_array_equal(loaded["image"][0].numpy(), VOLUME[..., 1:3])
    assert loaded["image"].affine[:3, 3].tolist() == [0, 0, 2]
    assert loaded["image"].meta["original_affine"][:3, 3].tolist() == [0, 0, 0]
    assert "slab" not in loaded


def test_cutting_a_slab_leaves_the_volume_as_it_was() -> None:
    case = split_datalist(None, "segmentation", 3, 1, 3, 16, split_by="slab")["test"][0]
    before = case["image"].affine.clone()
    loaded = LoadImageAndLabeld(1, 3, 3)(case)
    assert torch.equal(case["image"].affine, before)
    assert loaded["image"].shape == loaded["label"].shape
    assert torch.equal(loaded["image"].affine, loaded["label"].affine)


def test_different_shapes_are_named(tmp_path: Path) -> None:
    item = {"image": picture(tmp_path), "label": picture(tmp_path, GREY[:5] // 128, "mask.png"), "case": "a"}
    with pytest.raises(
        ValueError, match=r"mask\.png: has the shape \(16, 5\); expected \(16, 12\), that of its image .*image\.png"
    ):
        LoadImageAndLabeld(1, 2)(item)


def test_a_mask_elsewhere_in_space_is_named(tmp_path: Path) -> None:
    label = volume(tmp_path, VOLUME // 128, "mask.nii.gz", np.diag([-1.0, 1, 1, 1]))
    with pytest.raises(ValueError, match=r"mask\.nii\.gz: lies 5\.0 voxels off its image"):
        LoadImageAndLabeld(1, 2, 3)({"image": volume(tmp_path), "label": label, "case": "a"})


def test_a_label_beyond_num_classes_is_named(tmp_path: Path) -> None:
    item = {"image": volume(tmp_path), "label": volume(tmp_path, VOLUME // 50, "mask.nii.gz"), "case": "a"}
    with pytest.raises(ValueError, match=r"mask\.nii\.gz: label 3 is beyond num_classes 3"):
        LoadImageAndLabeld(1, 3, 3)(item)


def test_nan_is_named(tmp_path: Path) -> None:
    broken = VOLUME.astype(np.float32)
    broken[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"image\.nii\.gz: 1 of 120 voxels are NaN or Inf"):
        LoadImageAndLabeld(1, spatial_dims=3)({"image": volume(tmp_path, broken), "case": "a"})


def test_a_picture_is_refused_in_3d(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a 2D image; expected a volume, as spatial_dims is 3"):
        LoadImageAndLabeld(1, spatial_dims=3)({"image": picture(tmp_path), "case": "a"})


def test_tensors_pass_the_same_checks() -> None:
    case = split_datalist(None, "segmentation", 2, 1, 3, 16)["val"][0]
    loaded = LoadImageAndLabeld(1, 3)(case)
    assert torch.equal(loaded["image"], case["image"])
    assert loaded["image"].meta["filename_or_obj"].endswith(".png")
    with pytest.raises(ValueError, match="label 2 is beyond num_classes 2"):
        LoadImageAndLabeld(1, 2)(case)
    with pytest.raises(ValueError, match="has 1 channel; expected in_channels, 3"):
        LoadImageAndLabeld(3, 3)(case)
    with pytest.raises(ValueError, match="NaN or Inf"):
        LoadImageAndLabeld(1)({"image": MetaTensor(torch.full((1, 4, 4), torch.nan)), "case": "a"})


@pytest.mark.parametrize("setting", [{"in_channels": 0}, {"num_classes": 1}, {"spatial_dims": 1}])
def test_settings_out_of_range_are_named(setting: dict) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(setting))} is {next(iter(setting.values()))}"):
        LoadImageAndLabeld(**{"in_channels": 1, **setting})


def test_loaded_cases_collate_and_come_apart_again(tmp_path: Path) -> None:
    paths = [volume(tmp_path, VOLUME, f"{k}.nii.gz") for k in range(2)]
    items = [LoadImageAndLabeld(1, spatial_dims=3)({"image": path, "case": Path(path).name}) for path in paths]
    parts = decollate_batch(list_data_collate(items))
    assert [part["image"].meta["filename_or_obj"] for part in parts] == paths
    assert [list(part["image"].meta["spatial_shape"]) for part in parts] == [[6, 5, 4]] * 2


def test_a_ct_and_its_label_map_are_aligned(data_dir: Path) -> None:
    (case,) = inference_list(data_dir / "ct_dicom", "segmentation", 3, 1, 118, 32)
    loaded = LoadImageAndLabeld(1, 118, 3)(case)
    organs = loaded["label"] > 0
    assert loaded["image"].shape == (1, 512, 512, 20)
    assert (loaded["image"][organs] > -300).float().mean() > 0.95


OBLIQUE = np.array([[-1.8, 0.3, 0.1, 40.0], [0.2, -1.1, 0.4, 50.0], [0.3, 0.5, 2.4, -60.0], [0, 0, 0, 1]])


def test_a_volume_in_memory_is_loaded_as_its_file(tmp_path: Path) -> None:
    path = volume(tmp_path, affine=OBLIQUE)
    expected = LoadImageAndLabeld(1, spatial_dims=3)({"image": path, "case": "a"})["image"]
    bare = LoadImage()(path)
    for image in (bare, bare[None], EnsureChannelFirst()(bare.clone())):
        loaded = LoadImageAndLabeld(1, spatial_dims=3)({"image": image, "case": "a"})["image"]
        assert torch.equal(loaded, expected)
        assert torch.allclose(loaded.affine, expected.affine)
    assert expected.affine[:3, :3].diagonal().min() > 0
    np.testing.assert_array_equal(expected[0].numpy(), VOLUME[::-1, ::-1])


def test_channels_last_come_first(tmp_path: Path) -> None:
    path = volume(tmp_path, np.stack([VOLUME, VOLUME // 2], axis=-1))
    expected = LoadImageAndLabeld(2, spatial_dims=3)({"image": path, "case": "a"})["image"]
    for image in (LoadImage()(path), LoadImage(ensure_channel_first=True)(path)):
        assert torch.equal(LoadImageAndLabeld(2, spatial_dims=3)({"image": image, "case": "a"})["image"], expected)


def test_arrays_are_images_with_or_without_channels(tmp_path: Path) -> None:
    for array, shape in ((GREY, (1, 12, 16)), (GREY[None], (1, 12, 16)), (VOLUME[None], (1, 6, 5, 4))):
        for image in (array, torch.from_numpy(array)):
            item = {"image": image, "label": (image > 127).astype(np.uint8) if image is array else image > 127}
            loaded = LoadImageAndLabeld(1, 2)(item)
            assert loaded["image"].shape == loaded["label"].shape == shape
            assert loaded["image"].dtype == torch.float32
            assert torch.equal(loaded["label"], (loaded["image"] > 127).to(torch.uint8))
    assert LoadImageAndLabeld(1, spatial_dims=3)({"image": VOLUME})["image"].shape == (1, 6, 5, 4)


def test_a_2d_nifti_stays_as_it_is_stored(tmp_path: Path) -> None:
    for affine in (np.diag([-1.0, -1, 1, 1]), OBLIQUE[:, [2, 1, 0, 3]]):
        path = volume(tmp_path, VOLUME[..., 0].astype(np.int16), affine=affine)
        image = LoadImageAndLabeld(1)({"image": path})["image"]
        np.testing.assert_array_equal(image[0].numpy(), VOLUME[..., 0])
        np.testing.assert_allclose(image.affine, affine)


def test_a_palette_s_indices_are_labels_and_its_colours_an_image(tmp_path: Path) -> None:
    indexed = Image.fromarray(GREY // 128)
    indexed = indexed.convert("P")
    indexed.putpalette([10, 20, 30, 200, 100, 0] + [0] * 750)
    indexed.save(tmp_path / "p.png")
    loaded = LoadImageAndLabeld(3, 2)({"image": str(tmp_path / "p.png"), "label": str(tmp_path / "p.png")})
    assert torch.equal(loaded["label"][0], torch.from_numpy(GREY.T // 128))
    assert loaded["image"][:, loaded["label"][0] == 1].unique(dim=1).flatten().tolist() == [200, 100, 0]


def test_an_unreadable_label_is_left_out_where_none_is_needed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    load = LoadImageAndLabeld(1, 2, need_label=False)
    for _ in range(2):
        assert "label" not in load({"image": picture(tmp_path), "label": str(tmp_path / "gone.png")})
    assert [record.getMessage() for record in caplog.records] == [
        f"the label is left out: {tmp_path / 'gone.png'}: no such file"
    ]
    with pytest.raises(FileNotFoundError, match="no such file"):
        LoadImageAndLabeld(1, 2)({"image": picture(tmp_path), "label": str(tmp_path / "gone.png")})


def test_a_file_that_is_no_image_is_not_tried_with_other_readers(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(ValueError, match=r"a\.npy: the suffix is none of"):
        LoadImageAndLabeld(1)({"image": str(tmp_path / "a.npy")})
