"""Which images may be negatives: by hand, and the reason for it."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.ssl import allowed_negatives


def test_neighbouring_slices_of_a_case_are_no_negatives():
    cases, positions = ["a", "a", "a", "b"], [0, 2, 3, 2]
    assert allowed_negatives(cases, positions, 2).tolist() == [
        [False, False, True, True],
        [False, False, False, True],
        [True, False, False, True],
        [True, True, True, False],
    ]


def test_at_distance_0_only_the_same_slice_is_no_negative():
    allowed = allowed_negatives(["a", "a", "a"], [4, 5, 4], 0)
    assert allowed.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


def test_other_cases_are_negatives_at_any_distance():
    allowed = allowed_negatives(list("abcd"), [0, 0, 1, 1], 100)
    assert torch.equal(allowed, ~torch.eye(4, dtype=torch.bool))


def test_the_images_of_a_bank():
    cases, positions = torch.tensor([3, 7]), torch.tensor([10, 0])
    bank_cases, bank_positions = torch.tensor([7, 3, 3, -1]), torch.tensor([1, 12, 13, 10])
    allowed = allowed_negatives(cases, positions, 2, bank_cases, bank_positions)
    assert allowed.tolist() == [[True, False, True, True], [False, True, True, True]]


def test_names_and_numbers_give_the_same():
    names, numbers = ["x", "y", "x", "z"], torch.tensor([1, 5, 1, 9])
    positions = [0, 1, 2, 3]
    assert torch.equal(allowed_negatives(names, positions, 2), allowed_negatives(numbers, torch.tensor(positions), 2))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="distance is -1; expected 0 or more slices"):
        allowed_negatives(["a"], [0], -1)
    with pytest.raises(ValueError, match="there are 2 cases and 1 positions; expected one of each an image"):
        allowed_negatives(["a", "b"], [0], 1)
