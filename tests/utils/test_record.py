"""What weights mean is kept beside them, compared, and nothing but a network of this package is built from it."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from flemme_monai.architectures import AE, VAE, HSeM, SeM
from flemme_monai.backbones import ConditioningConfig, UNet
from flemme_monai.utils import check_trained, trained_network, trained_settings
from flemme_monai.utils.network_config import build_like, build_network, class_path, config_of, differences
from flemme_monai.utils.record import RECORD, check_record, make_record, read_record, write_record
from tests.networks import network as table_network

SETTINGS = {"num_classes": 2, "schedule": "cosine", "image_size": [32, 32]}


def small(channels: tuple[int, ...] = (8, 8), **settings: Any) -> nn.Module:
    return SeM(UNet(2, 1, 2, channels=channels, patch_channels=8, middle_channels=(8,), **settings))


def recorded(folder: Path, network: nn.Module, **settings: Any) -> Path:
    """Where weights would lie, beside the record of a network."""
    write_record(folder, make_record(network, {**SETTINGS, **settings}))
    return folder / "model.pt"


PAIRS = ("HSeM-SwinU", "HAE-DNet", "ClM-ViT", "VAE-CNN", "EDM-UNet", "SDM-VMambaU", "LDM-VMamba")


@pytest.mark.parametrize("pair", PAIRS)
def test_a_network_is_built_again_from_its_config(pair: str) -> None:
    network = table_network(*pair.split("-"), 2)
    config = json.loads(json.dumps(config_of(network)))
    again = build_network(config)
    assert type(again) is type(network)
    assert config_of(again) == config
    assert repr(again) == repr(network)
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (network, again)]
    assert shapes[0] == shapes[1]


def test_a_config_names_public_classes_and_every_argument() -> None:
    conditioning = ConditioningConfig(context="class", context_size=4, injection="gate")
    config = config_of(AE(UNet(3, 1, 1, conditioning=conditioning)))
    assert config["_target_"] == "flemme_monai.architectures.AE"
    assert config["residual"] is False
    backbone = config["backbone"]
    assert backbone["_target_"] == "flemme_monai.backbones.UNet"
    assert (backbone["spatial_dims"], backbone["num_blocks"], backbone["channels"]) == (3, 2, [32, 64])
    assert backbone["conditioning"]["context_size"] == 4


def test_a_copy_keeps_its_config_and_the_state_dict_knows_nothing_of_it() -> None:
    network = small()
    assert config_of(copy.deepcopy(network)) == config_of(network)
    assert not any("config" in key for key in network.state_dict())


def test_an_argument_that_is_missing_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'out_channels'"):
        UNet(2, 1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'num_block'"):
        UNet(2, 1, 2, num_block=1)


class Ours(SeM):
    """A user's architecture on top of one of these."""

    def __init__(self, backbone: nn.Module, temperature: float = 1.0) -> None:
        super().__init__(backbone)
        self.temperature = temperature


