"""Copies of training images are found."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.metrics import nearest_neighbours, standardised

WIDTH = 12


@pytest.fixture
def sets():
    """Training, test and new images of one distribution."""
    return torch.randn(300, WIDTH), torch.randn(400, WIDTH), torch.randn(400, WIDTH)


def test_new_images_are_as_far_from_the_training_set_as_test_images(sets):
    training, test, new = sets
    found = nearest_neighbours(new, training, test)
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert found.copies < 0.04


def test_copies_are_counted_and_named(sets):
    training, test, new = sets
    found = nearest_neighbours(torch.cat([training[[7, 5, 9]], new[:3]]), training, test)
    assert found.indices[:3].tolist() == [7, 5, 9]
    assert found.distances[:3].tolist() == [0, 0, 0]
    assert found.copies == 0.5


def test_a_set_of_near_copies_has_a_small_ratio(sets):
    training, test, _ = sets
    found = nearest_neighbours(training[:100] + 1e-3, training, test)
    assert found.copies == 1
    assert found.ratio < 0.01


def test_exact_copies_count_where_test_images_repeat_training_images_too(sets):
    training, _, new = sets
    found = nearest_neighbours(torch.cat([training[:2], new[:2]]), training, torch.cat([training[:50], new[:50]]))
    assert found.copies == 0.5


def test_the_nearest_is_that_of_all_pairs(sets):
    training, test, new = sets
    found = nearest_neighbours(new, training, test)
    pairs = (new[:, None] - training).double().norm(dim=2)  # (400, 300)
    assert torch.equal(found.indices, pairs.argmin(1))
    assert torch.allclose(found.distances, pairs.amin(1), rtol=1e-6)
    unseen = (test[:, None] - training).double().norm(dim=2).amin(1)
    assert found.ratio == pytest.approx(float(pairs.amin(1).median() / unseen.median()), rel=1e-6)


def test_standardised_images_differ_as_their_correlation_says():
    first, second = torch.rand(2, 1, 2, 8, 9)
    vectors = standardised(torch.stack([first, second]))
    r = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
    assert float((vectors[0] - vectors[1]).norm()) == pytest.approx(float((2 - 2 * r).sqrt()), rel=1e-5)


def test_contrast_and_brightness_do_not_hide_a_copy():
    training, test = torch.rand(20, 1, 8, 8), torch.rand(20, 1, 8, 8)
    found = nearest_neighbours(*map(standardised, (training[:5] * 0.5 + 0.3, training, test)))
    assert found.indices.tolist() == [0, 1, 2, 3, 4]
    assert found.copies == 1


def test_an_image_of_one_value_is_a_vector_of_zeros():
    assert torch.equal(standardised(torch.full((1, 1, 4, 4), 0.5)), torch.zeros(1, 16))


def test_sets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"generated \(3, 4\), training \(3, 5\), test \(3, 4\)"):
        nearest_neighbours(torch.rand(3, 4), torch.rand(3, 5), torch.rand(3, 4))
    with pytest.raises(ValueError, match=r"training \(0, 4\)"):
        nearest_neighbours(torch.rand(3, 4), torch.rand(0, 4), torch.rand(3, 4))
