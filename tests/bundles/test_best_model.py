"""What a bundle's validation measures when it chooses the best model."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks import one_hot

from flemme_monai.commands.places import BUNDLES

# of an organ: a perfect case, and one that does not have it and in which it is predicted everywhere
PREDICTED = torch.stack([torch.ones(1, 4, 4), torch.ones(1, 4, 4)])
LABELS = torch.stack([torch.ones(1, 4, 4), torch.zeros(1, 4, 4)])
SEGMENTATION = ["sem_unet", "hsem_vit"]


def parsed(bundle: str, *names: str, **settings: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(BUNDLES / bundle / "configs" / f"{name}.json") for name in names])
    parser.update(settings)
    return parser


def measured(metric: Any) -> float:
    metric.metric_fn([one_hot(item, 2, dim=0) for item in PREDICTED], [one_hot(item, 2, dim=0) for item in LABELS])
    return metric.metric_fn.aggregate().item()


@pytest.mark.parametrize("bundle", SEGMENTATION)
@pytest.mark.parametrize("names", [("train",), ("train", "evaluate")])
@pytest.mark.parametrize(
    ("choice", "expected"), [({}, 0.5), ({"empty_class": "one"}, 1), ({"empty_class": "ignore"}, 1)]
)
def test_an_absent_organ_that_is_predicted_everywhere_costs(bundle, names, choice, expected):
    parser = parsed(bundle, *names, num_classes=2, **choice)
    assert measured(parser.get_parsed_content("validate#key_metric#dice")) == pytest.approx(expected)
    assert measured(parser.get_parsed_content("validate#additional_metrics#iou")) == pytest.approx(expected)


@pytest.mark.parametrize("bundle", SEGMENTATION)
def test_it_costs_in_training_too(bundle):
    metric = parsed(bundle, "train", num_classes=2).get_parsed_content("train#key_metric#train_dice")
    logits = torch.cat([torch.zeros_like(PREDICTED), PREDICTED], 1)  # (2, 2, 4, 4)
    metric.update(metric._output_transform({"pred": logits, "label": LABELS}))
    assert metric.metric_fn.aggregate().item() == pytest.approx(0.5)


@pytest.mark.parametrize("bundle", SEGMENTATION)
def test_what_is_predicted_of_an_absent_organ_is_reported(bundle):
    parser = parsed(bundle, "train", "evaluate", num_classes=2)
    assert measured(parser.get_parsed_content("validate#additional_metrics#absent_class_voxels")) == 16
    assert "absent_class_mm3" in parser.get("validate#additional_metrics")


@pytest.mark.parametrize(("bundle", "config"), [("ddpm_cnn", "train"), ("ldm_cnn", "train_diffusion")])
def test_the_average_of_weights_is_validated_wherever_it_is_among_the_handlers(bundle, config):
    handlers = json.loads((BUNDLES / bundle / "configs" / f"{config}.json").read_text(encoding="utf-8"))["train"][
        "handlers"
    ]
    handlers.insert(0, {"_target_": "monai.handlers.StatsHandler"})
    small = {"image_size": [16, 16], "num_workers": 0}
    parser = parsed(bundle, config, **small, **{"train#handlers": handlers})
    average = parser.get_parsed_content("ema").ema_model
    assert parser.get_parsed_content("validate#evaluator").network is average
    assert average is not parser.get_parsed_content("network")


def test_latents_are_drawn_in_training_and_not_in_validation():
    parser = parsed("ldm_cnn", "train_diffusion", image_size=[16, 16])
    parser.get_parsed_content("latent_space").scale_factor.fill_(1.0)
    images = torch.rand(2, 1, 16, 16) * 2 - 1
    for part, equal in (("validate", True), ("train", False)):
        prepare = parser.get_parsed_content(f"{part}#prepare_batch")
        latents = [prepare({"image": images}, "cpu")[0] for _ in range(2)]
        assert torch.equal(*latents) is equal
