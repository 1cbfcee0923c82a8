"""One set of defaults: a class in Python and its bundle are the same network, and a config states only what differs."""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from flemme_monai.architectures import HSeM
from flemme_monai.backbones import CNN, UNet, VMambaU
from flemme_monai.recipes import make_bundle
from flemme_monai.recipes.networks import built_backbone
from flemme_monai.registry import ARCHITECTURES, ENCODERS, FAMILIES, pairs
from flemme_monai.utils.network_config import config_of

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = pairs(shipped=True)
FIRST = [next(pair for pair in SHIPPED if pair.startswith(f"{key}_")) for key in ARCHITECTURES]
NETWORKS = ("network_def", "autoencoder_def", "classifier_def")
# what repeats a default and is stated all the same
STATED = {
    **dict.fromkeys(("keys", "task", "score", "unit", "condition_key"), "tells one component from its siblings"),
    **dict.fromkeys(("slices", "cache", "overlap", "sw_batch_size"), "time and memory, which readers come to change"),
    **dict.fromkeys(("rotate_range", "min_zoom", "max_zoom", "std", "random_size"), "augmentation"),
    **dict.fromkeys(("include_background", "data_range", "maxv"), "what a number means"),
    "decollate": "what docs/settings.md says of it",
}


files_of = cache(make_bundle)


def configs(pair: str) -> dict[str, dict[str, Any]]:
    """The configs of a bundle by name."""
    files = {Path(path): text for path, text in files_of(pair).items()}
    return {p.stem: json.loads(text) for p, text in files.items() if p.suffix == ".json" and p.stem != "metadata"}


def components(node: Any) -> Iterator[dict[str, Any]]:
    """Every component of a config, those inside of others too."""
    if isinstance(node, dict) and isinstance(node.get("_target_"), str):
        yield node
    for inside in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from components(inside)


def repeated(component: dict[str, Any]) -> list[str]:
    """The arguments that a component states as its class has them."""
    try:
        parameters = inspect.signature(locate(component["_target_"])).parameters
    except ValueError:  # built in, without a signature
        return []
    defaults = {name: json.dumps(p.default, default=str) for name, p in parameters.items()}
    return [name for name, value in component.items() if defaults.get(name) == json.dumps(value)]


def called(node: Any, parser: ConfigParser) -> Any:
    """What a config's class gives in Python, called with what the config states."""
    if isinstance(node, str) and node[:1] in ("$", "@"):
        parser["asked"] = node
        return ConfigParser(parser.get()).get_parsed_content("asked")
    if not isinstance(node, dict):
        return node
    arguments = {name: called(value, parser) for name, value in node.items() if name != "_target_"}
    if arguments.pop("_disabled_", False):
        return None
    family = node.get("family")
    if family is not None and family.keys() == {"_target_"}:
        del arguments["family"]  # the class's own
    return locate(node["_target_"])(**arguments)


FAST = [next(p for p in SHIPPED if p.endswith(f"_{key}")) for key in ENCODERS]  # every encoder, every architecture
FAST += [next(p for p in SHIPPED if p.startswith(f"{key}_")) for key in ARCHITECTURES]


@pytest.mark.parametrize("pair", [p if p in FAST else pytest.param(p, marks=pytest.mark.slow) for p in SHIPPED])
def test_a_class_in_python_is_the_network_of_its_bundle(pair: str) -> None:
    bundle = configs(pair)
    for workflow, content in bundle.items():
        for name in filter(content.__contains__, NETWORKS[:2]):
            whole = {**bundle["train_diffusion"], **content} if workflow == "joint" else content
            config = {**whole, "trained": {}}
            with torch.device("meta"):
                in_python = called(config[name], ConfigParser(copy.deepcopy(config)))
                in_bundle = ConfigParser(config).get_parsed_content(name)
            assert type(in_python) is type(in_bundle)
            assert config_of(in_python) == config_of(in_bundle)


@pytest.mark.parametrize("pair", SHIPPED)
def test_a_network_states_only_what_differs_from_its_class(pair: str) -> None:
    for config in configs(pair).values():
        for component in components({name: config.get(name) for name in NETWORKS}):
            assert repeated(component) == [], component["_target_"]


@pytest.mark.parametrize("pair", FIRST)
def test_a_component_states_only_what_differs_from_its_class_or_what_is_to_be_read(pair: str) -> None:
    for config in configs(pair).values():
        for component in components(config):
            assert [name for name in repeated(component) if name not in STATED] == [], component["_target_"]


def test_a_statement_that_repeats_a_default_is_found() -> None:
    assert repeated({"_target_": "flemme_monai.backbones.UNet", "channels": [32, 64], "strides": 4}) == ["channels"]
    assert repeated({"_target_": "flemme_monai.backbones.ConvFamily", "norm": None, "depthwise": False}) == [
        "depthwise"
    ]


@pytest.mark.parametrize("pair", [pair for pair in SHIPPED if pair.partition("_")[2] in ENCODERS])
def test_the_family_stands_there_for_overrides_of_a_part_of_it(pair: str) -> None:
    for config in configs(pair).values():
        for name in filter(config.__contains__, NETWORKS):
            assert config[name]["backbone"]["family"]["_target_"].startswith("flemme_monai.backbones.")


