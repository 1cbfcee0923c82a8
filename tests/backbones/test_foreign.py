"""Networks from elsewhere: MONAI's BasicUNet in the two halves of the contract, and any network in one piece."""

from __future__ import annotations

import json
import re
import sys
from types import ModuleType

import pytest
import torch
from monai.networks.nets import BasicUNet, DynUNet
from torch import nn

from flemme_monai import architectures, backbones
from flemme_monai.backbones import Adapted, Backbone, ConditioningConfig, ConvFamily, DecoderOutput, check_image
from flemme_monai.blocks import ConditionEmbeddings, Stage
from flemme_monai.losses import pyramid_loss
from flemme_monai.utils.network_config import build_network, config_of

CHANNELS = (4, 4, 8, 8, 12, 4)
SIZES = {2: (32, 48), 3: (32, 32, 16)}
TIME = ConditioningConfig(timesteps=True, context="class", context_size=3, channels=8)


class BasicEncoder(nn.Module):
    """The way down of a BasicUNet."""

    def __init__(self, network: BasicUNet, spatial_dims: int, in_channels: int) -> None:
        super().__init__()
        self.spatial_dims, self.in_channels, self.latent_channels = spatial_dims, in_channels, CHANNELS[4]
        self.size_divisor = [16] * spatial_dims
        layers = (network.conv_0, network.down_1, network.down_2, network.down_3, network.down_4)
        self.stages = nn.ModuleList([Stage([layer], [channels]) for layer, channels in zip(layers, CHANNELS)])

    def forward(
        self, x: torch.Tensor, conditions: ConditionEmbeddings | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if not torch.jit.is_scripting():
            check_image(x, self.spatial_dims, self.in_channels, self.size_divisor, min_latent_positions=2)
        features: list[torch.Tensor] = []
        for stage in self.stages:
            x = stage(x) if conditions is None else stage(x, conditions)
            features.append(x)
        return x, features[:-1]


class BasicDecoder(nn.Module):
    """The way up of a BasicUNet."""

    def __init__(self, network: BasicUNet) -> None:
        super().__init__()
        layers = (network.upcat_4, network.upcat_3, network.upcat_2, network.upcat_1)
        self.feature_channels, self.num_sides = [CHANNELS[3], CHANNELS[2], CHANNELS[1], CHANNELS[5]], 0
        self.up = nn.ModuleList([layer.upsample for layer in layers])
        self.stages = nn.ModuleList([Stage([la.convs], [c]) for la, c in zip(layers, self.feature_channels)])
        self.output_layer = network.final_conv

    def forward(
        self, latent: torch.Tensor, skips: list[torch.Tensor], conditions: ConditionEmbeddings | None = None
    ) -> DecoderOutput:
        x, features, sides = latent, [], []
        for i, (up, stage) in enumerate(zip(self.up, self.stages)):
            x = torch.cat([skips[-1 - i], up(x)], 1)
            x = stage(x) if conditions is None else stage(x, conditions)
            features.append(x)
        return DecoderOutput(self.output_layer(x), features, sides)


class Basic(Backbone):
    """MONAI's BasicUNet as a backbone."""

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, conditioning: ConditioningConfig | None = None
    ) -> None:
        network = BasicUNet(spatial_dims, in_channels, out_channels, CHANNELS)
        encoder, decoder = BasicEncoder(network, spatial_dims, in_channels), BasicDecoder(network)
        refusals = {"decode": "its decoder sees the encoder's features."}
        super().__init__(encoder, decoder, out_channels, ConvFamily(norm="instance"), conditioning, None, refusals)


def basic(architecture: str, dims: int) -> nn.Module:
    conditional = architecture in ("DDPM", "EDM")
    channels = 2 if conditional else 1
    return getattr(architectures, architecture)(Basic(dims, channels, 2, TIME if conditional else None))


def given(architecture: str, dims: int) -> tuple[torch.Tensor, ...]:
    if architecture not in ("DDPM", "EDM"):
        return (torch.randn(2, 1, *SIZES[dims]),)
    return torch.randn(2, 2, *SIZES[dims]), torch.tensor([3.0, 700.0]), torch.tensor([0, -1])


def test_two_halves_are_the_network():
    torch.manual_seed(0)
    network = BasicUNet(2, 1, 2, CHANNELS)
    torch.manual_seed(0)
    wrapped, x = Basic(2, 1, 2), torch.randn(2, 1, *SIZES[2])
    torch.testing.assert_close(wrapped(x).output, network(x))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("architecture", ["SeM", "HSeM", "AE", "HAE", "ClM", "DDPM", "EDM"])
def test_a_network_in_two_halves_trains_and_scripts(architecture, dims):
    torch.manual_seed(0)
    net = basic(architecture, dims)
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    out = net.train()(*given(architecture, dims))
    assert isinstance(out, list) == (architecture in ("HSeM", "HAE"))
    sum(t.square().mean() for t in (out if isinstance(out, list) else [out])).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    inputs = given(architecture, dims)
    torch.testing.assert_close(torch.jit.script(net.eval())(*inputs), net(*inputs), rtol=1e-4, atol=1e-5)


