"""The trunk HarDNet: which layers a layer sees, sizes as published, weights by its authors' names."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.backbones.encoder_weights import renamed
from flemme_monai.backbones.extractors.hardnet import HarDNetEncoder, HarmonicBlock, links_of


def test_the_size_is_the_published_one():
    with torch.device("meta"):
        assert sum(p.numel() for p in HarDNetEncoder(2, 3).parameters()) == 16_540_348


@pytest.mark.parametrize(
    ("layer", "links"), [(1, [0]), (2, [1, 0]), (3, [2]), (4, [3, 2, 0]), (6, [5, 4]), (8, [7, 6, 4, 0])]
)
def test_a_layer_sees_those_at_distances_that_are_powers_of_two_and_divide_its_number(layer, links):
    assert links_of(layer) == links


def test_widths_grow_by_the_multiplier_and_the_output_are_odd_layers_and_the_last():
    block = HarmonicBlock(2, 8, 14, 1.7, 8)
    # 14, 14 x 1.7, 14 x 1.7^2 and 14 x 1.7^3, to even numbers
    assert [layer.conv.out_channels for layer in block.layers] == [14, 24, 14, 40, 14, 24, 14, 68]
    assert [layer.conv.in_channels for layer in block.layers] == [8, 22, 24, 46, 40, 54, 24, 86]
    assert block(torch.randn(2, 8, 4, 4)).shape[1] == block.out_channels == 4 * 14 + 68


def test_its_authors_names_are_its_own():
    names = [f"base.{i}.layers.0.conv.weight" if i in (3, 6, 8, 11, 14) else f"base.{i}.conv.weight" for i in range(16)]
    kept = [name for i, name in enumerate(names) if i not in (2, 5, 10, 13)]  # pools have no weights
    net = HarDNetEncoder(2, 3, (2, 4), (4, 4, 4, 4, 6), [2] * 5, [2] * 5)
    found = renamed(dict.fromkeys(kept, torch.ones(1)), net.weight_names)
    own = net.state_dict()
    assert found.keys() <= own.keys()
    assert len(set(found)) == len(kept) == 12
    assert found.keys() == {key for key in own if key.endswith("conv.weight") and ".layers.1." not in key}


def test_features_are_kept_at_a_quarter_to_a_sixteenth():
    net = HarDNetEncoder(2, 1, (2, 4), (4, 5, 6, 7, 8), [2] * 5, [2] * 5).eval()
    latent, skips = net(torch.randn(1, 1, 64, 32))
    assert [tuple(f.shape[1:]) for f in [*skips, latent]] == [(4, 16, 8), (6, 8, 4), (7, 4, 2), (8, 2, 1)]
