"""Small bundles with random weights, which the demo serves as it serves trained ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from flemme_monai.demo.served import ServedBundle
from flemme_monai.recipes import make_bundle, write

SMALL = {"network_def#backbone#channels": [8, 16], "network_def#backbone#middle_channels": [16], "image_size": 32}
Make = Callable[..., ServedBundle]


@pytest.fixture
def serve(tmp_path: Path) -> Make:
    """A function that makes a bundle of a pair, with settings, and serves it."""

    def make(pair: str, dataset_dir: Path | None = None, **settings: Any) -> ServedBundle:
        folder = tmp_path / "bundles" / pair
        write(folder, make_bundle(pair, settings={**SMALL, **settings}))
        config = ConfigParser()
        config.read_config(str(folder / "configs" / "inference.json"))
        config["bundle_root"] = str(folder)
        torch.manual_seed(0)
        network = config.get_parsed_content("network_def")
        (folder / "models").mkdir()
        torch.save(network.state_dict(), folder / "models" / "model.pt")
        return ServedBundle(folder, dataset_dir, "cpu")

    return make