def test_a_hierarchical_denoiser_of_a_foreign_network_receives_the_time_at_every_level():
    net = architectures.DDPM(Basic(2, 2, 2, TIME), "cat").train()
    out = net(*given("DDPM", 2))
    assert [t.shape[2] for t in out] == [32, 2, 4, 8, 16, 32]
    assert all(level.block.injections is not None for level in net.pyramid.levels)


def test_what_its_decoder_cannot_do_is_refused_with_the_reason():
    refusal = "needs an image from a latent alone, which Basic does not give: its decoder sees the encoder's features."
    with pytest.raises(ValueError, match=re.escape(f"VAE {refusal}")):
        architectures.VAE(Basic(2, 1, 1))
    net = architectures.AE(Basic(2, 1, 1))
    with pytest.raises(ValueError, match=re.escape(f"AE.decode {refusal}")):
        net.decode(net.encode(torch.randn(1, 1, 32, 32)))


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_a_context_has_no_place_where_a_side_begins(side):
    conditioning = ConditioningConfig(context="image", context_size=1, channels=8, combine="add", side=side)
    with pytest.raises(ValueError, match=f"combine='add': the {side} Basic{side.title()} has no place to do it at"):
        Basic(2, 1, 2, conditioning)


def test_an_image_as_context_is_seen_by_patches_of_four():
    net = Basic(2, 1, 2, ConditioningConfig(context="image", context_size=1, channels=8))
    embeddings = net.embed(2, list(SIZES[2]), None, torch.randn(2, 1, *SIZES[2]))
    assert embeddings.context_emb.shape == (2, 8, 8, 12)


def test_a_half_without_stages_takes_no_conditions():
    network = BasicUNet(2, 1, 1, CHANNELS)
    encoder, decoder = BasicEncoder(network, 2, 1), BasicDecoder(network)
    encoder.stages = nn.ModuleList([stage.blocks[0] for stage in encoder.stages])
    with pytest.raises(ValueError, match=r"the encoder BasicEncoder has no flemme_monai.blocks.Stage"):
        Backbone(encoder, decoder, 1, ConvFamily(), TIME)


def test_a_stage_that_receives_no_conditions_is_named():
    encoder, decoder = BasicEncoder(network := BasicUNet(2, 1, 1, CHANNELS), 2, 1), BasicDecoder(network)
    inner = decoder.stages[0]
    decoder.stages[0] = Stage([inner], [CHANNELS[3]])  # its blocks are called without conditions
    net = Backbone(encoder, decoder, 1, ConvFamily(norm="instance"), TIME).eval()
    given = torch.randn(2, 1, *SIZES[2]), torch.tensor([3.0]), torch.tensor([0, -1])
    with pytest.raises(ValueError, match="a stage with injections received no conditions; expected stage"):
        net(*given)
    with pytest.raises(torch.jit.Error, match="a stage with injections received no conditions"):
        torch.jit.script(net)(*given)


@pytest.mark.parametrize(
    ("family", "conditioning", "refusals", "message"),
    [
        (None, None, None, "Backbone has no family; expected a BlockFamily"),
        (None, TIME, {"pyramid": "there is none."}, "Backbone has no family; expected a BlockFamily"),
        (ConvFamily(), None, {"vae": "no."}, "Backbone: refusals has vae; expected names of encode, decode, pyramid"),
    ],
)
def test_what_a_backbone_is_declared_with_must_fit(family, conditioning, refusals, message):
    network = BasicUNet(2, 1, 1, CHANNELS)
    with pytest.raises(ValueError, match=re.escape(message)):
        Backbone(BasicEncoder(network, 2, 1), BasicDecoder(network), 1, family, conditioning, refusals=refusals)


def test_an_output_layer_without_a_convolution_is_named():
    backbone = Basic(2, 2, 2, TIME)
    backbone.decoder.output_layer = nn.Linear(4, 2)
    with pytest.raises(ValueError, match="the output layer Linear has no convolution; expected one"):
        architectures.DDPM(backbone)


def test_a_network_in_a_folder_of_networks_is_rebuilt_from_its_record(monkeypatch):
    folder, file = ModuleType("flemme_monai.backbones.networks"), ModuleType("flemme_monai.backbones.networks.tiny")

    class Tiny(Basic):
        """A network in a file of its own."""

    Tiny.__module__, Tiny.__qualname__ = file.__name__, "Tiny"
    file.Tiny = folder.Tiny = Tiny
    folder.tiny = file
    monkeypatch.setitem(sys.modules, folder.__name__, folder)
    monkeypatch.setitem(sys.modules, file.__name__, file)
    monkeypatch.setattr(backbones, "networks", folder, raising=False)
    network = architectures.HSeM(Tiny(2, 1, 2, TIME))
    config = json.loads(json.dumps(config_of(network)))
    assert config["backbone"]["_target_"] == "flemme_monai.backbones.networks.Tiny"
    assert config_of(build_network(config)) == config
    del folder.Tiny  # which then has the path of its file
    network = Tiny(2, 1, 2, TIME)
    assert type(build_network(config_of(network))) is Tiny


