"""Configs of bundles whose network is known: what a batch holds comes out as the prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from flemme_monai.commands.places import BUNDLES
from flemme_monai.registry import pairs


class Known(torch.nn.Module):
    """A network of one weight, whose output is what ``answer`` makes of its input."""

    num_levels = 3

    def __init__(self, answer: Callable[[torch.Tensor], Any] = lambda x: x) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.answer = answer

    def forward(self, x: torch.Tensor, timesteps: Any = None, context: Any = None) -> torch.Tensor | list[torch.Tensor]:
        out = self.answer(x.as_tensor() if isinstance(x, MetaTensor) else x)
        return [o + 0 * self.weight for o in out] if isinstance(out, list) else out + 0 * self.weight


def pair_of(architecture: str) -> str:
    """The first pair of an architecture."""
    return next(pair for pair in pairs(shipped=True) if pair.startswith(f"{architecture}_"))


def config(pair: str, *names: str) -> dict[str, Any]:
    """The configs of a bundle, each over the ones before it."""
    parser = ConfigParser()
    parser.read_config([str(BUNDLES / pair / "configs" / f"{name}.json") for name in names])
    return parser.get()


def parsed(architecture: str, *names: str, network: torch.nn.Module | None = None, **settings: Any) -> ConfigParser:
    """The configs of an architecture's first pair, for images of 4 x 4, with a network in the place of its own."""
    parser = ConfigParser(config(pair_of(architecture), *names))
    parser.update({"device": "cpu", "image_size": [4, 4], **settings})
    if network is not None:
        parser["network_def"] = network
        parser["network"] = network
    return parser


def train_config(architecture: str) -> str:
    """The config that trains an architecture's network."""
    return "train_diffusion" if architecture == "ldm" else "train"
