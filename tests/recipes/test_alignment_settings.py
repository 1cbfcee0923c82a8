"""``stn`` in a bundle: one network in training, evaluation and inference, a loss with its penalty, and ``sas.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from flemme_monai.architectures import SpatialTransformer
from flemme_monai.losses import AlignmentLoss
from flemme_monai.recipes import make_bundle

BACKBONE = {"channels": [4, 8], "patch_channels": 4, "middle_channels": [8]}


def parsed(pair: str, *names: str, **settings: Any) -> ConfigParser:
    """The configs of a bundle, each over the ones before it."""
    files = {Path(path).stem: text for path, text in make_bundle(pair).items() if path.endswith(".json")}
    parser = ConfigParser()
    for name in names:
        for key, value in json.loads(files[name]).items():
            parser[key] = value
    parser.update({"device": "cpu", "num_classes": 3, **settings})
    if pair.endswith("_unet"):
        parser.update({f"network_def#backbone#{name}": widths for name, widths in BACKBONE.items()})
    return parser


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("pair", ["sem_unet", "hsem_unet"])
@pytest.mark.parametrize("word", [True, "true", False, "False"])
def test_a_step_of_training_has_the_penalty_where_stn_is_true(pair, dims, word):
    aligned = str(word).lower() == "true"
    size = [16] * dims
    batch = {"image": torch.randn(2, 1, *size), "label": torch.randint(0, 3, (2, 1, *size)).float()}
    parser = parsed(pair, "train", stn=word, stn_penalty=0.5, spatial_dims=dims, image_size=size, epochs=1)
    parser["train"]["handlers"], parser["train"]["dataloader"] = [], [batch]
    network = parser.get_parsed_content("network")
    assert isinstance(network.alignment, SpatialTransformer) == aligned
    assert parser.get_parsed_content("network_settings")["stn"] is aligned
    if aligned:
        torch.nn.init.constant_(network.alignment.head.bias, 0.2)
    before = [p.detach().clone() for p in network.parameters()]
    trainer = parser.get_parsed_content("train#trainer")
    trainer.run()
    loss, output = trainer.loss_function, trainer.state.output[0]
    assert isinstance(loss, AlignmentLoss) == aligned
    assert output["pred"].shape == (3, *size)
    total = sum(float(term) for term in loss.recorded.values())
    assert float(output["loss"]) == pytest.approx(total, abs=1e-5)
    assert list(loss.recorded) == ["dice", "ce", *(["alignment"] if aligned else [])]
    if aligned:
        limits = network.alignment.limits
        moved = limits * torch.tanh(0.2 / limits)
        assert float(loss.recorded["alignment"]) == pytest.approx(0.5 * float(moved.square().sum()), rel=1e-4)
    assert any((p != q).any() for p, q in zip(network.parameters(), before))


@pytest.mark.parametrize("pair", ["sem_unet", "hsem_unet", "sem_nnunet"])
def test_training_and_inference_have_one_alignment(pair):
    files = make_bundle(pair)
    train, inference = (json.loads(files[f"configs/{name}.json"]) for name in ("train", "inference"))
    assert train["network_def"]["alignment"] == inference["network_def"]["alignment"]
    assert inference["stn"] == "$@trained.get('stn', False)"
    for trained, there in (({}, False), ({"stn": True}, True)):
        parser = parsed(pair, "inference", trained=trained)
        found = parser.get_parsed_content("network_def").alignment
        assert isinstance(found, SpatialTransformer) == there


def test_its_settings_are_set_below_it():
    parser = parsed("sem_unet", "train", stn=True, **{"network_def#alignment#transform": "rigid"})
    assert parser.get_parsed_content("network_def").alignment.transform == "rigid"


@pytest.mark.parametrize(("channels", "dims"), [(1, 2), (3, 2), (1, 3)])
def test_sas_turns_on_all_three(channels, dims):
    parser = parsed(
        "hsem_unet", "train", "sas", in_channels=channels, spatial_dims=dims, image_size=[16] * dims, ckpt_dir="w"
    )
    assert isinstance(parser.get_parsed_content("network_def").alignment, SpatialTransformer)
    assert parser.get_parsed_content("pretrained") == str(Path("w", "pretrained.pt"))
    found = parser.get_parsed_content("augmentation")
    colour, photos = 0.3 * (channels == 3), 0.5 * (dims == 2)
    assert [found[name] for name in ("saturation", "hue", "screen_photo")] == [colour, colour, photos]
    assert all(found[name] > 0 for name in ("flip", "rotate", "brightness", "contrast", "blur"))


def test_sas_sets_nothing_that_training_does_not_have():
    files = make_bundle("sem_unet")
    train, sas = (json.loads(files[f"configs/{name}.json"]) for name in ("train", "sas"))
    assert {name.partition("#")[0] for name in sas} <= train.keys()