def test_the_defaults_of_a_segmentation_network() -> None:
    backbone = config_of(HSeM(UNet(2, 1, 4)))["backbone"]
    assert (backbone["patch_size"], backbone["channels"], backbone["middle_channels"]) == (2, [32, 64], [128])
    assert (backbone["family"]["norm"], backbone["family"]["act"]) == ("instance", "leakyrelu")
    assert config_of(UNet(2, 1, 4)) == config_of(UNet(2, 1, 4, family=UNet.family_type(), position_embedding=False))


@pytest.mark.parametrize("name", ["ViT", "ViTU", "ViTD", "CNN", "SwinU", "VMambaD"])
def test_a_config_says_what_was_left_to_the_family(name: str) -> None:
    cls = locate(f"flemme_monai.backbones.{name}")
    config = config_of(cls(2, 1, 1))
    assert config["position_embedding"] is name.startswith("ViT")
    assert config["family"] == config_of(cls.family_type())
    assert config["decoder_family"] is None  # the encoder's


class Mine(VMambaU):
    """A user's encoder, whose own ``family`` is a word."""

    def __init__(self, family: str = "small", position_embedding: bool | None = None) -> None:
        super().__init__(2, 1, 1, position_embedding=position_embedding)


class Narrow(CNN):
    """A user's encoder without such arguments."""

    def __init__(self, width: int) -> None:
        super().__init__(2, 1, 1, channels=(width,))


def test_a_config_has_a_subclass_s_own_arguments() -> None:
    assert config_of(Mine()) == {
        "_target_": f"{__name__}.Mine",
        "family": "small",
        "position_embedding": False,
    }
    assert config_of(Narrow(8)) == {"_target_": f"{__name__}.Narrow", "width": 8}


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, ["16*n", "16*n"]),
        ({"network_def#backbone#strides": [[2, 4], 2], "network_def#backbone#patch_size": 1}, ["8*n", "16*n"]),
        ({"network_def#backbone#channels": [8, 16, 32], "spatial_dims": 3}, ["32*n"] * 3),
    ],
)
def test_sizes_in_the_metadata_are_of_the_network_as_it_is_built(settings: dict[str, Any], shape: list[str]) -> None:
    state = torch.get_rng_state()
    files = make_bundle("sem_unet", settings=settings)
    image = json.loads(files["configs/metadata.json"])["network_data_format"]["inputs"]["image"]
    assert image["spatial_shape"] == shape
    assert torch.equal(torch.get_rng_state(), state)


def test_a_config_whose_backbone_is_built_stays_as_it_is() -> None:
    config = configs("edm_unet")["inference"]
    before = json.dumps(config)
    assert built_backbone(config).size_divisor == [8, 8]
    assert json.dumps(config) == before
    assert "%checkpointloader" in config["handlers"]


# ---- the page of settings


def rows() -> Iterator[tuple[str, str, str, list[str]]]:
    """Class, setting, default and what bundles state, of the page's table of the network's settings."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").partition("\n## The network's settings\n")[2]
    for names, setting, default, stated in re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| `(\w+)` \| (\S[^|]*) \| ([^|]*)\|", page, re.MULTILINE
    ):
        values = re.findall(r"\[[^]]*\]|[\w.]+", re.sub(r"\([^)]*\)", "", stated))
        for name in re.findall(r"\w+", names):
            yield name, setting, default, values


def class_of(name: str) -> type:
    places = ("backbones", "backbones.encoder_decoder", "architectures")
    found = (locate(f"flemme_monai.{place}.{name}") for place in places)
    return next(filter(None, found))


def defaults(cls: type) -> dict[str, str]:
    """The defaults of a class as the page writes them."""
    given = {name: p.default for name, p in inspect.signature(cls).parameters.items() if p.default is not p.empty}
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return {name: str(value).lower() for name, value in lists.items()}


def test_the_page_of_settings_has_the_classes_defaults() -> None:
    for name, setting, default, _ in rows():
        assert defaults(class_of(name))[setting] == default, (name, setting)


def test_the_page_of_settings_has_all_settings_of_the_networks() -> None:
    known = {(name, setting) for name, setting, _, _ in rows()}
    pages = {name for name, _ in known}
    assert {"EncoderDecoder", "ConditioningConfig", *(row.name for row in FAMILIES.values())} <= pages
    assert {ARCHITECTURES[key].name for key in ("hsem", "hae", "clm", "ddpm", "edm", "sdm", "dsem", "ldm")} <= pages
    given = {"residual", "sigma_data", "alignment", "autoencoder"}  # by settings of the whole bundle, or joint.json
    missing = {(name, setting) for name in pages for setting in defaults(class_of(name))} - known
    assert [row for row in missing if row[1] not in given] == []


def test_the_page_of_settings_says_what_bundles_state() -> None:
    found: dict[tuple[str, str], set[str]] = {}
    networks = [config.get(name) for pair in SHIPPED for config in configs(pair).values() for name in NETWORKS]
    for component in components(networks):
        for setting, value in component.items():
            if isinstance(value, dict) or str(value).startswith("@"):
                continue
            words = re.findall(r"'(\w+)'", value) if str(value).startswith("$") else [str(value).lower()]
            for cls in locate(component["_target_"]).__mro__:
                found.setdefault((cls.__name__, setting), set()).update(words)
    for name, setting, _, stated in rows():
        assert set(stated) == found.get((name, setting), set()), (name, setting)
