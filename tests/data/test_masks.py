"""Masks as people store them become label maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_picture
from PIL import Image

from flemme_monai.data.masks import check_levels, mask_colors, to_label_map
from flemme_monai.data.reading import read_array

LABELS = (random_picture(1) % 3).astype(np.uint8)
COLORS = [(0, 0, 0), (0, 128, 0), (255, 0, 0)]
PALETTE = np.array(COLORS, dtype=np.uint8)


def label_map(values: np.ndarray, num_classes: int, name: str = "a.png", colors=None) -> np.ndarray:
    array = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    return to_label_map(array, name, num_classes, colors)[0]


def test_label_values_stay() -> None:
    np.testing.assert_array_equal(label_map(LABELS, 3), LABELS)
    assert label_map(LABELS, 3).dtype == np.uint8


def test_a_binary_picture_becomes_0_and_1() -> None:
    np.testing.assert_array_equal(label_map((LABELS > 0) * np.uint8(255), 2), LABELS > 0)


@pytest.mark.parametrize("middle", [127, 128])
def test_grey_levels_become_classes(middle: int) -> None:
    np.testing.assert_array_equal(label_map(np.array([0, middle, 255], np.uint8)[LABELS], 3), LABELS)


def test_a_level_means_one_class_in_every_file() -> None:
    alone = np.where(LABELS == 2, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(label_map(alone, 3), np.where(LABELS == 2, 2, 0))


def test_sixteen_bit_levels_become_classes() -> None:
    np.testing.assert_array_equal(label_map((LABELS > 0) * np.uint16(65535), 2), LABELS > 0)


def test_booleans_and_whole_floats_are_labels() -> None:
    np.testing.assert_array_equal(label_map(LABELS > 0, 2), LABELS > 0)
    np.testing.assert_array_equal(label_map(LABELS.astype(np.float32), 3), LABELS)


@pytest.mark.parametrize(("values", "beyond"), [([0, 1, 3], 3), ([0, 1, 255], 255), ([0, 100, 255], 100)])
def test_a_value_beyond_num_classes_is_named(values: list[int], beyond: int) -> None:
    with pytest.raises(ValueError, match=rf"scan\.png: label {beyond} is beyond num_classes 3"):
        label_map(np.array(values, np.uint8)[LABELS], 3, "scan.png")


def test_a_negative_label_is_named() -> None:
    with pytest.raises(ValueError, match="label -1 is beyond"):
        label_map(LABELS.astype(np.int16) - 1, 3)


def test_levels_are_not_guessed_among_many_classes() -> None:
    with pytest.raises(ValueError, match="label 255 is beyond num_classes 20"):
        label_map((LABELS > 0) * np.uint8(255), 20)


@pytest.mark.parametrize(("value", "words"), [(0.5, r"holds 0\.5"), (np.nan, "NaN or Inf")])
def test_a_mask_is_of_whole_numbers(value: float, words: str) -> None:
    mask = LABELS.astype(np.float32)
    mask[0, 0] = value
    with pytest.raises(ValueError, match=words):
        label_map(mask, 3)


@pytest.mark.parametrize("error", [1e-7, -1e-7, 1e-6])
def test_labels_that_float32_has_moved_are_put_back(error: float) -> None:
    np.testing.assert_array_equal(label_map(LABELS * (1 + error), 3), LABELS)
    many = np.arange(300, dtype=np.float32).reshape(20, 15)
    np.testing.assert_array_equal(label_map(many * (1 + error), 300), many)


@pytest.mark.parametrize("error", [1e-3, -1e-3, 1e-5])
def test_labels_that_lie_farther_off_are_refused(error: float) -> None:
    with pytest.raises(ValueError, match=r"holds (1|0)\.(99|00)\d+; expected whole numbers"):
        label_map(np.minimum(LABELS, 1) + error * (LABELS == 1), 3)


def test_complex_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.png: the mask's voxels are complex64"):
        label_map(LABELS.astype(np.complex64), 3)


def test_rgb_with_equal_channels_is_grey() -> None:
    np.testing.assert_array_equal(label_map(np.repeat(LABELS[..., None], 3, axis=-1), 3), LABELS)


def test_colours_become_classes_by_their_place() -> None:
    np.testing.assert_array_equal(label_map(PALETTE[LABELS], 3, colors=COLORS), LABELS)
    np.testing.assert_array_equal(label_map(PALETTE[LABELS], 3, colors=COLORS[::-1]), 2 - LABELS)


def test_a_colour_of_no_class_is_named() -> None:
    with pytest.raises(ValueError, match=r"scan\.png: colour \(255, 0, 0\) belongs to no class"):
        label_map(PALETTE[LABELS], 2, "scan.png", COLORS[:2])


def test_colours_without_a_list_are_refused() -> None:
    with pytest.raises(ValueError, match=r"coloured.*colors\.json"):
        label_map(PALETTE[LABELS], 3)


def test_transparent_pixels_are_background() -> None:
    painted = np.full((*LABELS.shape, 4), (255, 0, 0, 255), np.uint8)
    painted[LABELS == 0, 3] = 0
    np.testing.assert_array_equal(label_map(painted, 3, colors=COLORS), np.where(LABELS > 0, 2, 0))


def test_a_black_picture_is_a_mask_by_its_alpha() -> None:
    painted = np.zeros((*LABELS.shape, 4), np.uint8)
    painted[LABELS > 0, 3] = 255
    np.testing.assert_array_equal(label_map(painted, 2), LABELS > 0)


def test_colours_of_16_bits_are_those_of_8() -> None:
    deep = PALETTE[LABELS].astype(np.uint16) * 257
    np.testing.assert_array_equal(label_map(deep, 3, colors=COLORS), LABELS)
    half_seen = np.dstack([deep, np.where(LABELS == 1, 30000, 65535).astype(np.uint16)])
    np.testing.assert_array_equal(label_map(half_seen, 3, colors=COLORS), np.where(LABELS == 1, 0, LABELS))
    with pytest.raises(ValueError, match=r"a\.png: has colours of 16 bits"):
        label_map(deep + np.uint16(1), 3, colors=COLORS)


def test_a_broken_picture_has_no_colours_until_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_picture(tmp_path / "a.png", PALETTE[LABELS])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    assert mask_colors([path]) is None


def test_an_opaque_alpha_changes_nothing() -> None:
    painted = np.dstack([*[LABELS] * 3, np.full_like(LABELS, 255)])
    np.testing.assert_array_equal(label_map(painted, 3), LABELS)


def test_a_mask_of_many_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="has 5 channels"):
        to_label_map(np.zeros((5, 4, 4), np.uint8), "a.nii.gz", 2)


def test_a_jpeg_mask_is_read_by_its_nearest_levels(tmp_path: Path) -> None:
    blocks = np.kron(np.array([[0, 1], [1, 0]], np.uint8), np.ones((32, 32), np.uint8))
    path = write_picture(tmp_path / "a.jpg", blocks * np.uint8(255), quality=60)
    np.testing.assert_array_equal(to_label_map(read_array(path)[0], str(path), 2)[0], blocks.T)


@pytest.mark.parametrize("scale", [1, 60])
def test_a_jpeg_of_label_values_is_refused(tmp_path: Path, scale: int) -> None:
    blocks = np.kron(np.array([[0, 1], [2, 0]], np.uint8), np.ones((32, 32), np.uint8)) * np.uint8(scale)
    path = write_picture(tmp_path / "a.jpg", blocks, quality=95)
    with pytest.raises(ValueError, match=r"a\.jpg: a JPEG does not keep label values"):
        to_label_map(read_array(path)[0], str(path), 3)


def test_the_colours_of_a_data_set_are_gathered_over_its_files(tmp_path: Path) -> None:
    paths = [write_picture(tmp_path / f"{k}.png", PALETTE[LABELS * (k == LABELS)]) for k in (1, 2)]
    assert mask_colors(paths) == COLORS


def test_grey_masks_have_no_colours(tmp_path: Path) -> None:
    grey = write_picture(tmp_path / "a.png", LABELS)
    stored_as_rgb = write_picture(tmp_path / "b.png", np.repeat(LABELS[..., None], 3, axis=-1))
    assert mask_colors([grey, stored_as_rgb]) is None


def test_a_photograph_is_no_mask(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.png.*expected one per class"):
        mask_colors([write_picture(tmp_path / "a.png", random_picture(size=(32, 32, 3)))])


def test_a_coloured_jpeg_is_no_mask(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.jpg.*store masks as PNG"):
        mask_colors([write_picture(tmp_path / "a.jpg", PALETTE[LABELS])])


def test_two_levels_are_no_mask_of_three_classes(tmp_path: Path) -> None:
    binary = [write_picture(tmp_path / f"{i}.png", np.array([[0, 255]], dtype=np.uint8)) for i in range(2)]
    graded = write_picture(tmp_path / "c.png", np.array([[0, 128]], dtype=np.uint8))
    check_levels(binary, 2)
    check_levels([*binary, graded], 3)
    with pytest.raises(ValueError, match=r"only 0 and 255, which is one class.*num_classes is 3; set num_classes to 2"):
        check_levels(binary, 3)
