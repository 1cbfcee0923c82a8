"""Choose the device of a run."""

from __future__ import annotations

import os

import torch


def select_device(name: str | torch.device = "auto") -> torch.device:
    """
    The device that a setting names; under torchrun each process takes the GPU of its `LOCAL_RANK`.

    Args:
        name: "auto" (a GPU where there is one, else the CPU), "cpu", "cuda", "cuda:K" or a device.

    Returns:
        The device.

    Raises:
        ValueError: the name is none of these, or it asks for a GPU that is not there.
    """
    name = str(name)
    name = str(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and count == 0):
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if name != "auto" and (kind != "cuda" or (index and not index.isdigit())):
        raise ValueError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:K")
    number = int(index or os.environ.get("LOCAL_RANK", 0))
    if number >= count:
        raise ValueError(
            f"device {name!r} asks for GPU {number} and this machine has {count} that PyTorch sees: use cpu or auto"
        )
    return torch.device("cuda", number)
