"""TernausNet: as published without norms, and how its blocks raise the resolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.foreign import backbone, image


@pytest.mark.parametrize(("depth", "transposed"), [(11, 5), (16, 0)])
def test_blocks_raise_the_resolution_as_the_depth_has_it(depth, transposed):
    net = backbone("ternausnet", 2, depth=depth)
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in net.modules()) == transposed
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())
    out = net(image(net))
    assert [64 // f.shape[2] for f in out.features] == [8, 4, 2, 1, 1]


@pytest.mark.parametrize("depth", [11, 16])
def test_a_norm_follows_every_convolution_where_one_is_asked_for(depth):
    net = backbone("ternausnet", 2, depth=depth, norm="batch")
    convolutions = [m for m in net.modules() if isinstance(m, nn.modules.conv._ConvNd)]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == len(convolutions) - 1  # none after the output layer
    assert [c.bias is None for c in convolutions] == [True] * len(norms) + [False]


def test_weights_of_a_trunk_are_loaded_into_the_network(tmp_path):
    there = backbone("ternausnet", 2)
    numbers = {"stages.0.blocks.0": 0, "stages.1.blocks.0": 3, "stages.2.blocks.0": 6, "stages.2.blocks.1": 8}
    numbers |= {"stages.3.blocks.0": 11, "stages.3.blocks.1": 13, "stages.4.blocks.0": 16, "stages.4.blocks.1": 18}
    state = {}
    for key, tensor in there.encoder.state_dict().items():
        block, _, name = key.partition(".conv.")
        state[f"features.{numbers[block]}.{name}"] = tensor
    torch.save(state, tmp_path / "vgg11.pth")
    here = backbone("ternausnet", 2, encoder_weights=str(tmp_path / "vgg11.pth"))
    x = image(here)
    torch.testing.assert_close(here.encode(x), there.encode(x))