def test_a_message_says_which_sizes_fit():
    with pytest.raises(ValueError, match=re.escape("sizes that fit are (32, 32) or (48, 48)")):
        basic("HSeM", 2)(torch.randn(1, 1, 40, 40))


class Deep(nn.Module):
    """A network that supervises two outputs in training, as a list or as a stack."""

    def __init__(self, stacked: bool) -> None:
        super().__init__()
        self.convs, self.stacked = nn.ModuleList([nn.Conv2d(1, 2, 3, padding=1) for _ in range(3)]), stacked

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        outputs = [conv(x) for conv in self.convs]
        if not self.training:
            return outputs[0]
        return torch.stack(outputs, 1) if self.stacked else outputs


@pytest.mark.parametrize("architecture", ["SeM", "AE"])
def test_any_network_segments_and_reconstructs(architecture):
    backbone = Adapted(2, 1, 2, BasicUNet(2, 1, 2, CHANNELS), 16)
    net, x = getattr(architectures, architecture)(backbone), torch.randn(2, 1, 32, 48)
    assert net(x).shape == (2, 2, 32, 48)
    net(x).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())
    torch.testing.assert_close(torch.jit.script(net.eval())(x), net(x))
    with pytest.raises(ValueError, match=re.escape("sizes that fit are (32, 32) or (48, 48)")):
        net(torch.randn(2, 1, 40, 40))


@pytest.mark.parametrize("stacked", [False, True])
def test_the_side_outputs_of_any_network_are_supervised(stacked):
    net = architectures.SeM(Adapted(2, 1, 2, Deep(stacked), num_sides=2))
    x = torch.randn(2, 1, 16, 24)
    out = net.train()(x)
    assert net.num_levels == 2
    assert [t.shape for t in out] == [(2, 2, 16, 24)] * 3
    pyramid_loss(nn.MSELoss(), net.num_levels)(out, torch.zeros(2, 2, 16, 24)).backward()
    assert all(p.grad.any() for p in net.parameters())
    assert net.eval()(x).shape == (2, 2, 16, 24)


def test_monais_dynunet_with_deep_supervision():
    kernels, strides = [3, 3, 3], [1, 2, 2]
    dynunet = DynUNet(2, 1, 2, kernels, strides, strides[1:], [4, 8, 8], deep_supervision=True, deep_supr_num=1)
    net = architectures.SeM(Adapted(2, 1, 2, dynunet, 4, num_sides=1))
    assert [t.shape for t in net.train()(torch.randn(2, 1, 16, 24))] == [(2, 2, 16, 24)] * 2


@pytest.mark.parametrize("training", [True, False])
def test_another_number_of_side_outputs_is_named(training):
    net = architectures.SeM(Adapted(2, 1, 2, Deep(False), num_sides=1)).train(training)
    if training:
        with pytest.raises(ValueError, match="the network gives 3 outputs in training, and num_sides is 1"):
            net(torch.randn(2, 1, 16, 24))
    else:
        assert net(torch.randn(2, 1, 16, 24)).shape == (2, 2, 16, 24)


@pytest.mark.parametrize(
    ("architecture", "needs"),
    [
        ("HSeM", "a hierarchical architecture needs features at several resolutions"),
        ("HAE", "a hierarchical architecture needs features at several resolutions"),
        ("ClM", "ClM needs a latent of the image"),
        ("VAE", "VAE needs an image from a latent alone"),
        ("DDPM", "DDPM needs an output layer at the image's resolution"),
        ("EDM", "EDM needs an output layer at the image's resolution"),
        ("SDM", "SDM needs an output layer at the image's resolution"),
        ("DSeM", "DSeM needs an output layer at the image's resolution"),
        ("LDM", "LDM needs an output layer at the image's resolution"),
    ],
)
def test_what_needs_the_inside_of_a_network_is_refused(architecture, needs):
    backbone = Adapted(2, 1, 1, BasicUNet(2, 1, 1, CHANNELS), 16)
    message = f"{needs}, which Adapted does not give: only the output of BasicUNet is known; wrap its two halves"
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(architectures, architecture)(backbone)


def test_an_adapted_network_is_unconditional():
    with pytest.raises(ValueError, match="timesteps given, but this backbone was built without"):
        Adapted(2, 1, 2, nn.Conv2d(1, 2, 1))(torch.randn(1, 1, 4, 4), torch.tensor([1]))
