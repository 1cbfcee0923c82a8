"""Mean and standard deviation get keys of their own."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from flemme_monai.transforms import SplitMeanStdd


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", [(4, 5), (4, 5, 3)])
def test_the_mean_stays_and_the_deviation_gets_a_key_of_its_own(channels, size):
    mean, deviation = torch.rand(2, channels, *size).unbind(0)
    out = SplitMeanStdd("pred")({"pred": torch.cat([mean, deviation]), "case": "a"})
    assert torch.equal(out["pred"], mean)
    assert torch.equal(out["std"], deviation)
    assert out["case"] == "a"


def test_the_mean_is_clipped_and_the_deviation_is_not():
    both = torch.tensor([-0.5, 1.5]).view(2, 1, 1)
    out = SplitMeanStdd()({"pred": both})
    assert out["pred"].item() == 0
    assert out["std"].item() == 1.5
    assert both[0].item() == -0.5  # what came in stays


def test_both_keep_the_meta_data():
    pred = MetaTensor(torch.rand(2, 4, 5), meta={"filename_or_obj": "a.nii.gz"})
    out = SplitMeanStdd()({"pred": pred})
    assert out["pred"].meta["filename_or_obj"] == out["std"].meta["filename_or_obj"] == "a.nii.gz"


def test_a_missing_key_is_named():
    with pytest.raises(KeyError, match="pred"):
        SplitMeanStdd()({"image": torch.rand(2, 4, 4)})
