"""What the networks of a comparison cost: time and memory of a training step, time and operations of an image."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .matched import built_network, training_config
from .measure import alternating_seconds, count_flops, peak_bytes
from .places import environment

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

    @classmethod
    def of(cls, pair: str, settings: dict[str, Any]) -> Load:
        """The network of a pair's bundle, with random images of its training's size."""
        config = training_config(pair, settings)
        network = built_network(config)
        return cls(network, torch.rand(config["batch_size"], network.backbone.in_channels, *config["image_size"]))


def costs(settings: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What a batch and an image of the training's size cost: operations, median times of alternating rounds, memory.

    Args:
        settings: of pairs.
    """
    loads = {pair: Load.of(pair, changes) for pair, changes in settings.items()}
    steps = _medians({pair: load.step for pair, load in loads.items()})
    images = _medians({pair: load.image for pair, load in loads.items()})
    return {
        pair: {
            "GFLOP": count_flops(load.image) / 1e9,
            "step ms": steps[pair],
            "inference ms": images[pair],
            "step MiB": peak_mebibytes(pair, settings[pair]),
        }
        for pair, load in loads.items()
    }


def _medians(works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds."""
    seconds = alternating_seconds(works, ROUNDS, 1, torch.device("cpu"))
    return {name: 1e3 * statistics.median(found) for name, found in seconds.items()}


def peak_mebibytes(pair: str, settings: dict[str, Any]) -> float:
    """The memory that two training steps add at their peak to a process that has the network, in MiB."""
    command = [sys.executable, "-m", __name__, pair, json.dumps(settings)]
    variables = environment(MALLOC_MMAP_THRESHOLD_="65536", OMP_NUM_THREADS=str(torch.get_num_threads()))
    done = subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[-1]) / 2**20


def _two_steps(load: Load) -> None:
    load.step()
    load.step()  # the first has no state of the optimizer before its end


if __name__ == "__main__":
    measured = Load.of(sys.argv[1], json.loads(sys.argv[2]))
    measured.image()  # loads the libraries
    print(peak_bytes(lambda: _two_steps(measured), torch.device("cpu")))
