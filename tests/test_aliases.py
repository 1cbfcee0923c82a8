"""Dotted names in bundles of version 0.4.0 lead to what they led to."""

from __future__ import annotations

from functools import partial
from pydoc import locate

import pytest

from flemme_monai.diffusion import AveragedInferer, HeunSampler, SamplingInferer

RENAMED = {
    "backbones.Conditioning": "backbones.ConditioningConfig",
    "diffusion.DenoisingPrepareBatch": "diffusion.SchedulerPrepareBatch",
    "diffusion.ImageWay": "diffusion.ImageInterpolation",
    "diffusion.ScheduleSampler": "diffusion.SchedulerSampler",
    "diffusion.SeedWay": "diffusion.SeedInterpolation",
    "diffusion.SigmaPrepareBatch": "diffusion.EDMPrepareBatch",
    "diffusion.StartNoise": "diffusion.InitialNoise",
    "handlers.CaseReport": "handlers.SaveCaseMetrics",
    "handlers.LatentPicture": "handlers.SaveLatentTSNE",
    "handlers.Report": "handlers.RunSummary",
    "handlers.RunState": "handlers.TrainingCheckpoint",
    "handlers.SaveWay": "handlers.SaveInterpolation",
    "inferers.BetweenInferer": "inferers.InterpolationInferer",
    "optimizers.parameter_groups": "optim.parameter_groups",
    "optimizers.warmup_schedule": "optim.warmup_schedule",
    "transforms.FinalOutputd": "transforms.FirstOutputd",
    "transforms.LoadCased": "transforms.LoadImageAndLabeld",
    "transforms.SplitSpreadd": "transforms.SplitMeanStdd",
    "utils.plain_errors": "utils.install_one_line_errors",
}


@pytest.mark.parametrize(("former", "name"), RENAMED.items(), ids=RENAMED)
def test_a_former_name_is_that_of_the_same_thing(former: str, name: str) -> None:
    found = locate(f"flemme_monai.{former}")
    assert (found.func if isinstance(found, partial) else found) is locate(f"flemme_monai.{name}")


def test_the_deviation_has_its_former_key_under_the_former_name() -> None:
    assert locate("flemme_monai.transforms.SplitSpreadd")(keys="pred").std_key == "spread"


def test_former_arguments_of_samplers_mean_what_they_meant(caplog: pytest.LogCaptureFixture) -> None:
    former = {"churn": 4.0, "churn_min": 0.1, "churn_max": 2.0, "noise_scale": 1.01}
    sampler = HeunSampler(6, **former)
    assert vars(sampler) == vars(HeunSampler(6, s_churn=4.0, s_tmin=0.1, s_tmax=2.0, s_noise=1.01))
    assert "churn of HeunSampler is now called s_churn" in caplog.messages
    with pytest.raises(ValueError, match="churn and s_churn are one setting under two names; give s_churn alone"):
        HeunSampler(6, churn=4.0, s_churn=2.0)
    for inferer in SamplingInferer, AveragedInferer:
        assert inferer(sampler, guidance=2.0).guidance_scale == 2.0
    assert [message for message in caplog.messages if "guidance" in message] == [
        "guidance of SamplingInferer is now called guidance_scale",
        "guidance of AveragedInferer is now called guidance_scale",
    ]
