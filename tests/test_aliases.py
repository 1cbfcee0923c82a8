"""Dotted names in bundles of version 0.4.0 lead to what they led to."""

from __future__ import annotations

from functools import partial
from pydoc import locate

import pytest

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
