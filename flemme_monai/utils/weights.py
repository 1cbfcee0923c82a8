"""Load weights into a network, or say in what they differ."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from .files import user_path

BEST = "model.pt"
LAST = "last.pt"
PRETRAINED = "pretrained.pt"  # an encoder alone
PRETRAINING = "pretraining"  # the folder of the run that wrote it
SAFETENSORS = ".safetensors"
ARRAYS = ".npz"
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


def beside(weights: str | os.PathLike, name: str) -> Path:
    """Where a file that tells of some weights lies: beside them; of ``pretrained.pt`` in its run's folder there."""
    path = user_path(weights)
    run = path.with_name(PRETRAINING)
    return run / name if path.name == PRETRAINED and run.is_dir() else path.with_name(name)


def read_checkpoint(path: str | os.PathLike) -> Any:
    """Read a checkpoint to the CPU with ``weights_only=True``.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read.
        ValueError: If the file is damaged or no checkpoint, or holds more than tensors and plain values.
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {path}: train first, or name its folder with --ckpt_dir or the bundle's with "
            "--bundle_root"
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise OSError(f"{path} cannot be read ({error.strerror}): make it readable") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        damaged = _damaged_record(path)
    except Exception as error:  # a damaged file raises any kind
        raise ValueError(
            f"{path} is no checkpoint that loads with weights_only=True: it is damaged, cut short, or holds more than "
            "tensors and plain values; train again, or name another folder with ckpt_dir"
        ) from error
    if damaged is not None:
        raise ValueError(
            f"{path} is damaged: the checksum of {damaged} in it is another; train again, or name another folder with "
            "ckpt_dir"
        )
    return state


def _damaged_record(path: Path) -> str | None:
    """The part of a checkpoint whose content is not what was written, which ``torch.load`` does not look at."""
    if not zipfile.is_zipfile(path):  # PyTorch's format before 1.6
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of weights, on the CPU, by name.

    Args:
        path: a state dict ``.pt``, read with ``weights_only=True``, a file ``.safetensors``, or NumPy's ``.npz``.

    Raises:
        ValueError: If it is damaged, or holds other things than tensors by name.
        ModuleNotFoundError: If the package safetensors is needed and not installed.
    """
    others_than_torch = {SAFETENSORS: _read_safetensors, ARRAYS: _read_arrays}
    state = others_than_torch.get(path.suffix, read_checkpoint)(path)
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} holds a {type(state).__name__}; expected a network's state dict: name a {BEST}")
    others = [str(name) for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others or not state:
        held = ", ".join(others[:5]) or "nothing"
        raise ValueError(f"{path} holds {held}; expected a network's tensors by name: name a {BEST}")
    return dict(state)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} needs the package safetensors, which is not installed: pip install safetensors, or name a file .pt"
        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no file of safetensors ({error}): it is damaged or cut short") from error


def _read_arrays(path: Path) -> dict[str, torch.Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no file of arrays ({error}): it is damaged, or holds more than numbers") from error


def differ_in_input_channels(there: torch.Tensor, here: torch.Tensor) -> bool:
    """Whether two weights of convolutions (C_out, C_in, *k) differ in their input channels alone."""
    return there.ndim == here.ndim and there.shape[0] == here.shape[0] and there.shape[2:] == here.shape[2:]


def with_input_channels(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """A convolution's weight (C_out, C_in, *k) for another number of input channels: (C_out, channels, *k).

    Each channel gets the mean over the channels, times C_in over ``channels``, so that the response to equal channels
    is the same; one channel gets their sum.
    """
    return weight.sum(1, keepdim=True).div(channels).expand(-1, channels, *weight.shape[2:])


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
