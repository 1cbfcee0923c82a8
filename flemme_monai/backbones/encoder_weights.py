"""Published weights of a trunk, such as those of torchvision: from a file that the user has, by its own names."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import ignite.distributed as idist
import torch
from torch import nn

from ..utils.files import user_path
from ..utils.weights import differ_in_input_channels, read_weights, with_input_channels
from .backbone import EncoderAttributes, convolutions_of

MIN_SHARE = 0.5
SHOWN = 3
_logger = logging.getLogger(__name__)


class PublishedNames(Protocol):
    """What a trunk says of files of its weights.

    Attributes:
        weight_names: regular expressions and replacements, which in this order make the trunk's names of a file's.
    """

    weight_names: Sequence[tuple[str, str]]


@runtime_checkable
class PublishedForms(Protocol):
    """What a trunk has whose tensors have other forms than in files of its weights."""

    def converted(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors of a file in the trunk's forms, by the names that ``weight_names`` replaces."""
        ...


def load_encoder_weights(trunk: nn.Module, path: str | os.PathLike | None, setting: str = "encoder_weights") -> None:
    """Load published weights into a trunk or a head, and log by name what of the file and of it did not fit.

    The first convolution takes an image with another number of channels, see
    :func:`flemme_monai.utils.weights.with_input_channels`. Nothing is downloaded.

    Args:
        trunk: an encoder, before conditions are attached; it has ``spatial_dims`` and ``weight_names``
            (:class:`PublishedNames`).
        path: a file ``.pt``, ``.pth``, ``.safetensors`` or ``.npz``; None leaves the trunk as it is.
        setting: the name of the argument that ``path`` is of, for messages.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is of images with another number of dimensions, or less than half of the trunk's
            parameters fit.
    """
    if path is None:
        return
    file, name = user_path(path), type(trunk).__name__
    if not file.is_file():
        raise FileNotFoundError(
            f"{setting} is {file}, and there is no such file; expected weights of {name}, .pt, .safetensors or "
            f".npz: fetch them first, since nothing is downloaded here, or leave {setting} out"
        )
    state = read_weights(file)
    if isinstance(trunk, PublishedForms):
        state = trunk.converted(state)
    state = renamed(state, cast(PublishedNames, trunk).weight_names)
    own: dict[str, torch.Tensor] = trunk.state_dict(keep_vars=True)
    _refuse_other_dimensions(state, own, cast(EncoderAttributes, trunk).spatial_dims, file, setting)
    first = convolutions_of(trunk)[0].weight
    fit: dict[str, torch.Tensor] = {}
    misfits: dict[str, str] = {}
    adapted = ""
    for key, here in own.items():
        there = state.get(key)
        if there is None:
            misfits[key] = "not in the file"
        elif there.shape == here.shape:
            fit[key] = there
        elif here is first and differ_in_input_channels(there, here):
            fit[key] = with_input_channels(there, here.shape[1])
            adapted = f"; {key} has {here.shape[1]} input channels for {there.shape[1]} in the file"
        else:
            misfits[key] = f"{tuple(there.shape)} in the file and {tuple(here.shape)} here"
    sizes = {key: p.numel() for key, p in trunk.named_parameters()}
    share = sum(size for key, size in sizes.items() if key in fit) / max(sum(sizes.values()), 1)
    if share < MIN_SHARE:
        why = "; ".join(f"{key}: {reason}" for key, reason in list(misfits.items())[:SHOWN])
        raise ValueError(
            f"{setting}: {file} fits {share:.0%} of the parameters of {name}; expected at least half ({why}): "
            "name weights of this trunk, or set its depth and channels as there"
        )
    trunk.load_state_dict(fit, strict=False)
    if idist.get_rank() == 0:
        _logger.info(
            "%s: %d of %d tensors, %.1f %% of the parameters of %s, of %s%s",
            *(setting, len(fit), len(own), 100 * share, name, file, adapted),
        )
        for key, why in misfits.items():
            _logger.info("%s: %s is not loaded: %s", setting, key, why)
        unknown = [key for key in state if key not in own]
        if unknown:
            _logger.info("%s: in the file and not in %s: %s", setting, name, ", ".join(unknown))


def renamed(state: Mapping[str, torch.Tensor], names: Sequence[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """Tensors by other names.

    Args:
        state: tensors by name.
        names: regular expressions and replacements, all applied to every name in this order.
    """
    found = {}
    for key, tensor in state.items():
        for pattern, replacement in names:
            key = re.sub(pattern, replacement, key)
        found[key] = tensor
    return found


def _refuse_other_dimensions(
    state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], spatial_dims: int, file: Path, setting: str
) -> None:
    for key, here in own.items():
        there = state.get(key)
        if there is not None and here.ndim == 2 + spatial_dims and there.ndim in (4, 5) and there.ndim != here.ndim:
            raise ValueError(
                f"{setting}: {file} holds weights of a {there.ndim - 2}D network ({key} is {tuple(there.shape)} there "
                f"and {tuple(here.shape)} here); expected those of a {spatial_dims}D one: leave {setting} out, or "
                f"set spatial_dims to {there.ndim - 2}"
            )
