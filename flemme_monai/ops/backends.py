"""Which implementation of a scan runs where."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch

BACKENDS = ("reference", "torch", "numba", "cuda")
ENVIRONMENT = "FLEMME_MONAI_SCAN"
logger = logging.getLogger(__name__)


def choose_backend(
    scan: str, works: Mapping[str, Callable[[], bool]], tensor: torch.Tensor, requested: str | None
) -> str:
    """The backend of a scan for a tensor's device and dtype; the choice is logged once.

    Args:
        scan: the scan's name.
        works: for each backend that the scan has, the fastest first, whether it can run here.
        tensor: one of the scan's inputs.
        requested: a backend's name; None asks the environment variable ``FLEMME_MONAI_SCAN``, where the scan has that
            backend, then takes the first that works.

    Returns:
        One of ``BACKENDS``.

    Raises:
        ValueError: for an unknown backend, or a requested one that cannot run here.
    """
    wish = requested or os.environ.get(ENVIRONMENT)
    if wish and wish not in BACKENDS:
        raise ValueError(f"scan backend is {wish!r}; expected one of {', '.join(BACKENDS)}")
    if wish and (requested or wish in works):
        if wish not in works or not works[wish]():
            others = [name for name in works if name != wish and works[name]()]
            raise ValueError(
                f"the {wish} backend cannot run {scan} of {tensor.dtype} on {tensor.device.type} here; "
                f"use one of {', '.join(others)}"
            )
        name = wish
    else:
        name = next(name for name in works if works[name]())
    if not torch.compiler.is_compiling():
        _say(scan, tensor.device.type, str(tensor.dtype), name)
    return name


@lru_cache
def _say(scan: str, device: str, dtype: str, name: str) -> None:
    logger.info("%s of %s on %s runs in the %s backend", scan, dtype, device, name)


def no_autocast(tensor: torch.Tensor) -> AbstractContextManager:
    """Operations on the tensor's device keep their dtype."""
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)
