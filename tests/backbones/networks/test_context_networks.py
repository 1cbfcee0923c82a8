"""Networks that gather context on a dilated ResNet: their heads, sides and limits, and faults that are not to be."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F

from flemme_monai import architectures
from flemme_monai.backbones.networks import OCRNet
from flemme_monai.blocks import linear_resize
from flemme_monai.blocks.aspp import AtrousPyramid, AtrousSum
from flemme_monai.blocks.object_context import ObjectAttention, ObjectContext, ObjectRegions
from flemme_monai.blocks.pyramid_pooling import PooledConv, PyramidPooling
from flemme_monai.utils.network_config import build_network, config_of
from tests.foreign import SMALL, backbone, image

WITH_STRIDE = ["deeplabv2", "deeplabv3plus", "pspnet", "danet", "ocnet", "ocrnet", "eanet"]
ON_RESNET = [*WITH_STRIDE, "resunet", "dlinknet", "cenet"]
SIDES = {"pspnet": [0.4], "danet": [1.0, 1.0], "ocnet": [0.4], "ocrnet": [0.4]}


@pytest.mark.parametrize("stride", [8, 32])
@pytest.mark.parametrize("key", WITH_STRIDE)
def test_the_output_stride_is_a_setting(key, stride):
    net = backbone(key, 2, output_stride=stride)
    assert net.size_divisor == [stride, stride]
    x = torch.randn(2, 1, 64, 32)
    assert net(x).output.shape == (2, 2, 64, 32)
    assert f"interpolated by {4 if key == 'deeplabv3plus' else stride} without" in net.refusals["denoise"]


@pytest.mark.parametrize("key", SIDES)
def test_side_outputs_have_the_papers_weights_and_the_image_size(key):
    net = backbone(key, 2, deep_supervision=True)
    out = net(image(net))
    assert net.side_weights == SIDES[key]
    assert [side.shape for side in out.sides] == [out.output.shape] * len(SIDES[key])


@pytest.mark.parametrize("key", ["pspnet", "ocnet", "danet"])
def test_heads_that_make_no_output_are_built_under_deep_supervision_alone(key):
    plain, deep = (sum(p.numel() for p in backbone(key, 2, deep_supervision=d).parameters()) for d in (False, True))
    assert plain < deep


@pytest.mark.parametrize("key", ON_RESNET)
def test_published_weights_of_the_trunk_are_loaded_and_no_part_of_the_record(key, tmp_path):
    torch.manual_seed(0)
    there = backbone(key, 2).encoder.state_dict()
    torch.save(there, tmp_path / "trunk.pt")
    net = backbone(key, 2, encoder_weights=str(tmp_path / "trunk.pt"))
    torch.testing.assert_close(net.encoder.state_dict(), there)
    config = config_of(architectures.SeM(net))
    assert "encoder_weights" not in config["backbone"]
    (tmp_path / "trunk.pt").unlink()
    assert build_network(config).backbone.encoder.state_dict().keys() == there.keys()


@pytest.mark.parametrize("key", ON_RESNET)
def test_networks_of_instance_norm_train_on_one_image(key):
    net = backbone(key, 2, norm="instance")
    out = net(torch.randn(1, 1, 64, 96)).output
    assert out.shape == (1, 2, 64, 96)
    out.square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("key", ["deeplabv3plus", "pspnet"])
def test_a_batch_norm_of_one_value_is_refused_in_words(key):
    net = backbone(key, 2)
    with pytest.raises(ValueError, match="expected two images a batch or another norm"):
        net(torch.randn(1, 1, 64, 64))
    assert net.eval()(torch.randn(1, 1, 64, 64)).output.shape == (1, 2, 64, 64)


def test_the_global_mean_has_no_instance_norm_which_would_make_it_zero():
    x = torch.randn(2, 4, 5, 6)
    pooled = PooledConv(2, 4, 3, norm="instance")
    assert pooled(x).any()
    expected = pooled.conv(x.mean((2, 3), keepdim=True)).expand(2, 3, 5, 6)
    torch.testing.assert_close(pooled(x), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_pyramid_pooling_is_adaptive_pooling(dims):
    block = PyramidPooling(dims, 4, 2, (1, 2, 3)).eval()
    x = torch.randn(2, 4, *[7, 6, 5][:dims])
    pool, mode = (F.adaptive_avg_pool2d, "bilinear") if dims == 2 else (F.adaptive_avg_pool3d, "trilinear")
    maps = [F.interpolate(b.conv(pool(x, g)), size=x.shape[2:], mode=mode) for b, g in zip(block.branches, (1, 2, 3))]
    torch.testing.assert_close(block(x), torch.cat([x, *maps], 1))


def test_dilations_keep_their_field_of_view_at_another_output_stride():
    def dilations(key, stride):
        decoder = backbone(key, 2, output_stride=stride).decoder
        found = [m.dilation[0] for m in decoder.modules() if hasattr(m, "dilation") and hasattr(m, "weight")]
        return [d for d in found if d > 1]

    assert dilations("deeplabv2", 8) == [6, 12, 18, 24]
    assert dilations("deeplabv2", 16) == [3, 6, 9, 12]
    assert dilations("deeplabv3plus", 16) == [6, 12, 18]
    assert dilations("deeplabv3plus", 8) == [12, 24, 36]


def test_deeplab_v2_sums_convolutions_straight_to_the_logits():
    block, x = AtrousSum(2, 4, 3, (1, 2, 5)), torch.randn(1, 4, 8, 9)
    torch.testing.assert_close(block(x), sum(conv(x) for conv in block.convs))
    layers = backbone("deeplabv2", 2, out_channels=5).output_layers()
    assert [layer.out_channels for layer in layers] == [5] * 4


def test_the_pyramid_of_deeplab_sees_the_global_mean():
    block = AtrousPyramid(2, 4, 3, (2,)).eval()
    x = torch.randn(1, 4, 32, 32)
    other = x.clone()
    other[..., -1, -1] += 100  # far from the first position
    assert not torch.equal(block(x)[..., 0, 0], block(other)[..., 0, 0])


def test_weights_of_smp_give_its_pyramid():
    decoder = pytest.importorskip("segmentation_models_pytorch.decoders.deeplabv3.decoder", exc_type=ImportError)
    reference = decoder.ASPP(8, 4, [6, 12, 18], separable=False, dropout=0.5).eval()
    block, x = AtrousPyramid(2, 8, 4, (6, 12, 18)).eval(), torch.randn(2, 8, 40, 44)
    block.load_state_dict(dict(zip(block.state_dict(), reference.state_dict().values())))
    torch.testing.assert_close(block(x), reference(x), rtol=1e-4, atol=1e-5)


def test_danet_prefers_unlike_channels():
    attention = backbone("danet", 2).decoder.channel.blocks[1].branch
    x = torch.zeros(1, 3, 1, 4)
    x[0, 0], x[0, 1], x[0, 2] = 3.0, 3.0, 0.1  # the first two are alike
    out = attention(x)
    torch.testing.assert_close(out[0, 0], x[0, 2], atol=1e-3, rtol=1e-3)


def test_danets_branches_are_added_and_begin_without_attention():
    net = backbone("danet", 2, deep_supervision=True).eval()
    latent, skips = net.encode(image(net))
    decoder = net.decoder
    parts = [decoder.position(latent), decoder.channel(latent)]
    torch.testing.assert_close(net.decode(latent, skips).features[0], parts[0] + parts[1])
    for branch in decoder.position, decoder.channel:
        assert branch.blocks[1].gamma.item() == 0


def test_ocnets_context_begins_at_zero_and_then_sees_every_position():
    block, x = ObjectContext(2, 8, 4).eval(), torch.randn(1, 8, 6, 6)
    other = x.clone()
    other[..., -1, -1] += 10
    assert torch.equal(block(x)[..., 0, 0], block(other)[..., 0, 0])
    torch.nn.init.normal_(block.proj.weight)
    assert not torch.equal(block(x)[..., 0, 0], block(other)[..., 0, 0])


def test_region_vectors_are_means_over_the_positions_of_each_region():
    pixels, logits = torch.randn(1, 5, 2, 3), torch.full((1, 2, 2, 3), -1e4)
    logits[0, 0, 0, :2] = 1e4  # two positions
    logits[0, 1, 1, 2] = 1e4  # one
    objects = ObjectRegions()(pixels, logits)
    torch.testing.assert_close(objects[0, :, 0], pixels[0, :, 0, :2].mean(-1))
    torch.testing.assert_close(objects[0, :, 1], pixels[0, :, 1, 2])


def test_positions_weigh_the_regions_and_no_other_positions():
    block = ObjectAttention(2, 8, 4).eval()
    pixels, objects = torch.randn(1, 8, 4, 5), torch.randn(1, 8, 3)
    query, key = block.query(pixels).flatten(2), block.key(objects[..., None]).flatten(2)
    value = block.value(objects[..., None]).flatten(2)
    weights = torch.einsum("bqn,bqk->bnk", query, key).div(2).softmax(2)  # 2 is the root of four channels
    expected = block.up(torch.einsum("bnk,bqk->bqn", weights, value).reshape(1, 4, 4, 5))
    torch.testing.assert_close(block(pixels, objects), expected)
    # a softmax over positions would make each output depend on the others
    torch.testing.assert_close(block(pixels[..., :1, :2], objects), expected[..., :1, :2])


def test_ocrnets_regions_are_supervised_and_make_the_output():
    net = backbone("ocrnet", 2, deep_supervision=True)
    output, side = architectures.SeM(net)(image(net))
    assert architectures.SeM(net).level_weights == [0.4]
    last = net.decoder.soft_regions.logits.weight
    assert torch.autograd.grad(side.square().sum(), last, retain_graph=True)[0].any()
    assert torch.autograd.grad(output.square().sum(), last)[0].any()


def test_ocrnet_knows_both_layers_of_the_classes():
    layers = backbone("ocrnet", 2, out_channels=5).output_layers()
    assert [layer.out_channels for layer in layers] == [5, 5]


def test_ocrnet_on_an_hrnet_joins_its_branches_at_a_quarter_of_the_size():
    net = backbone("ocrnet", 2, trunk="hrnet", deep_supervision=True)
    out = net(torch.randn(2, 1, 64, 32))
    assert net.size_divisor == [32, 32]
    assert out.output.shape == out.sides[0].shape == (2, 2, 64, 32)
    assert out.features[0].shape[2:] == (16, 8)
    (out.output.square().mean() + out.sides[0].square().mean()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
    latent, skips = net.encode(torch.randn(2, 1, 64, 32))
    joined = net.decoder.join(latent, skips)
    assert torch.equal(joined[:, : skips[0].shape[1]], skips[0])
    coarsest = latent[:, -net.encoder.feature_channels[-1] :]
    torch.testing.assert_close(joined[:, -coarsest.shape[1] :], linear_resize(coarsest, [16, 8]))


def test_another_trunk_is_named():
    with pytest.raises(ValueError, match="trunk is 'vgg'; expected one of resnet, hrnet"):
        backbone("ocrnet", 2, trunk="vgg")


def test_resunet_concatenates_before_it_raises_the_resolution():
    net = backbone("resunet", 2)
    seen = []
    net.decoder.stages[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    latent, skips = net.encode(image(net))
    net.decode(latent, skips)
    assert [s.shape[2] for s in skips] == [16, 8, 4, 2]
    assert seen[0].shape[1:] == (2 * latent.shape[1], *(2 * n for n in latent.shape[2:]))


@pytest.mark.parametrize("key", WITH_STRIDE)
def test_denoisers_refuse_interpolated_logits(key):
    with pytest.raises(ValueError, match=re.escape("without a learned layer")):
        architectures.DDPM(backbone(key, 2))


def test_small_settings_have_bottlenecks_and_plain_blocks():
    assert {SMALL[key]["depth"] for key in ON_RESNET} == {10, 14}


def test_an_image_of_one_stride_under_instance_norm_is_too_small_for_both_trunks_of_ocrnet():
    for trunk, side in (("hrnet", 32), ("resnet", 16)):
        net = OCRNet(2, 1, 2, trunk=trunk, depth=14, channels=4, norm="instance")
        with pytest.raises(ValueError, match=f"use \\({2 * side}, {2 * side}\\) or more"):
            net(torch.zeros(1, 1, side, side))
