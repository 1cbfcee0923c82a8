"""The settings of a pair's network for stages that were planned, and the network itself without values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from ..recipes import make_bundle
from ..registry import NETWORKS, Encoder, backbone
from .rules import Topology, topology

BACKBONE = "network_def#backbone#"
FIRST_WIDTH, WIDEST = 32, {2: 512, 3: 320}
OF_PLANS = ("nnunet", "resenc")  # networks whose strides and kernels are set as in nnU-Net's plans
SUPERVISED_STAGES = 4  # that deep supervision needs


def network_settings(pair: str, spacing: Sequence[float], patch: Sequence[int]) -> dict[str, Any]:
    """Settings of the backbone: stages, strides and widths by the spacing and the patch.

    Args:
        pair: ``<architecture>_<backbone>``.
        spacing: mm along each axis.
        patch: voxels along each axis.

    Returns:
        Settings by their paths in a bundle; none of a network from elsewhere, which has stages of its own.
    """
    key = pair.partition("_")[2]
    stages = topology(spacing, patch)
    if isinstance(backbone(key), Encoder):
        found = _of_encoder(key, stages)
    elif key in OF_PLANS:
        found = _of_nnunet(pair, key, stages)
    else:
        found = {}
    return {BACKBONE + name: value for name, value in found.items()}


def _widths(number: int, dims: int) -> list[int]:
    return [min(FIRST_WIDTH * 2**level, WIDEST[dims]) for level in range(number)]


def _of_encoder(key: str, stages: Topology) -> dict[str, Any]:
    """A convolutional encoder sees each voxel; blocks that mix positions begin at patches of the first stride."""
    row = backbone(key)
    assert isinstance(row, Encoder), "an encoder of this package"
    dims, conv = len(stages.kernels[0]), row.family == "conv"
    patch = [1] * dims if conv or not stages.strides else stages.strides[0]
    strides = stages.strides if conv else stages.strides[1:]
    strides = strides or [[1] * dims]  # an encoder has a stage before its middle
    widths = _widths(len(strides) + 1, dims)
    return {
        "patch_size": patch,
        "patch_channels": FIRST_WIDTH,
        "channels": widths[:-1],
        "middle_channels": widths[-1:],
        "strides": strides,
    }


def _of_nnunet(pair: str, key: str, stages: Topology) -> dict[str, Any]:
    dims, depth = len(stages.kernels[0]), len(stages.kernels)
    found: dict[str, Any] = {
        "channels": _widths(depth, dims),
        "strides": [[1] * dims, *stages.strides],
        "kernel_sizes": stages.kernels,
    }
    if key == "resenc":
        found["num_blocks"] = [1, 3, 4, 6, 6, 6][:depth]
    if pair.startswith("sem_") and depth < SUPERVISED_STAGES:
        found["deep_supervision"] = False
    return found


def meta_network(pair: str, settings: Mapping[str, Any]) -> nn.Module:
    """The network of a pair's training under settings, on the meta device: shapes without values.

    Raises:
        ValueError: If there is no such pair or setting, or settings do not fit each other.
    """
    from monai.bundle import ConfigParser

    config = json.loads(make_bundle(pair, settings=dict(settings))["configs/train.json"])
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return ConfigParser(deepcopy(config)).get_parsed_content("network_def")


def has_planned_stages(pair: str) -> bool:
    """Whether a pair's stages follow from the data."""
    key = pair.partition("_")[2]
    return key not in NETWORKS or key in OF_PLANS
