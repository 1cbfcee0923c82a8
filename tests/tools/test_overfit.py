"""Networks learn four images by heart."""

from __future__ import annotations

import pytest

from flemme_monai.commands import overfit
from flemme_monai.commands.overfit import AIM

STEPS = 300
# each of another structure: a U, a head of context, branches, tokens; the command takes all
KINDS = ("classicunet", "eanet", "hrnet", "setr")


@pytest.mark.parametrize("key", [k if k == KINDS[0] else pytest.param(k, marks=pytest.mark.slow) for k in KINDS])
def test_a_network_learns_four_images(key):
    found = overfit.overfit(key, STEPS, parameters=300_000)
    assert found.dice >= AIM, f"Dice {found.dice:.3f} after {STEPS} steps"


def test_a_network_that_does_not_reach_the_aim_is_named(capsys):
    assert overfit.main(["classicunet", "--steps", "1", "--parameters", "30000"]) == 1
    assert "not reached" in capsys.readouterr().out