class Theirs(nn.Module):
    """A user's network from the ground up."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, width, 1)


def test_a_subclass_has_its_own_arguments() -> None:
    config = config_of(Ours(UNet(2, 1, 2), 0.5))
    assert config["_target_"] == class_path(Ours)
    assert config["temperature"] == 0.5
    with pytest.raises(ValueError, match="Ours'; expected a network of flemme_monai"):
        build_network(config)


def test_of_a_foreign_network_the_class_is_compared_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    weights = recorded(tmp_path, Theirs(4))
    check_record(read_record(weights), tmp_path / RECORD, Theirs(4), SETTINGS)
    assert f"keeps no settings of {class_path(Theirs)}: give them as in training" in caplog.text
    with pytest.raises(ValueError, match=r"network_def#_target_ is 'flemme_monai\.architectures\.SeM' here and "):
        check_record(read_record(weights), tmp_path / RECORD, small(), SETTINGS)
    with pytest.raises(ValueError, match="Theirs'; expected a network of flemme_monai"):
        trained_network(small(), weights)


def test_differences_are_named_as_on_the_command_line() -> None:
    here, there = config_of(HSeM(UNet(2, 1, 2), "add")), config_of(HSeM(UNet(2, 1, 3)))
    assert [tuple(found) for found in differences(here, there, "network_def")] == [
        ("network_def#backbone#out_channels", 2, 3),
        ("network_def#fusion", "add", "cat"),
    ]


def test_what_makes_a_network_faster_alone_is_no_difference_and_stays_the_users(tmp_path: Path) -> None:
    here, there = small(checkpointing=True, channels_last=True), small()
    assert differences(config_of(here), config_of(there), "network_def") == []
    weights = recorded(tmp_path, small((8, 16)))
    backbone = config_of(trained_network(here, weights))["backbone"]
    assert (backbone["channels"], backbone["checkpointing"], backbone["channels_last"]) == ([8, 16], True, True)


def test_an_argument_that_an_earlier_version_did_not_have_is_no_difference() -> None:
    there = config_of(small())
    there = {**there, "backbone": {k: v for k, v in there["backbone"].items() if k != "drop_path"}}
    assert differences(config_of(small()), there, "network_def") == []
    assert isinstance(build_network(there), SeM)


def test_a_class_under_its_former_name_is_no_difference_and_is_built() -> None:
    network = small(conditioning=ConditioningConfig(context="class", context_size=4, channels=8))
    there = json.loads(json.dumps(config_of(network)).replace("ConditioningConfig", "Conditioning"))
    assert there != config_of(network)
    assert differences(config_of(network), there, "network_def") == []
    assert config_of(build_network(there)) == config_of(network)
    assert config_of(build_like(small(checkpointing=True), there)) == config_of(
        small(conditioning=network.backbone.conditioning, checkpointing=True)
    )


def test_the_recorded_network_is_taken_and_the_random_state_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    weights, network = recorded(tmp_path, small((8, 16))), small().eval()
    before = torch.random.get_rng_state()
    taken = trained_network(network, weights)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert config_of(taken) == config_of(small((8, 16)))
    assert not taken.training
    assert f"{tmp_path / RECORD}: network_def#backbone#channels [8, 16]" in caplog.text
    assert trained_network(taken, weights) is taken


def test_without_a_record_all_is_as_the_config_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    network, weights = small(), tmp_path / "model.pt"
    assert trained_network(network, weights) is network
    assert trained_settings(weights) == trained_settings(None) == {}
    check_trained(weights, SETTINGS)
    check_record(read_record(weights), tmp_path / RECORD, network, SETTINGS)
    assert caplog.messages == [f"no record in {tmp_path / RECORD}: network and settings are as this config says"]


def test_settings_that_contradict_are_all_named(tmp_path: Path) -> None:
    weights = recorded(tmp_path, small())
    assert trained_settings(weights) == SETTINGS
    check_trained(weights, {**SETTINGS, "image_size": 64, "seed": 3})
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check_trained(weights, {"schedule": "linear_beta", "num_classes": 5})
    assert str(error.value) == (
        f"schedule is 'linear_beta' here and 'cosine' in {tmp_path / RECORD}; num_classes is 5 here and 2 there: "
        "set it as there or leave it out, or name the folder of other weights"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[1]", "expected 'network' and 'settings'"),
        ('{"network": {}}', "expected 'network' and 'settings'"),
        (
            '{"network": {}, "settings": {"num_classes": "$__import__(\'os\')"}}',
            "holds the expression \"$__import__('os')\"",
        ),
        ('{"network": {"_target_": "@run"}, "settings": {}}', "holds the expression '@run'"),
        ('{"network": {}, "settings": {"%x": 1}}', "holds the expression '%x'"),
        ('{"network": {}, "settings": {"seed": {"_target_": "os.getcwd"}}}', "holds no plain value of 'seed'"),
        ('{"network": {}, "settings": {"seed": [[{"_target_": "os.getcwd"}]]}}', "holds no plain value of 'seed'"),
    ],
)
def test_a_damaged_or_hostile_record_is_refused_by_its_name(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(text, encoding="utf-8")
    for use in (read_record, trained_settings, lambda weights: trained_network(small(), weights)):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            use(tmp_path / "model.pt")
        assert str(error.value).startswith(str(tmp_path / RECORD))
        assert words in str(error.value)


TARGETS = [
    "os.system",
    "flemme_monai.utils.record.os.system",
    "flemme_monai.backbones.nn.Linear",
    "flemme_monai.utils.writable_dir",
    "flemme_monai.backbones.encoder_decoder",
    "flemme_monai.architectures.Pyramid",
    "flemme_monai.architectures..SeM",
    3,
]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_a_network_of_this_package_is_built(target: Any, tmp_path: Path) -> None:
    record = {"network": {"_target_": target, "command": "touch hostile"}, "settings": {}}
    (tmp_path / RECORD).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match=r"network\.json: _target_ is .*; expected a network of flemme_monai"):
        trained_network(small(), tmp_path / "model.pt")


def test_arguments_that_a_class_does_not_take_are_named_with_the_file(tmp_path: Path) -> None:
    record = make_record(small(), SETTINGS)
    record["network"]["backbone"] = {**record["network"]["backbone"], "a_later_setting": 1}
    write_record(tmp_path, record)
    with pytest.raises(ValueError, match=r"network\.json: flemme_monai\.backbones\.UNet cannot be built: .*a_later_"):
        trained_network(small(), tmp_path / "model.pt")


def test_a_latent_vector_bakes_the_size_of_its_images() -> None:
    from flemme_monai.backbones import CNN

    network = VAE(CNN(2, 1, 1), latent_size=8, image_size=(32, 32))
    assert config_of(network)["image_size"] == [32, 32]
