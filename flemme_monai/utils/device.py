"""Choose the device and the precision of a run."""

from __future__ import annotations

import logging
import os
from functools import cache

import torch

from .settings import as_bool

ACCELERATORS = {"cuda": "GPU", "xpu": "Intel GPU", "mps": "Apple GPU"}
_logger = logging.getLogger(__name__)


def select_device(name: str | torch.device = "auto") -> torch.device:
    """The device that a setting names; under torchrun each process takes the GPU of its ``LOCAL_RANK``.

    Args:
        name: "auto" (a CUDA GPU where there is one, else the CPU: not every operation in 3D exists on other
            accelerators, which are taken when they are asked for), "cpu", "cuda", "cuda:K", "xpu", "xpu:K", "mps" or a
            device.

    Returns:
        The device.

    Raises:
        ValueError: If the name is none of these, or it asks for a device that is not there.
    """
    name = str(name)
    if name == "cpu" or (name == "auto" and _count("cuda") == 0):
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    kind = "cuda" if name == "auto" else kind
    if kind not in ACCELERATORS or (":" in name and not index.isdigit()):
        raise ValueError(f"device {name!r} is unknown; expected auto, cpu, cuda, cuda:K, xpu, xpu:K or mps")
    number = int(index or (0 if kind == "mps" else os.environ.get("LOCAL_RANK", "0")))
    count = _count(kind)
    if number >= count:
        what = ACCELERATORS[kind]
        raise ValueError(
            f"device {name!r} asks for {what} {number} and this machine has {count} that PyTorch sees: use cpu or auto"
        )
    return torch.device(kind, number)


def _count(kind: str) -> int:
    """The number of devices of a kind that PyTorch sees."""
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    backend = getattr(torch, kind)
    return backend.device_count() if backend.is_available() else 0


@cache
def use_amp(amp: bool | str, device: str | torch.device = "auto") -> bool:
    """Whether a run computes in mixed precision: where it is asked for, on CUDA GPUs.

    Args:
        amp: true or false, as a value or as a word.
        device: as for ``select_device``.

    Returns:
        The switch for MONAI's engines.

    Raises:
        ValueError: If ``amp`` is no switch, or the device is not there.
    """
    asked, kind = as_bool(amp), select_device(device).type
    if asked and kind != "cuda":
        _logger.info("amp has no effect on %s", "the CPU" if kind == "cpu" else kind)
    return asked and kind == "cuda"
