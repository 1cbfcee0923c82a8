"""Settings of blocks that networks have on request: norms, attention, chains of layers, initial states, no stages."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai.architectures import HSeM, SeM
from flemme_monai.backbones import (
    CNN,
    ConvFamily,
    DNet,
    MambaFamily,
    MedNeXtFamily,
    MedNeXtU,
    Swin,
    SwinFamily,
    SwinU,
    UNet,
    ViT,
    ViTFamily,
    ViTU,
    VMamba,
    VMambaU,
)
from flemme_monai.blocks import (
    CHANNEL_ATTENTION,
    MLP,
    FourierAttention,
    FourierFusion,
    RMSNorm,
    SpatialSelfAttention,
    UnsharedChannelAttention,
    VectorBottleneck,
    make_token_norm,
)

TINY = {"patch_channels": 8, "channels": [8, 16], "middle_channels": [16], "num_blocks": 1}
SEQUENCES = [(ViTU, ViTFamily), (SwinU, SwinFamily), (VMambaU, MambaFamily)]
FAMILIES = [(UNet, ConvFamily), *SEQUENCES, (MedNeXtU, MedNeXtFamily)]


def runs(network: nn.Module, spatial_dims: int = 2, size: int = 16) -> torch.Tensor:
    """The output of a network, whose parameters all have a gradient."""
    image = torch.randn(2, 1, *[size] * spatial_dims, generator=torch.Generator().manual_seed(0))
    output = network(image)
    output = output[0] if isinstance(output, list) else output
    output.square().mean().backward()
    assert output.shape == (2, 2, *image.shape[2:])
    assert output.isfinite().all()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []
    return output


def made(encoder: type, family, spatial_dims: int = 2, **settings) -> nn.Module:
    torch.manual_seed(0)
    return SeM(encoder(spatial_dims, 1, 2, family=family, **{**TINY, **settings}))


@pytest.mark.parametrize("norm", ["rms", "group", "instance", "batch", None])
@pytest.mark.parametrize(("encoder", "family"), SEQUENCES)
def test_blocks_of_sequences_have_the_norm_that_is_set(encoder, family, norm) -> None:
    runs(made(encoder, family(norm=norm)))


def test_the_norm_of_convolutions_may_be_that_of_the_root_mean_square() -> None:
    runs(made(UNet, ConvFamily(norm="rms")), 2)
    x = torch.randn(2, 4, 3, 3)
    expected = x / x.square().mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(RMSNorm(4)(x), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(RMSNorm(4, -1)(x.movedim(1, -1)), expected.movedim(1, -1), atol=1e-4, rtol=1e-4)
    assert type(make_token_norm("layer", 2, 4)) is nn.LayerNorm


@pytest.mark.parametrize("attention", CHANNEL_ATTENTION)
@pytest.mark.parametrize(("encoder", "family"), FAMILIES)
def test_every_family_has_channel_attention(encoder, family, attention) -> None:
    network = made(encoder, family(channel_attention=[None, attention, None]))
    assert sum(isinstance(m, CHANNEL_ATTENTION[attention]) for m in network.modules()) == 2  # of encoder and decoder
    runs(network)
    with pytest.raises(ValueError, match="channel_attention is 'se'"):
        made(encoder, family(channel_attention="se"))


def test_unshared_weights_see_a_channels_neighbours() -> None:
    attention = UnsharedChannelAttention(2, 8)
    with torch.no_grad():
        attention.weight.zero_()
        attention.weight[3, 0] = 1.0  # channel 3 looks at the first of its window
    x = torch.zeros(1, 8, 2, 2)
    x[:, 3], x[:, 3 - attention.kernel // 2] = 1.0, 5.0
    assert attention(x)[0, 3].flatten().tolist() == pytest.approx([torch.tensor(5.0).sigmoid().item()] * 4)


def places(network: nn.Module, kind: type = SpatialSelfAttention) -> list[str]:
    """Where a network attends."""
    return [name.removeprefix("backbone.") for name, m in network.named_modules() if isinstance(m, kind)]


def test_attention_is_chosen_for_encoder_middle_decoder_and_final_stages_apart() -> None:
    family = ConvFamily(self_attention=[0, 1, 2], decoder_self_attention=[False, True], final_self_attention=3)
    network = made(UNet, family, final_channels=[8])
    assert places(network) == [
        "encoder.stages.1.blocks.1",
        "encoder.middle.0.blocks.1",
        "encoder.middle.0.blocks.2",
        "decoder.stages.0.blocks.1",  # the coarser one
        *(f"decoder.final.0.blocks.{i}" for i in (1, 2, 3)),
    ]
    runs(network)
    mirrored = places(made(UNet, ConvFamily(self_attention=[False, True, False]), final_channels=[8]))
    assert mirrored == ["encoder.stages.1.blocks.1", "decoder.stages.0.blocks.1"]
    with pytest.raises(ValueError, match="self_attention is 'often'"):
        made(UNet, ConvFamily(self_attention="often"))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_attention_may_be_among_frequencies(spatial_dims: int) -> None:
    network = made(UNet, ConvFamily(self_attention=[0, 0, "fft"]), spatial_dims)
    assert len(places(network, FourierAttention)) == 1
    runs(network, spatial_dims)
    attention = FourierAttention(spatial_dims, 4, 2)
    x = torch.randn(1, 4, *[6] * spatial_dims)
    torch.testing.assert_close(attention(x), x)  # which begins as nothing
    nn.init.ones_(attention.proj.weight)
    shift = torch.zeros_like(x)
    shift.flatten(2)[..., 0] = 1.0
    assert ((attention(x + shift) - attention(x)).abs() > 1e-6).all()  # one position moves all


def test_a_fusion_of_frequencies_is_the_sum_of_bands() -> None:
    fusion = FourierFusion(2, 2)
    low, high = torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    high[..., ::2] = -1.0  # the highest frequency along an axis
    torch.testing.assert_close(fusion([low, high]), (low + high) / 2)
    with torch.no_grad():
        fusion.weight.zero_()
        fusion.weight[0, 0] = 1.0  # the lows of the first
        fusion.weight[1, -1] = 1.0  # the highs of the second
    torch.testing.assert_close(fusion([low + high, 5 * low + 3 * high]), low + 3 * high)


def test_a_hierarchical_network_may_be_fused_by_frequencies() -> None:
    torch.manual_seed(0)
    network = HSeM(UNet(2, 1, 2, **TINY), fusion="fft").train()
    image = torch.randn(2, 1, 16, 16)
    final, *levels = network(image)
    assert (final.shape, len(levels)) == ((2, 2, 16, 16), 3)
    assert network.eval()(torch.randn(1, 1, 24, 32)).shape == (1, 2, 24, 32)


def test_a_latent_vector_may_have_a_chain_of_layers() -> None:
    runs(made(CNN, ConvFamily(), latent_size=[32, 16, 4], decoder_latent_size=[8]))
    chain = VectorBottleneck(2, 3, [7, 5], grid_size=2)
    widths = [tuple(p.shape) for name, p in chain.named_parameters() if name.endswith("weight")]
    assert widths == [(7, 12), (5, 7), (7, 5), (12, 7)]
    assert next(VectorBottleneck(2, 3, 5).named_parameters())[0] == "to_vector.weight"
    with pytest.raises(ValueError, match="latent_size is"):
        VectorBottleneck(2, 3, [])
    with pytest.raises(ValueError, match="no use without a latent_size"):
        made(CNN, ConvFamily(), decoder_latent_size=[8])


@pytest.mark.parametrize(("encoder", "family"), SEQUENCES)
def test_an_mlp_may_have_several_hidden_layers(encoder, family) -> None:
    runs(made(encoder, family(mlp_ratio=[2.0, 3.0])))
    assert list(MLP(4)._modules) == ["fc1", "act", "dropout", "fc2"]
    assert [p.shape[0] for name, p in MLP(4, [2.0, 3.0]).named_parameters() if name.endswith("weight")] == [8, 12, 4]
    with pytest.raises(ValueError, match="mlp_ratio"):
        family(mlp_ratio=[2.0, 0.0])


@pytest.mark.parametrize(("encoder", "family"), SEQUENCES[:2])
def test_attention_may_have_no_bias_and_a_dropout_of_its_own(encoder, family) -> None:
    network = made(encoder, family(qkv_bias=False, attention_dropout=0.9))
    names = [name for name, _ in network.named_parameters() if "token_mixer" in name and name.endswith("bias")]
    assert names
    assert not [name for name in names if "qkv" in name or "query" in name or "key_value" in name]
    first, second = network(torch.ones(1, 1, 16, 16)), network(torch.ones(1, 1, 16, 16))
    assert not torch.equal(first, second)
    torch.testing.assert_close(*[network.eval()(torch.ones(1, 1, 16, 16)) for _ in range(2)])


def test_the_states_that_a_scan_begins_with_may_be_learned() -> None:
    settings = {"block": "mamba2", "head_width": 8, "state_size": 4}
    network = made(VMamba, MambaFamily(**settings, learn_initial_state=True))
    states = [p for name, p in network.named_parameters() if name.endswith("initial_state")]
    assert len(states) == 5  # two stages of each half and the middle
    plain = made(VMamba, MambaFamily(**settings))
    network.load_state_dict(plain.state_dict(), strict=False)
    image = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(network(image), plain(image))  # they begin as 0
    nn.init.ones_(states[0])
    assert not torch.allclose(network(image), plain(image), atol=1e-4)
    runs(network)
    with pytest.raises(ValueError, match="of mamba2 alone"):
        MambaFamily(learn_initial_state=True)


@pytest.mark.parametrize("encoder", [CNN, UNet, DNet, ViT, Swin, VMamba])
def test_a_network_may_have_middle_blocks_alone(encoder) -> None:
    network = made(encoder, None, channels=[], middle_channels=[16, 16], patch_size=4)
    assert network.backbone.size_divisor == [4, 4]
    assert network.backbone.latent_channels == 16
    runs(network)
    levels = HSeM(encoder(2, 1, 2, **{**TINY, "channels": []})).train()(torch.randn(2, 1, 16, 16))
    assert len(levels) == 2  # the final prediction and that of the latent
    with pytest.raises(ValueError, match="middle_channels"):
        made(encoder, None, middle_channels=[])
