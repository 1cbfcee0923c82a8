"""Rows of cases under their captions."""

from __future__ import annotations

import numpy as np

from flemme_monai.visualize import Example, Tile, example_grid, reconstruction_row, upright


def ramp(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 64, dtype=np.float32).reshape(1, 8, 8)


def test_input_target_and_output_have_one_window() -> None:
    target = ramp(0.2, 0.8)
    cells = reconstruction_row(Example("a", ramp(-0.1, 1.1), target, target.copy()))
    assert [tile.caption for tile in cells] == ["a: input", "target", "output", "error x 5"]
    assert np.array_equal(cells[1].picture, cells[2].picture)
    assert (cells[0].picture == 0).mean() > 0.2
    assert (cells[0].picture == 255).mean() > 0.2
    assert not cells[3].picture.any()


def test_a_target_that_is_the_input_is_shown_once() -> None:
    cells = reconstruction_row(Example("a", ramp(0, 1), ramp(0, 1), ramp(0, 1)))
    assert [tile.caption for tile in cells] == ["a: input", "output", "error x 5"]


def test_pictures_of_a_sheet_are_aligned() -> None:
    white = np.full((40, 30, 3), 255.0)
    picture = example_grid("", [[Tile(white), Tile(white)], [Tile(white)]])
    columns = np.flatnonzero((picture == 255).all(2).any(0))
    rows = np.flatnonzero((picture == 255).all(2).any(1))
    assert len(columns) == 60
    assert len(rows) == 80
    assert (picture[rows[-1], columns[0]] == 255).all()
    assert (picture[rows[-1], columns[-1]] == 0).all()


def test_a_large_picture_becomes_a_tile() -> None:
    picture = example_grid("", [[Tile(np.full((1024, 512, 3), 255.0))]], tile=100)
    assert (picture == 255).all(2).sum() == 100 * 50


def test_a_picture_of_three_channels_has_colours() -> None:
    image = np.concatenate([ramp(0, 1), ramp(0, 1) * 0, ramp(0, 1)])
    assert upright(image, volume=False)[..., 1].max() == 0
    assert upright(image, volume=True)[..., 1].max() == 255
    assert np.isfinite(upright(np.full((1, 4, 4), np.nan), volume=False)).all()
