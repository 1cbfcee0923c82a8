"""What is shown of a scene: slices as radiologists see them, masks with their opacity, colours and switches."""

from __future__ import annotations

import numpy as np
import pytest

from flemme_monai.demo.views import PLANES, Panel, Scene, colour_of, legend, pictures, plane_slice


def volume_scene(spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Scene:
    image = np.zeros((8, 10, 12), np.float32)
    image[1] = 1.0
    mask = np.zeros(image.shape, bool)
    mask[2:6, 3:7, 9] = True
    plain = Panel("image", image, (0.0, 1.0))
    return Scene([plain, plain.with_masks("prediction", {1: mask})], spacing, {1: "organ"})


@pytest.mark.parametrize(("plane", "corner"), [("axial", (7, 9, 5)), ("coronal", (7, 5, 11)), ("sagittal", (3, 9, 11))])
def test_the_first_pixel_is_right_front_top(plane: str, corner: tuple[int, int, int]) -> None:
    """In RAS the last index is right, front or top; right is drawn on the left."""
    volume = np.zeros((8, 10, 12))
    volume[corner] = 1
    index = corner[{"axial": 2, "coronal": 1, "sagittal": 0}[plane]]
    shown = plane_slice(volume, plane, index)
    assert shown[0, 0] == 1 or plane == "sagittal"
    assert shown.sum() == 1
    assert shown[0].sum() == 1


def test_every_plane_has_its_own_depth_and_opens_where_most_is_found() -> None:
    scene = volume_scene()
    assert [scene.depth(plane) for plane in PLANES] == [12, 10, 8]
    assert [scene.first_index(plane) for plane in PLANES] == [9, 3, 2]


def test_without_masks_the_middle_slice_opens() -> None:
    scene = volume_scene()
    assert Scene(scene.panels[:1]).first_index("axial") == 6


def test_pixels_differ_from_the_image_exactly_where_the_mask_is() -> None:
    (_, image), (_, found) = pictures(volume_scene(), "axial", 9, opacity=0.5)
    differ = (image != found).any(-1)
    factor = differ.shape[0] // 10
    mask = np.zeros((10, 8), bool)
    mask[3:7, 2:6] = True  # the same either way up
    assert (differ == mask.repeat(factor, 0).repeat(factor, 1)).all()


def test_opacity_0_leaves_outlines_and_1_covers() -> None:
    scene = volume_scene()
    image = pictures(scene, "axial", 9)[0][1]
    none, full = (pictures(scene, "axial", 9, opacity=value)[1][1] for value in (0.0, 1.0))
    inside = (slice(135, 140), slice(110, 115))
    assert (none[inside] == image[inside]).all()
    assert (none != image).any()
    assert np.allclose(full[inside], [230, 60, 60], atol=1)


def test_a_class_that_is_switched_off_is_not_drawn() -> None:
    (_, image), (_, found) = pictures(volume_scene(), "axial", 9, shown=[])
    assert (image == found).all()


def test_classes_that_overlap_are_both_drawn() -> None:
    mask = np.ones((4, 4), bool)
    scene = Scene([Panel("p", np.zeros((4, 4), np.float32), (0, 1), {1: mask, 2: mask})], names={1: "a", 2: "b"})
    middle = pictures(scene, opacity=0.5)[0][1][128, 128].astype(int)
    assert np.abs(middle - (np.array([230, 60, 60]) / 4 + np.array([60, 180, 75]) / 2)).max() <= 2


def test_slices_are_as_high_and_wide_as_the_patient() -> None:
    scene = volume_scene(spacing=(1.0, 1.0, 3.0))
    height, width = pictures(scene, "coronal", 0)[0][1].shape[:2]
    assert height / width == pytest.approx(12 * 3 / 8, rel=0.01)


def test_an_index_beyond_the_volume_shows_its_last_slice() -> None:
    scene = volume_scene()
    assert (pictures(scene, "axial", 99)[1][1] == pictures(scene, "axial", 11)[1][1]).all()


def test_the_legend_has_the_overlay_s_colours_and_no_markup_of_names() -> None:
    html = legend({1: "<b>x</b>"})
    assert colour_of(1) == "rgb(230, 60, 60)"
    assert colour_of(1) in html
    assert "<b>" not in html
