"""The grid of UNet++ against its formula, and its side outputs."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.architectures import SeM
from flemme_monai.backbones.networks import UNetPlusPlus
from tests.foreign import SMALL, backbone, image


@pytest.mark.parametrize("up", ["conv", "interpolate"])
@pytest.mark.parametrize("dims", [2, 3])
def test_each_node_sees_its_level_and_the_one_below(dims, up):
    net = backbone("unetpp", dims, up=up).eval()
    x = image(net)
    latent, skips = net.encode(x)
    grid = {(i, 0): feature for i, feature in enumerate([*skips, latent])}
    nodes = iter(net.decoder.nodes)
    for j in range(1, 5):
        for i in range(5 - j):
            node = next(nodes)
            seen = [grid[i, column] for column in range(j)] + [node.up(grid[i + 1, j - 1])]
            grid[i, j] = node.stage(torch.cat(seen, 1))
    assert next(nodes, None) is None
    out = net(x)
    for found, place in zip(out.features, [(3, 1), (2, 2), (1, 3), (0, 4)], strict=True):
        torch.testing.assert_close(found, grid[place])
    torch.testing.assert_close(out.output, net.decoder.output_layer(grid[0, 4]))


def test_under_deep_supervision_the_output_is_the_mean_of_the_four_heads():
    net = backbone("unetpp", 2, deep_supervision=True)
    out = net(image(net))
    assert len(out.sides) == net.num_sides == 4
    assert net.side_weights == [0.25] * 4
    torch.testing.assert_close(out.output, sum(out.sides) / 4)
    torch.testing.assert_close(out.sides[0], net.decoder.output_layer(out.features[-1]))
    x = image(net)
    logits = net.eval()(x).output
    for head in net.decoder.side_heads:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    torch.testing.assert_close(net(x).output, net.decoder.output_layer(net(x).features[-1]) / 4)
    assert not torch.equal(net(x).output, logits)


def test_heads_that_feed_nothing_are_not_built():
    assert len(backbone("unetpp", 2).decoder.side_heads) == 0
    assert len(backbone("unetpp", 2, deep_supervision=True).decoder.side_heads) == 3
    assert SeM(backbone("unetpp", 2)).num_levels == 0


def test_a_grid_may_have_another_depth():
    net = UNetPlusPlus(2, 1, 2, channels=[4, 4, 8], deep_supervision=True)
    out = net(torch.randn(2, 1, 8, 12))
    assert [tuple(f.shape[1:]) for f in out.features] == [(4, 4, 6), (4, 8, 12)]
    assert (len(out.sides), len(net.decoder.nodes)) == (2, 3)


def test_an_unknown_way_up_is_refused():
    with pytest.raises(ValueError, match="up is 'nearest'; expected one of interpolate, conv"):
        UNetPlusPlus(2, 1, 2, up="nearest", **SMALL["unetpp"])


def test_the_grid_has_the_numbers_of_another_library():
    """segmentation-models-pytorch's decoder, of the same widths and bilinear, with its weights copied in."""
    other = pytest.importorskip("segmentation_models_pytorch.decoders.unetplusplus.decoder").UnetPlusPlusDecoder
    channels = (4, 6, 8, 10, 12)
    net = UNetPlusPlus(2, 3, 2, channels=channels, up="interpolate").eval()
    decoder = other((3, *channels), (*channels[-2::-1], 5), n_blocks=5, interpolation_mode="bilinear").eval()
    for norm in decoder.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(norm.running_mean)
            torch.nn.init.uniform_(norm.weight, 0.5, 2)
    places = [(i, j) for j in range(1, 5) for i in range(5 - j)]
    for node, (i, j) in zip(net.decoder.nodes, places, strict=True):
        block = decoder.blocks[f"x_{4 - i - j}_{3 - i}"]
        # there the raised feature stands first, then the latest column
        seen = block.conv1[0].weight.data.split([channels[i + 1], *[channels[i]] * j], 1)
        node.stage.blocks[0].conv.weight.data.copy_(torch.cat(seen[::-1], 1))
        node.stage.blocks[1].conv.weight.data.copy_(block.conv2[0].weight.data)
        for ours, theirs in zip(node.stage.blocks, (block.conv1, block.conv2), strict=True):
            ours.norm.load_state_dict(theirs[1].state_dict())
    nodes = {}
    for name, block in decoder.blocks.items():
        block.register_forward_hook(lambda _, __, out, name=name: nodes.update({name: out}))
    x = torch.randn(2, 3, 32, 48)
    latent, skips = net.encode(x)
    decoder([x, *skips, latent])
    for column, feature in enumerate(net.decode(latent, skips).features):
        torch.testing.assert_close(feature, nodes[f"x_0_{column}"], atol=1e-5, rtol=1e-4)
