"""A network from elsewhere whose side outputs make its output, as U²-Net's (Qin et al. 2020), in two halves."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv, Pool
from torch import nn

from flemme_monai import architectures
from flemme_monai.backbones import Backbone, ConditioningConfig, ConvFamily, DecoderOutput, check_image
from flemme_monai.blocks import ConditionEmbeddings, ConvBlock, Stage
from flemme_monai.losses import pyramid_loss

WIDTHS = (4, 6, 8)
SIZES = {2: (16, 24), 3: (16, 8, 12)}
OTHER_SIZES = {2: (8, 20), 3: (8, 12, 16)}
TIME = ConditioningConfig(timesteps=True, context="class", context_size=3, channels=8)


class SidedEncoder(nn.Module):
    """[stage -> keep -> pool] x 2 -> stage -> latent."""

    def __init__(self, spatial_dims: int, in_channels: int) -> None:
        super().__init__()
        self.spatial_dims, self.in_channels, self.latent_channels = spatial_dims, in_channels, WIDTHS[-1]
        self.size_divisor = [4] * spatial_dims
        pairs = zip((in_channels, *WIDTHS), WIDTHS)
        self.stages = nn.ModuleList([Stage([ConvBlock(spatial_dims, c, width)], [width]) for c, width in pairs])
        self.pool = Pool["max", spatial_dims](2, 2)

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor)
        skips: list[torch.Tensor] = []
        for i, stage in enumerate(self.stages):
            x = self.pool(x) if i > 0 else x
            x = stage(x) if conditions is None else stage(x, conditions)
            skips.append(x)
        return x, skips[:-1]


class SidedDecoder(nn.Module):
    """[up -> concatenate -> stage] x 2; a head for the latent and each stage, whose maps make the output."""

    def __init__(self, spatial_dims: int, out_channels: int, deep_supervision: bool) -> None:
        super().__init__()
        self.mode = "bilinear" if spatial_dims == 2 else "trilinear"
        self.feature_channels = list(WIDTHS[-2::-1])
        pairs = zip(WIDTHS[:0:-1], self.feature_channels)
        self.stages = nn.ModuleList([Stage([ConvBlock(spatial_dims, c + w, w)], [w]) for c, w in pairs])
        conv = Conv["conv", spatial_dims]
        self.heads = nn.ModuleList([conv(width, out_channels, 1) for width in WIDTHS[::-1]])
        self.num_sides = len(self.heads) if deep_supervision else 0
        self.output_layer = conv(out_channels * len(self.heads), out_channels, 1, bias=False)

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        x, features = latent, [latent]
        for i, stage in enumerate(self.stages):
            skip = skips[-1 - i]
            x = torch.cat([skip, F.interpolate(x, size=skip.shape[2:], mode=self.mode)], 1)
            x = stage(x) if conditions is None else stage(x, conditions)
            features.append(x)
        sides: list[torch.Tensor] = []
        maps: list[torch.Tensor] = []
        for i, head in enumerate(self.heads):
            side = head(features[i])
            maps.append(F.interpolate(side, size=x.shape[2:], mode=self.mode))
            if self.num_sides > 0 and self.training:
                sides.insert(0, side)
        return DecoderOutput(self.output_layer(torch.cat(maps, 1)), features[1:], sides)


class Sided(Backbone):
    """The two halves."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        deep_supervision: bool = False,
        conditioning: ConditioningConfig | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(
            SidedEncoder(spatial_dims, in_channels),
            SidedDecoder(spatial_dims, out_channels, deep_supervision),
            out_channels,
            ConvFamily(),
            conditioning,
            refusals={"decode": "its decoder sees the encoder's features."},
            checkpointing=checkpointing,
        )


def speaking(net: nn.Module) -> nn.Module:
    """With weights instead of the zeros that some layers begin with."""
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return net


@pytest.mark.parametrize("dims", [2, 3])
def test_sides_are_supervised_the_finest_first(dims):
    net, x = architectures.SeM(Sided(dims, 1, 2, deep_supervision=True)).train(), torch.randn(2, 1, *SIZES[dims])
    seen = []
    heads = net.backbone.decoder.heads
    hooks = [head.register_forward_hook(lambda _, __, out: seen.insert(0, out)) for head in heads]
    final, *sides = net(x)
    for hook in hooks:
        hook.remove()
    assert net.num_levels == len(sides) == 3
    assert all(side is made for side, made in zip(sides, seen))
    assert final.shape == (2, 2, *SIZES[dims])
    assert [tuple(side.shape[2:]) for side in sides] == [tuple(n // s for n in SIZES[dims]) for s in (1, 2, 4)]
    pyramid_loss(nn.MSELoss(), net.num_levels)([final, *sides], torch.zeros_like(final)).backward()
    assert all(p.grad.any() for p in net.parameters())
    x = torch.randn(2, 1, *OTHER_SIZES[dims])
    assert net.eval()(x).shape == (2, 2, *OTHER_SIZES[dims])
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("architecture", ["SeM", "HSeM", "AE", "HAE", "ClM", "DDPM", "EDM"])
def test_without_side_outputs_it_serves_every_architecture_under_conditions(architecture, dims):
    channels = 1 if architecture in ("SeM", "HSeM", "ClM") else 2
    net = speaking(getattr(architectures, architecture)(Sided(dims, channels, 2, conditioning=TIME))).train()
    out = net(torch.randn(2, channels, *SIZES[dims]), torch.tensor([3.0, 70.0]), torch.tensor([0, -1]))
    assert isinstance(out, list) == (architecture in ("HSeM", "HAE"))
    sum(t.square().mean() for t in (out if isinstance(out, list) else [out])).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    inputs = torch.randn(2, channels, *OTHER_SIZES[dims]), torch.tensor([3.0, 70.0]), torch.tensor([0, -1])
    torch.testing.assert_close(torch.jit.script(net.eval())(*inputs), net(*inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["HSeM", "AE", "HAE", "DDPM"])
def test_side_outputs_that_have_no_loss_are_refused(architecture):
    backbone = Sided(2, 2, 2, deep_supervision=True, conditioning=TIME)
    message = f"Sided has 3 side outputs in training, which {architecture} does not supervise; expected none: build it"
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(architectures, architecture)(backbone)


def test_side_outputs_go_with_the_decoder():
    net = architectures.ClM(Sided(2, 1, 3, deep_supervision=True)).train()
    assert net(torch.randn(2, 1, 16, 24)).shape == (2, 3)


def test_a_denoiser_begins_at_zero_without_a_bias_too():
    net = architectures.DDPM(Sided(2, 2, 2, conditioning=TIME))
    assert not net(torch.randn(2, 2, 16, 24), torch.tensor([3.0, 70.0]), torch.tensor([0, -1])).any()


def test_checkpointing_changes_no_gradient_of_a_network_from_elsewhere():
    torch.manual_seed(0)
    plain, saving = Sided(2, 1, 2, True, TIME), Sided(2, 1, 2, True, TIME, checkpointing=True)
    assert all(module.checkpointing for module in saving.modules() if isinstance(module, Stage))
    saving.load_state_dict(speaking(plain).state_dict())
    x, calls, grads = torch.randn(2, 1, 16, 24), [], []
    saving.encoder.stages[0].blocks[0].register_forward_hook(lambda *_: calls.append(1))
    for net in architectures.SeM(plain).train(), architectures.SeM(saving).train():
        sum(t.square().mean() for t in net(x, torch.tensor([7.0]), torch.tensor([0, 2]))).backward()
        grads.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*grads)
    assert len(calls) == 2
