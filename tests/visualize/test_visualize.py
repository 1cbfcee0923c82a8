"""Pictures show what they should where they should."""

from __future__ import annotations

import numpy as np
import torch

from flemme_monai.visualize import (
    classification_picture,
    confusion_picture,
    label_map,
    overlay_labels,
    reconstruction_picture,
    segmentation_picture,
)
from flemme_monai.visualize.slices import COLOURS, axial_slice, enlarge, fullest_slice, outline


def test_an_image_stands_upright():
    array = np.arange(6).reshape(2, 3)  # 2 wide, 3 high
    assert np.array_equal(axial_slice(array, 0, volume=False), [[0, 3], [1, 4], [2, 5]])


def test_an_axial_slice_has_anterior_above_and_the_patients_right_at_the_left():
    volume = np.zeros((4, 5, 3))
    volume[3, 4, 1] = 1  # most right, most anterior
    assert axial_slice(volume, 1, volume=True)[0, 0] == 1
    assert axial_slice(volume[..., 1], 0, volume=True)[0, 0] == 1


def test_the_slice_with_most_foreground_is_shown():
    labels = np.zeros((4, 4, 5), int)
    assert fullest_slice(labels) == 2
    labels[0, 0, 1] = labels[:2, 0, 3] = 1
    assert fullest_slice(labels) == 3


def test_the_slice_with_most_of_the_true_label_is_shown_where_it_is_known():
    pred, label = torch.zeros(1, 256, 256, 3), torch.zeros(1, 256, 256, 3)
    pred[..., 0], label[:, :9, :9, 2] = 1, 1
    picture = segmentation_picture(torch.zeros(1, 256, 256, 3), pred, label)
    shown = picture[18:, 260:516]  # the label, beside the image
    assert (shown[..., 0] > shown[..., 2]).any()


def test_an_outline_is_inside_its_label():
    labels = np.zeros((5, 5), int)
    labels[1:4, 1:4] = 2
    expected = labels > 0
    expected[2, 2] = False
    assert np.array_equal(outline(labels), expected)


def test_labels_are_coloured_and_the_background_is_not():
    labels = np.zeros((6, 6), int)
    labels[1:5, 1:5] = 1
    painted = overlay_labels(np.full((6, 6, 3), 100.0), labels)
    assert (painted[0, 0] == 100).all()
    assert painted[2, 2, 0] > painted[2, 2, 1]


def test_a_class_has_one_colour_whatever_else_is_shown():
    picture = np.full((8, 12, 3), 100.0)
    alone, beside = np.zeros((8, 12), int), np.zeros((8, 12), int)
    alone[1:7, 1:5] = beside[1:7, 1:5] = 2
    beside[1:7, 6:11] = 12
    shown = [overlay_labels(picture, labels) for labels in (alone, beside)]
    assert np.array_equal(*(overlay[:, :6] for overlay in shown))
    assert np.allclose(shown[0][3, 2], 0.65 * 100 + 0.35 * COLOURS[1])
    assert np.allclose(shown[1][3, 8], 0.65 * 100 + 0.35 * COLOURS[11])


def test_more_labels_than_colours_are_painted():
    labels = np.arange(64).reshape(8, 8)
    assert overlay_labels(np.zeros((8, 8, 3)), labels).shape == (8, 8, 3)


def test_small_images_are_enlarged():
    assert enlarge(np.zeros((35, 51))).shape == (210, 306)
    assert enlarge(np.zeros((300, 10))).shape == (300, 10)


def test_scores_become_labels():
    assert np.array_equal(label_map(torch.tensor([[[0.1, 0.7]], [[0.9, 0.3]]])), [[1, 0]])
    assert np.array_equal(label_map(torch.tensor([[[2.0, 0.0]]])), [[2, 0]])


def test_pictures_have_a_tile_for_each_part():
    image = torch.rand(1, 256, 128)
    one = segmentation_picture(image, image.round())
    two = segmentation_picture(image, image.round(), image.round())
    assert one.dtype == np.uint8
    assert (one.shape[1] + 4) / 2 == (two.shape[1] + 4) / 4 == 260  # with a label, its errors too
    assert reconstruction_picture(image, image).shape == one.shape
    assert reconstruction_picture(image, image, image).shape[1] == 4 * 260 - 4


def test_volumes_have_pictures_too():
    volume = torch.rand(2, 20, 30, 8)
    assert segmentation_picture(volume, volume[:1].round(), volume[:1].round()).ndim == 3
    assert reconstruction_picture(volume, volume).ndim == 3


def test_a_wrong_class_is_red_and_a_right_one_is_green():
    images = [np.zeros((16, 16), np.float32)] * 3
    heads = classification_picture(images, ["a", "a", "a"], ["a", "b", None])[:32].astype(int)
    right, wrong, unknown = (heads[:, 132 * k : 132 * k + 128].reshape(-1, 3).max(0) for k in range(3))
    assert right[1] > 2 * right[0]
    assert wrong[0] > 2 * wrong[1]
    assert unknown[0] == unknown[1] == unknown[2] > 100


def test_a_sheet_has_rows_of_images_of_any_size():
    images = [np.zeros((64, 64)), np.zeros((128, 100)), np.zeros((10, 160))]
    picture = classification_picture(images, ["a"] * 3, [None] * 3, columns=2)
    assert picture.shape == (2 * (128 + 32 + 4) - 4, 2 * (160 + 4) - 4, 3)


def test_a_confusion_matrix_is_shaded_along_its_rows():
    small = confusion_picture(np.array([[90, 10], [0, 5]]), ["a", "b"])
    assert small.dtype == np.uint8
    large = confusion_picture(np.eye(12, dtype=int), [f"class {k}" for k in range(12)])
    assert large.shape[0] > small.shape[0]
    rows = confusion_picture(np.array([[100, 0], [0, 1]]), ["a", "b"])
    dark = (rows.astype(int).sum(-1) < 250) & (rows[..., 2] > rows[..., 0])  # both cells of the diagonal
    left, right = dark[:, : rows.shape[1] // 2 + 30], dark[:, rows.shape[1] // 2 + 30 :]
    assert left.sum() > 1000
    assert right.sum() > 1000
