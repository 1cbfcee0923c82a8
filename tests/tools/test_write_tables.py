"""The pages list the encoders, architectures and trained bundles that there are."""

from __future__ import annotations

import re

import pytest
import write_tables

from flemme_monai import registry
from flemme_monai.registry import Encoder


def test_the_tables_of_the_pages_are_up_to_date():
    assert write_tables.main(["--check"]) == 0


def test_a_new_row_is_a_new_cell_or_line(monkeypatch):
    monkeypatch.setitem(
        registry.FAMILIES, "fft", registry.Family("fft", "x.FFTFamily", "transforms", "x", "a paper", {})
    )
    monkeypatch.setitem(registry.ENCODERS, "fnetu", Encoder("fnetu", "x.FNetU", "U-shaped", "fft", "skip"))
    assert "| `FFTFamily`, transforms |  | `FNetU` |  |" in write_tables.encoders()


def test_a_network_says_what_it_serves_and_why_not_the_rest():
    lines = {line.split("`")[1]: line for line in write_tables.networks().splitlines() if line.startswith("| `")}
    assert lines.keys() == registry.NETWORKS.keys()
    (number,) = set(re.findall(r"no \((\d+)\)", lines["classicunet"]))
    assert f"\n{number}. needs an image from a latent alone: its skips" in write_tables.networks()
    assert lines["classicunet"].count("**yes**") == len(registry.NETWORKS["classicunet"].shipped)


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="has 0 tables"):
        write_tables.filled("README.md", "# a page")
