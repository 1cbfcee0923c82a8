"""Networks learn four images by heart."""

from __future__ import annotations

import pytest

from flemme_monai.commands import overfit
from flemme_monai.commands.overfit import AIM

STEPS = 300
# each of another structure: a U, a head of context, branches, tokens, neighbouring slices; the command takes all
KINDS = ("classicunet", "eanet", "hrnet", "setr", "mepdnet")


@pytest.mark.parametrize("key", [k if k == KINDS[0] else pytest.param(k, marks=pytest.mark.slow) for k in KINDS])
def test_a_network_learns_four_images(key):
    found = overfit.overfit(key, STEPS, parameters=300_000)
    assert found.dice >= AIM, f"Dice {found.dice:.3f} after {STEPS} steps"


def test_a_network_that_does_not_reach_the_aim_is_named(capsys, tmp_path):
    table = tmp_path / "made" / "overfit.csv"
    assert overfit.main(["classicunet", "--steps", "1", "--parameters", "30000", "--output", str(table)]) == 1
    assert "not reached" in capsys.readouterr().out
    header, row = (line.split(",") for line in table.read_text(encoding="utf-8").splitlines())
    assert header == ["network", "parameters", "steps", "dice", "seconds"]
    assert row[0] == "classicunet"
    assert row[2] == "not reached"
