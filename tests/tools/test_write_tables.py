"""The pages list the encoders, architectures and trained bundles that there are."""

from __future__ import annotations

import pytest
import write_tables

from flemme_monai import registry
from flemme_monai.registry import Encoder, Network


def test_the_tables_of_the_pages_are_up_to_date():
    assert write_tables.main(["--check"]) == 0


def test_a_new_row_is_a_new_cell_or_line(monkeypatch):
    monkeypatch.setitem(
        registry.FAMILIES, "fft", registry.Family("fft", "x.FFTFamily", "transforms", "x", "a paper", {})
    )
    monkeypatch.setitem(registry.ENCODERS, "fnetu", Encoder("fnetu", "x.FNetU", "U-shaped", "fft", "skip"))
    monkeypatch.setitem(registry.NETWORKS, "segnet", Network("segnet", "x.SegNet", "a net", "a paper", ("sem", "ae")))
    text = write_tables.encoders()
    assert "| `FFTFamily`, transforms |  | `FNetU` |  |" in text
    assert "| `SegNet` | a net | `SeM`, `AE` |" in text


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="has 0 tables"):
        write_tables.filled("README.md", "# a page")
