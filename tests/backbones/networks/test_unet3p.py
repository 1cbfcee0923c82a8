"""The full-scale nodes of UNet 3+ against their formula, and their side outputs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.foreign import backbone, image


def at_level(x: torch.Tensor, start: int, end: int) -> torch.Tensor:
    """A feature of a level at another level's size: pooled, or interpolated."""
    if start == end:
        return x
    if start < end:
        return getattr(F, f"max_pool{x.dim() - 2}d")(x, 2 ** (end - start))
    mode = "bilinear" if x.dim() == 4 else "trilinear"
    return F.interpolate(x, scale_factor=2 ** (start - end), mode=mode)


@pytest.mark.parametrize("dims", [2, 3])
def test_each_node_sees_finer_levels_of_the_encoder_and_coarser_nodes(dims):
    net = backbone("unet3p", dims).eval()
    x = image(net)
    latent, skips = net.encode(x)
    nodes, features = {4: latent}, []
    for level, node in zip((3, 2, 1, 0), net.decoder.nodes, strict=True):
        seen = [skips[i] if i <= level else nodes[i] for i in range(5)]
        parts = [source(at_level(s, i, level)) for i, (source, s) in enumerate(zip(node.sources, seen, strict=True))]
        nodes[level] = node.stage(torch.cat(parts, 1))
        features.append(nodes[level])
    out = net(x)
    for found, expected in zip(out.features, features, strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(out.output, net.decoder.output_layer(nodes[0]))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_latent_and_each_coarser_node_have_a_head_at_full_size(dims):
    net = backbone("unet3p", dims, deep_supervision=True)
    x = image(net)
    out = net(x)
    assert net.side_weights == [1.0] * 4  # as the output's: the paper adds five equal losses
    assert all(side.shape == out.output.shape for side in out.sides)
    features = [out.latent, *out.features[:-1]]
    for side, head, feature, level in zip(out.sides[::-1], net.decoder.side_heads, features, (4, 3, 2, 1), strict=True):
        torch.testing.assert_close(side, at_level(head(feature), level, 0))


def test_heads_that_feed_nothing_are_not_built():
    assert len(backbone("unet3p", 2).decoder.side_heads) == backbone("unet3p", 2).num_sides == 0


def test_the_output_is_no_sigmoid():
    net = backbone("unet3p", 2, deep_supervision=True)
    torch.nn.init.constant_(net.decoder.output_layer.bias, 5.0)
    assert net(image(net)).output.max() > 1
