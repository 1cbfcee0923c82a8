"""The memory of a training step, counted on the meta device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai.planning.memory import network_bytes, patch_bytes
from flemme_monai.planning.networks import meta_network, network_settings


def test_a_layer_keeps_its_input():
    """Two convolutions keep the image (1 channel) and the first's output (4 channels) for the backward pass."""
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1))
    voxels, float32 = 16 * 16, 4
    saved, largest, output = (1 + 4) * voxels * float32, 4 * voxels * float32, 2 * voxels * float32
    assert patch_bytes(network, 1, [16, 16]) == saved + 2 * largest + 4 * output
    assert network_bytes(network) == 16 * (4 * 9 + 4 + 2 * 4 * 9 + 2)


@pytest.mark.parametrize("pair", ["hsem_unet", "sem_nnunet", "hsem_swinu", "hsem_vmambau"])
def test_planned_networks_take_the_planned_patch(pair):
    patch = [32, 32, 16]
    settings = {"spatial_dims": 3, "num_classes": 3, **network_settings(pair, [1, 1, 2.5], patch)}
    network = meta_network(pair, settings)
    assert list(network.backbone.size_divisor) == [8, 8, 4]
    assert patch_bytes(network, 1, [32, 32, 32]) == pytest.approx(2 * patch_bytes(network, 1, patch), rel=0.1)
