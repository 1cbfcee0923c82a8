"""The work of a network of a comparison: a training step, and the output of an image."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..utils import select_device
from .measure import alternating_seconds, count_flops

ROUNDS = 5  # of measured steps and images


@dataclass
class Load:
    """A network of a comparison, to be trained by a step and to infer.

    Args:
        network: in training or evaluation.
        images: a batch of the training's size, (B, C, *S).
    """

    network: nn.Module
    images: torch.Tensor

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.network.parameters())

    def step(self) -> None:
        """Forward, backward and the optimizer's step of one batch, without the loss."""
        self.optimizer.zero_grad()
        outputs = self.network.train()(self.images)
        torch.stack(
            [out.square().mean() for out in ([outputs] if torch.is_tensor(outputs) else outputs)]
        ).sum().backward()
        self.optimizer.step()

    def image(self) -> None:
        """The output of one image."""
        with torch.inference_mode():
            self.network.eval()(self.images[:1])

    def gflop(self) -> float:
        """The operations of one image."""
        return count_flops(self.image) / 1e9

    def step_milliseconds(self) -> float:
        """The median time of a step."""
        seconds = alternating_seconds({"step": self.step}, ROUNDS, 1, self.images.device)["step"]
        return 1e3 * statistics.median(seconds)

    @classmethod
    def of(cls, network: Any, config: dict[str, Any]) -> Load:
        """A network with random images of its training's size, on the training's device.

        Args:
            network: of a bundle.
            config: its ``train.json``.
        """
        device = config.get("device", "auto")
        device = select_device("auto" if str(device).startswith("$") else device)
        images = torch.rand(config["batch_size"], network.backbone.in_channels, *config["image_size"], device=device)
        return cls(network.to(device), images)
