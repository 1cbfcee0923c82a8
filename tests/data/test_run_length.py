"""Run-length codes as Kaggle's GI tract challenge has them."""

from __future__ import annotations

import numpy as np
import pytest

from flemme_monai.data.run_length import decode, encode


def test_pixels_are_numbered_from_one_along_the_rows():
    mask = decode("3 2 10 1", (3, 4), "train.csv:2")
    expected = [[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert mask.tolist() == expected
    assert mask.dtype == np.uint8


def test_a_run_goes_on_in_the_next_row():
    assert decode("4 2", (2, 4), "").tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]


def test_the_first_and_the_last_pixel_can_be_in_the_mask():
    assert decode("1 1 12 1", (3, 4), "")[[0, 2], [0, 3]].tolist() == [1, 1]
    assert decode("1 12", (3, 4), "").all()


@pytest.mark.parametrize("code", ["", "  "])
def test_an_empty_code_is_an_empty_mask(code):
    assert not decode(code, (3, 4), "").any()
    assert encode(np.zeros((3, 4))) == ""


def test_a_hand_made_mask_has_its_code():
    assert encode(np.array([[1, 0, 1], [1, 1, 0]])) == "1 1 3 3"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_what_is_encoded_is_decoded_again(share):
    mask = (np.random.default_rng(0).random((13, 7)) < share).astype(np.uint8)
    assert np.array_equal(decode(encode(mask), mask.shape, ""), mask)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("3 2 10", "the code has 3 numbers; expected pairs"),
        ("3 x", "the code has the run '3 x'; expected two whole numbers"),
        ("-3 2", "the code has the run '-3 2'; expected two whole numbers"),
        ("3 2.5", "the code has the run '3 2.5'; expected two whole numbers"),
        ("0 2", "the code has the run '0 2'; expected a start and a length from 1"),
        ("3 0", "the code has the run '3 0'; expected a start and a length from 1"),
        ("3 4 5 1", "the run '5 1' begins at or before pixel 6"),
        ("8 1 2 1", "the run '2 1' begins at or before pixel 8"),
        ("11 3", "the run '11 3' ends at pixel 13; expected at most 12, the last of the 4x3 image"),
    ],
)
def test_a_malformed_code_is_refused_with_its_line(code, message):
    with pytest.raises(ValueError, match=rf"^train\.csv:17: {message}"):
        decode(code, (3, 4), "train.csv:17")
