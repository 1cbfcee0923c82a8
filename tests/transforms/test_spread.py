"""Mean and spread go separate ways."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from flemme_monai.transforms import SplitSpreadd


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", [(4, 5), (4, 5, 3)])
def test_the_mean_stays_and_the_deviation_gets_a_key_of_its_own(channels, size):
    mean, deviation = torch.rand(2, channels, *size).unbind(0)
    out = SplitSpreadd("pred")({"pred": torch.cat([mean, deviation]), "case": "a"})
    assert torch.equal(out["pred"], mean)
    assert torch.equal(out["spread"], deviation)
    assert out["case"] == "a"


def test_the_mean_is_clipped_and_the_deviation_is_not():
    both = torch.tensor([-0.5, 1.5]).view(2, 1, 1)
    out = SplitSpreadd()({"pred": both})
    assert out["pred"].item() == 0
    assert out["spread"].item() == 1.5
    assert both[0].item() == -0.5  # what came in stays


def test_both_keep_the_meta_data():
    pred = MetaTensor(torch.rand(2, 4, 5), meta={"filename_or_obj": "a.nii.gz"})
    out = SplitSpreadd()({"pred": pred})
    assert out["pred"].meta["filename_or_obj"] == out["spread"].meta["filename_or_obj"] == "a.nii.gz"


def test_a_missing_key_is_named():
    with pytest.raises(KeyError, match="pred"):
        SplitSpreadd()({"image": torch.rand(2, 4, 4)})
