"""Configs are JSON that is short to read."""

from __future__ import annotations

import json

import pytest

from flemme_monai.recipes import make_bundle
from flemme_monai.recipes.dump import WIDTH, dump
from flemme_monai.registry import ARCHITECTURES


def test_what_is_short_stands_on_one_line_and_what_holds_a_dictionary_does_not() -> None:
    config = {
        "size": [64, 64],
        "empty": {},
        "a": {"_target_": "x.Y", "keys": ["i"]},
        "b": {"c": {"d": None}},
        "e": [{}],
    }
    assert dump(config).splitlines() == [
        "{",
        '    "size": [64, 64],',
        '    "empty": {},',
        '    "a": {"_target_": "x.Y", "keys": ["i"]},',
        '    "b": {',
        '        "c": {"d": null}',
        "    },",
        '    "e": [',
        "        {}",
        "    ]",
        "}",
    ]


@pytest.mark.parametrize(("length", "lines"), [(WIDTH - 1, 3), (WIDTH, 5)])
def test_a_line_is_at_most_as_long_as_the_width_with_its_comma(length: int, lines: int) -> None:
    name = "x" * (length - len('    "a": {"b": [""]}'))
    found = dump({"a": {"b": [name]}}).splitlines()
    assert len(found) == lines
    assert (len(found[1]) == length) == (lines == 3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_but_white_space_changes(architecture: str) -> None:
    for path, text in make_bundle(f"{architecture}_cnn").items():
        if path.endswith(".json"):
            flat = path.endswith("sas.json")  # no list and no dictionary inside, which could stand on a line
            assert (json.dumps(json.loads(text), indent=4) + "\n" == text) == flat
            assert dump(json.loads(text)) == text
