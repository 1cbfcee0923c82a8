"""What a run leaves is written whole or not at all, and in the form of its input."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from flemme_monai.io import (
    cell,
    restored_std,
    write_csv,
    write_figure,
    write_gif,
    write_image,
    write_nifti,
    write_png,
)

PIXELS = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
WRITERS = {
    "a.csv": lambda path: write_csv(path, ["a"], [[1], [2]]),
    "a.gif": lambda path: write_gif(path, [PIXELS, PIXELS + 1], [10, 20]),
    "a.nii.gz": lambda path: write_nifti(path, np.ones((1, 3, 4, 5), np.float32), {}),
    "colours.png": lambda path: write_png(path, PIXELS),
    "deep.png": lambda path: write_png(path, PIXELS.astype(np.uint16) * 1000),
    "figure.png": lambda path: write_figure(path, Figure()),
    "values.png": lambda path: write_image(path, np.ones((1, 3, 4))),
}


@pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=WRITERS)
def test_a_process_that_dies_while_it_writes_leaves_the_old_file(tmp_path, monkeypatch, name, write):
    write(tmp_path / name)
    assert (tmp_path / name).stat().st_size > 0
    (tmp_path / name).write_text("old", encoding="utf-8")

    def die(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / name)
    assert (tmp_path / name).read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_table_has_empty_cells_where_a_number_is_not_defined(tmp_path):
    write_csv(tmp_path / "a.csv", ["name", "value"], [["a, b", cell(1 / 3)], ["é", cell(float("nan"))]])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "value"], ["a, b", "0.333333"], ["é", ""]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[[-0.5, 0.5, 2.0]]]), np.array([[0], [128], [255]], np.uint8)),
        (np.array([[[-1, 7, 255]]]), np.array([[0], [7], [255]], np.uint8)),
        (np.array([[[-1, 256, 70000]]]), np.array([[0], [256], [65535]], np.uint16)),
    ],
)
def test_values_become_the_levels_of_a_png(tmp_path, values, expected):
    write_image(tmp_path / "a.png", values)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected)


def test_each_channel_of_an_uncertainty_has_its_own_units():
    ranges = {"intensity_range": ([0, -100], [10, 100])}
    assert (restored_std(torch.ones(2, 3, 4), ranges) == np.array([10, 200]).reshape(2, 1, 1)).all()
    assert (restored_std(torch.ones(2, 3, 4), {}) == 1).all()
