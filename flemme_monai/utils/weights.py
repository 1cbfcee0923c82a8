"""Load weights into a network, or say in what they differ."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import torch

from .files import user_path

SHOWN = 3
Model = TypeVar("Model", bound=torch.nn.Module)


def unwrap_model(network: Model) -> Model:
    """The network without the wrappers that ``DistributedDataParallel`` and ``torch.compile`` put around it.

    For type checkers a network has its own type, wrapped or not.
    """
    while True:
        inner = getattr(network, "_orig_mod", network)
        if isinstance(inner, torch.nn.parallel.DistributedDataParallel | torch.nn.DataParallel):
            inner = inner.module
        if inner is network:
            return network
        network = inner


def read_checkpoint(path: str | os.PathLike) -> Any:
    """Read a checkpoint to the CPU with ``weights_only=True``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint, or holds more than tensors and plain values.
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {path}: train first, or name its folder with --ckpt_dir or the bundle's with "
            "--bundle_root"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises any kind
        raise ValueError(
            f"{path} is no checkpoint that loads with weights_only=True: it is damaged, cut short, or holds more than "
            "tensors and plain values; train again, or name another folder with ckpt_dir"
        ) from error


def check_fit(network: torch.nn.Module, state: Mapping[str, torch.Tensor], path: str | os.PathLike) -> None:
    """Compare names and shapes of a state dict with a network's.

    Raises:
        ValueError: If they differ; names the file and the first keys that do.
    """
    own = unwrap_model(network).state_dict()
    shapes = {k: tuple(v.shape) for k, v in state.items() if isinstance(v, torch.Tensor)}
    wrong = [f"{k} is missing" for k in own if k not in state]
    wrong += [f"{k} is not in the network" for k in state if k not in own]
    wrong += [
        f"{k} is {shapes.get(k)} and the network's is {tuple(v.shape)}"
        for k, v in own.items()
        if k in state and shapes.get(k) != tuple(v.shape)
    ]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ValueError(
            f"{path} does not fit the network: {'; '.join(wrong[:SHOWN])}{more}: use the settings it was trained with, "
            "or the network.json that its training wrote beside it"
        )


def load_weights(network: torch.nn.Module, path: str | os.PathLike) -> None:
    """Load a state dict file into a network, all of it or nothing.

    Args:
        network: the network, wrapped or not.
        path: a file that holds the unwrapped network's state dict, such as ``model.pt``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint, or one of another network.
    """
    state = read_checkpoint(path)
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} holds a {type(state).__name__}, expected a network's state dict")
    check_fit(network, state, path)
    unwrap_model(network).load_state_dict(state)
