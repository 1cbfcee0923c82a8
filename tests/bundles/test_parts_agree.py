"""Parts of a bundle that belong together agree: networks, imports, preprocessing, the schedule and its run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from test_docs import rows

from flemme_monai.commands.places import BUNDLES
from flemme_monai.registry import ARCHITECTURES, pairs
from flemme_monai.utils.settings import default_of

SHIPPED = pairs(shipped=True)

SCHEDULE = (
    "epochs",
    "learning_rate",
    "warmup_epochs",
    "decay",
    "decay_options",
    "max_steps",
    "weight_decay",
    "layer_decay",
)
OVERLAYS = ("evaluate", "multi_gpu_train", "interpolate", "pretrain", "sas", "joint")
# what clients look for in a config (MONAI Label, MonaiAlgo, Deploy and the zoo's tests), used in it or not
OF_CLIENTS = {"imports", "initialize", "run", "finalize", "network_settings"}


@cache
def configs(pair: str) -> dict[str, dict[str, Any]]:
    """The configs of a bundle by name, to be read only."""
    paths = sorted((BUNDLES / pair / "configs").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths if path.stem != "metadata"}


def pair_of(architecture: str) -> str:
    return next(pair for pair in SHIPPED if pair.startswith(f"{architecture}_"))


def strings(value: Any) -> Iterator[str]:
    """All strings of a config, keys left out."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def under(overlay: str, bundle: dict[str, Any]) -> dict[str, Any]:
    """The config that an overlay changes."""
    if overlay == "interpolate":
        return bundle["inference"]
    return bundle["train_diffusion" if "train_diffusion" in bundle else "train"]


@pytest.mark.parametrize("pair", SHIPPED)
def test_training_and_inference_build_one_network(pair):
    bundle = configs(pair)
    train, inference = under("evaluate", bundle), bundle["inference"]
    names = ["network_def"] + ["autoencoder_def"] * ("autoencoder_def" in train)
    for name in names:
        assert train[name] == inference[name]
        assert name not in bundle["evaluate"]
        for setting in {text[1:] for text in strings(train[name]) if re.fullmatch(r"@\w+", text)}:
            assert default_of(train[setting]) == default_of(inference[setting]), setting
            assert default_of(bundle["evaluate"].get(setting, train[setting])) == default_of(train[setting]), setting
    if "train_autoencoder" in bundle:
        own = dict(bundle["train_autoencoder"]["network_def"])
        assert own == bundle["joint"]["autoencoder_def"]
        # its kind is chosen where it is trained, and elsewhere what the record of its weights says
        assert own.pop("variational")
        own["backbone"] = {key: value for key, value in own["backbone"].items() if key != "conditioning"}
        assert own == train["autoencoder_def"]
        for setting in {text[1:] for text in strings(train["autoencoder_def"]) if re.fullmatch(r"@\w+", text)}:
            assert bundle["train_autoencoder"][setting] == train[setting], setting


@pytest.mark.parametrize("pair", SHIPPED)
def test_every_import_is_used(pair):
    bundle = configs(pair)
    for name, config in bundle.items():
        content = {key: value for key, value in config.items() if key != "imports"}
        expressions = [text for text in strings(content) if text.startswith("$")]
        imported = config.get("imports", [])
        unused = [x for x in imported if not any(re.search(rf"(?<![\w.]){x.split()[-1]}\.", e) for e in expressions)]
        assert unused == [], name
        # and what an expression takes from a module is imported, in an overlay by the config that it changes
        known = imported or under(name, bundle)["imports"]
        for module in ("os", "torch", "monai", "flemme_monai"):
            used = any(re.search(rf"(?<![\w.@']){module}\.", e) for e in expressions)
            assert not used or f"$import {module}" in known, (name, module)


@pytest.mark.parametrize("pair", SHIPPED)
def test_every_part_of_a_config_is_used(pair):
    bundle, documented = configs(pair), rows()
    for name, config in bundle.items():
        whole = {**under(name, bundle), **config} if name in OVERLAYS else config
        texts = "\n".join(strings(whole))
        for key in config:
            used = re.search(rf"[@%]{re.escape(key.partition('#')[0])}\b", texts)
            assert used or key in OF_CLIENTS or key in documented, (name, key)


