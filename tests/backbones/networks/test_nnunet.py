"""nnU-Net's networks: strides and kernels per axis, side outputs, and the numbers of nnU-Net's own package."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from flemme_monai.backbones.networks import PlainConvUNet, ResEncUNet

CHANNELS = [4, 6, 8, 8]
STRIDES = [1, [2, 2, 1], 2, [1, 2, 2]]  # as nnU-Net plans a thin volume
KERNELS = [[3, 3, 1], [3, 3, 1], 3, 3]


@pytest.mark.parametrize("network", [PlainConvUNet, ResEncUNet])
def test_strides_and_kernels_are_per_axis(network):
    net = network(3, 1, 2, CHANNELS, STRIDES, KERNELS, num_blocks=[1, 2, 1, 1]).eval()
    assert net.size_divisor == [4, 8, 4]
    assert net(torch.randn(1, 1, 8, 8, 4)).output.shape == (1, 2, 8, 8, 4)
    kernels = {tuple(m.kernel_size) for m in net.encoder.stages[0].modules() if isinstance(m, nn.Conv3d)}
    assert (3, 3, 1) in kernels
    assert (3, 3, 3) not in kernels


def test_weights_of_the_side_outputs_halve_and_the_coarsest_stage_has_none():
    net = PlainConvUNet(2, 1, 2, [4] * 6, deep_supervision=True).train()
    assert net.side_weights == [0.5, 0.25, 0.125]
    assert [s.shape[2] for s in net(torch.randn(2, 1, 64, 64)).sides] == [32, 16, 8]


def test_a_residual_block_begins_as_its_shortcut():
    block = ResEncUNet(2, 1, 2, [4, 4], num_blocks=2).encoder.stages[0].blocks[1]
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(block(x), torch.nn.functional.leaky_relu(x, 0.01))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strides": [2, 2, 2, 2]}, "expected 1 for the first stage"),
        ({"strides": [1, 2, 2]}, "one entry for each of 4 stages"),
        ({"strides": [1, 2, 2, [2, 2, 2]]}, "or 2 of them, one per axis"),
        ({"kernel_sizes": 4}, "expected odd numbers"),
        ({"num_blocks": [2, 2]}, "num_blocks is .*one entry for each of 4 stages"),
        ({"num_decoder_blocks": [2, 2]}, "num_decoder_blocks is .*one entry for each of 3 stages"),
        ({"channels": [4, 4, 4], "deep_supervision": True}, "four stages or more under deep supervision"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        PlainConvUNet(2, 1, 2, **{"channels": CHANNELS, **settings})


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_the_numbers_are_those_of_dynamic_network_architectures(residual, dims):
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    strides = [[1] * dims, [2] * (dims - 1) + [1], [2] * dims, [2] * dims]
    kernels = [[3] * (dims - 1) + [1], [3] * dims, [3] * dims, [3] * dims]
    blocks, decoder_blocks = ([1, 2, 1, 1], 1) if residual else (2, 2)
    other = (unet.ResidualEncoderUNet if residual else unet.PlainConvUNet)(
        1,
        4,
        CHANNELS,
        nn.Conv2d if dims == 2 else nn.Conv3d,
        kernels,
        strides,
        blocks,
        2,
        decoder_blocks,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        deep_supervision=True,
    )
    net = (ResEncUNet if residual else PlainConvUNet)(
        dims, 1, 2, CHANNELS, strides, kernels, blocks, decoder_blocks, deep_supervision=True
    )
    for parameter in other.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    net.load_state_dict(_renamed(other.state_dict(), net))
    x = torch.randn(2, 1, *([16] * dims))
    out = net(x)
    for ours, theirs in zip([out.output, *out.sides], other(x)[:-1], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def _renamed(weights: dict[str, torch.Tensor], net: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of dynamic-network-architectures under our names."""
    renamed: dict[str, torch.Tensor] = {}
    last = len(net.decoder.stages) - 1
    for key, value in weights.items():
        if "all_modules" in key or key.startswith("decoder.encoder.") or key.startswith("decoder.seg_layers.0."):
            continue  # named twice, or the head of weight 0
        for pattern, name in (
            (r"encoder\.stem\.convs\.0\.", "encoder.downs.0."),
            (r"(encoder\.stages\.\d+)(?:\.0)?\.(?:convs|blocks)\.", r"\1.blocks."),
            (r"skip\.\d+\.", "shortcut.proj."),
            (r"(decoder\.stages\.\d+)\.convs\.", r"\1.blocks."),
            (r"decoder\.transpconvs\.(\d+)\.", r"decoder.ups.\1.conv."),
            (rf"decoder\.seg_layers\.{last}\.", "decoder.output_layer."),
            (r"decoder\.seg_layers\.", "decoder.side_heads."),
        ):
            key = re.sub(pattern, name, key)
        renamed[key] = value
    return renamed
