"""What the networks of a comparison cost: time and memory of a training step, time and operations of an image."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch

from .energy import joules
from .load import ROUNDS, Load
from .matched import built_network, training_config
from .measure import alternating_seconds, peak_bytes
from .places import environment

Networks = Mapping[str, tuple[str, dict[str, Any]]]  # pair or folder of a bundle, and its settings, by name


def costs(networks: Networks) -> dict[str, dict[str, float]]:
    """What a batch and an image of the training's size cost: operations, median times of alternating rounds, memory.

    Where the processor counts its energy, that of a step too.

    Args:
        networks: by name.
    """
    loads = {name: _load(source, settings) for name, (source, settings) in networks.items()}
    steps = _medians(loads, {name: load.step for name, load in loads.items()})
    images = _medians(loads, {name: load.image for name, load in loads.items()})
    found = {}
    for name, load in loads.items():
        found[name] = {
            "GFLOP": load.gflop(),
            "step ms": steps[name],
            "inference ms": images[name],
            "step MiB": peak_mebibytes(*networks[name]),
        }
        energy = joules(load.step, ROUNDS)
        if energy is not None:
            found[name]["step J"] = energy
    return found


def _load(source: str, settings: dict[str, Any]) -> Load:
    config = training_config(source, settings)
    return Load.of(built_network(config), config)


def _medians(loads: Mapping[str, Load], works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds."""
    device = next(iter(loads.values())).images.device
    seconds = alternating_seconds(works, ROUNDS, 1, device)
    return {name: 1e3 * statistics.median(found) for name, found in seconds.items()}


def measured_costs(networks: Networks) -> dict[str, dict[str, float]]:
    """The costs of networks, measured in a process of its own that keeps to its processors.

    Args:
        networks: by name; none cost nothing.

    Raises:
        ChildProcessError: If the process fails.
    """
    if not networks:
        return {}
    return json.loads(_words("all", json.dumps(networks)).splitlines()[-1])


def peak_mebibytes(source: str, settings: dict[str, Any]) -> float:
    """The memory that two training steps add at their peak to a process that has the network, in MiB."""
    return int(_words("peak", json.dumps([source, settings])).split()[-1]) / 2**20


def _words(what: str, arguments: str) -> str:
    """What this module prints as a program."""
    command = [sys.executable, "-m", __name__ if __name__ != "__main__" else "flemme_monai.commands.costs", what]
    variables = environment(MALLOC_MMAP_THRESHOLD_="65536", OMP_NUM_THREADS=str(torch.get_num_threads()))
    done = subprocess.run(command, env=variables, input=arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChildProcessError(f"the costs could not be measured: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def _pin() -> None:
    """Keep to as many processors as there are threads, so that none moves in the midst of a measurement."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: torch.get_num_threads()])


def _two_steps(load: Load) -> None:
    load.step()
    load.step()  # the first has no state of the optimizer before its end


def main(what: str, arguments: Any) -> None:
    """Print the costs of all networks, or the peak memory of one."""
    if what == "all":
        print(json.dumps(costs(arguments)))
        return
    measured = _load(*arguments)
    measured.image()  # loads the libraries
    print(peak_bytes(lambda: _two_steps(measured), measured.images.device))


if __name__ == "__main__":
    _pin()
    main(sys.argv[1], json.load(sys.stdin))