def of_images(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The transforms that images go through: without labels, noise of phantoms, k-space, crops, and plain tensors."""
    others = (
        "LoadLabeld",
        "CopyItemsd",
        "JoinTargetd",
        "SplitTargetd",
        "AddNoised",
        "UndersampleKspaced",
        "SpatialPadd",
        "CenterSpatialCropd",
        "EnsureTyped",
        "ClassesToIndicesd",
        "AsDiscreted",
    )
    out = [t for t in listed if not t["_target_"].endswith(others)]
    out = [{key: value for key, value in t.items() if key not in ("num_classes", "need_label", "labels")} for t in out]
    # predictions from files lie on their grid
    out = [
        {k: v.replace(" or bool(@evaluate_folder)", "") if k == "_disabled_" else v for k, v in t.items()} for t in out
    ]
    return [{**t, "keys": "image"} if t.get("keys") == ["image", "label"] else t for t in out]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_images_are_the_same_in_training_validation_and_inference_but_for_augmentation(architecture):
    bundle = configs(pair_of(architecture))
    train, inference = under("evaluate", bundle), bundle["inference"]
    training, validation = (train[part]["preprocessing"]["transforms"] for part in ("train", "validate"))
    if training[0] == "%validate#preprocessing":
        training = [*validation, *training[1:]]
    evaluation = bundle["evaluate"].get("validate#preprocessing", train["validate"]["preprocessing"])["transforms"]
    steady = [t for t in training if ".Rand" not in t["_target_"]]
    for listed in validation, evaluation, inference["preprocessing"]["transforms"]:
        assert [t["_target_"] for t in listed if ".Rand" in t["_target_"]] == []
    assert of_images(steady) == of_images(validation) == of_images(evaluation)
    if architecture not in ("vae", "ddpm", "edm", "ldm"):  # whose inference starts at noise
        assert of_images(evaluation) == of_images(inference["preprocessing"]["transforms"])


@pytest.mark.parametrize("architecture", ["ae", "hae", "sdm"])
def test_masks_in_k_space_are_drawn_in_training_and_fixed_in_validation(architecture):
    bundle = configs(pair_of(architecture))
    train = bundle["train"]
    evaluation = bundle["evaluate"].get("validate#preprocessing", train["validate"]["preprocessing"])
    listed = train["train"]["preprocessing"], train["validate"]["preprocessing"], evaluation
    masks = [[t for t in part["transforms"] if t["_target_"].endswith("UndersampleKspaced")] for part in listed]
    assert [mask.get("seed") for (mask,) in masks] == [None, "@seed", "@seed"]
    assert [{**mask, "seed": "@seed"} for (mask,) in masks] == [mask for (mask,) in masks[1:2]] * 3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_optimizer_and_its_schedule(architecture):
    """A peak of 0.001 after a linear warm-up of one epoch, down to 1% of it; scans decay nothing."""
    train = under("evaluate", configs(pair_of(architecture)))
    parser = ConfigParser({key: train[key] for key in (*SCHEDULE, "optimizer", "lr_scheduler")})
    network = torch.nn.Module()
    network.weight = torch.nn.Parameter(torch.zeros(1))
    network.scan = torch.nn.Module()
    network.scan.rate = torch.nn.Parameter(torch.zeros(1))
    network.scan.no_weight_decay = ("rate",)
    parser["network"] = network
    parser["imports"] = ["$import flemme_monai"]
    parser["dataset_dir"] = "images"  # phantoms have a shorter one
    parser["train"] = {"dataloader": [None] * 4}  # batches
    optimizer = parser.get_parsed_content("optimizer")
    schedule = parser.get_parsed_content("lr_scheduler")
    assert type(optimizer) is torch.optim.AdamW
    assert [(len(g["params"]), g["weight_decay"]) for g in optimizer.param_groups] == [(1, 1e-4), (1, 0.0)]
    rates = []
    for _ in range(40 * 4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:5] == pytest.approx([0.0002, 0.0004, 0.0006, 0.0008, 0.001])
    assert rates[4 + 78] == pytest.approx(0.0005)  # half way of a cosine
    assert min(rates[4:]) == rates[-1] == pytest.approx(1e-5)
