"""Errors in red, and the predictions of a hierarchical network's levels."""

from __future__ import annotations

import numpy as np
import torch

from flemme_monai.visualize import level_picture, overlay_errors, segmentation_picture


def test_errors_are_red_and_what_is_right_is_not() -> None:
    gray = np.full((4, 4, 3), 100.0, np.float32)
    truth = np.zeros((4, 4), int)
    truth[:, :2] = 1
    labels = truth.copy()
    labels[0, 0], labels[0, 3], labels[1, 1] = 0, 1, 2  # missed, false, and of another class
    marked = overlay_errors(gray, labels, truth)
    red = (marked[..., 0] > marked[..., 1] + 50) & (marked[..., 0] > marked[..., 2] + 50)
    assert sorted(zip(*np.nonzero(red))) == [(0, 0), (0, 3), (1, 1)]
    assert (marked[3, 3] == 100).all()
    np.testing.assert_array_equal(gray, 100.0)


def test_a_segmentation_with_its_label_has_a_picture_of_errors() -> None:
    image, label = torch.rand(1, 16, 16), torch.zeros(1, 16, 16, dtype=torch.int64)
    label[:, :8] = 1
    right, wrong = segmentation_picture(image, label, label), segmentation_picture(image, 1 - label, label)
    assert right.shape[1] > 1.3 * segmentation_picture(image, label).shape[1] * 1.4

    def reds(picture: np.ndarray) -> int:
        last = picture[:, -200:].astype(int)
        return int(((last[..., 0] > 150) & (last[..., 1] < 110) & (last[..., 2] < 110)).sum())

    assert reds(right) == 0
    assert reds(wrong) > 1000


def test_levels_are_shown_at_the_images_size() -> None:
    image = torch.rand(1, 16, 16)
    levels = [torch.rand(3, 4, 4), torch.rand(3, 8, 8), torch.rand(1, 16, 16)]
    picture = level_picture(image, levels)
    alone = level_picture(image, [])
    assert picture.shape[0] == alone.shape[0]
    assert 4 * alone.shape[1] <= picture.shape[1] <= 4 * alone.shape[1] + 12
    volume = level_picture(torch.rand(1, 16, 16, 8), [torch.rand(2, 8, 8, 4)])
    assert volume.shape[0] == alone.shape[0]
