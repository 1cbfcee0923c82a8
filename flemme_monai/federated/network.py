"""The network that a federation begins with."""

from __future__ import annotations

from typing import Any

import monai
from monai.bundle import ConfigParser
from torch import nn


def network_of(bundle: str, settings: dict[str, Any]) -> nn.Module:
    """A bundle's network before training, with the weights of its seed, or those that it is told to begin with.

    Args:
        bundle: its folder.
        settings: of ``train.json``, by name.

    Returns:
        The network, on the CPU.
    """
    parser = ConfigParser()
    parser.read_config(f"{bundle}/configs/train.json")
    parser.update({"bundle_root": bundle, **settings, "device": "cpu"})
    parser.get_parsed_content("imports")
    monai.utils.set_determinism(seed=parser.get_parsed_content("seed"))
    return parser.get_parsed_content("network")
