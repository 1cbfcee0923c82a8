"""Choose the device and the precision of a run."""

from __future__ import annotations

import logging
import os
from functools import cache

import torch

from .settings import as_bool

_logger = logging.getLogger(__name__)


def select_device(name: str | torch.device = "auto") -> torch.device:
    """The device that a setting names; under torchrun each process takes the GPU of its ``LOCAL_RANK``.

    Args:
        name: "auto" (a GPU where there is one, else the CPU), "cpu", "cuda", "cuda:K" or a device.

    Returns:
        The device.

    Raises:
        ValueError: the name is none of these, or it asks for a GPU that is not there.
    """
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


@cache
def use_amp(amp: bool | str, device: str | torch.device = "auto") -> bool:
    """Whether a run computes in mixed precision: where it is asked for and there is a GPU; the CPU has none.

    Args:
        amp: true or false, as a value or as a word.
        device: as for ``select_device``.

    Returns:
        The switch for MONAI's engines.

    Raises:
        ValueError: ``amp`` is no switch, or the device is not there.
    """
    asked, on_gpu = as_bool(amp), select_device(device).type == "cuda"
    if asked and not on_gpu:
        _logger.info("amp has no effect on the CPU")
    return asked and on_gpu
