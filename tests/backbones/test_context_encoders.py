"""Embeddings of a context: an image by any encoder, numbers standardised, and one embedding for each half."""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch import nn

from flemme_monai import architectures
from flemme_monai.backbones import ConditioningConfig, SwinFamily
from flemme_monai.blocks import BlockInjection, ContextFusion
from flemme_monai.diffusion import null_context
from flemme_monai.registry import ENCODERS as ROWS
from flemme_monai.utils.network_config import build_network, config_of
from tests.networks import SIZES, backbone, image

SMALL = {"channels": [8], "middle_channels": [8], "patch_channels": 8, "num_blocks": 1}
CONTEXTS = {
    "class": (3, torch.tensor([0, 2])),
    "position": (2, torch.tensor([[1, 5], [4, 2]])),
    "vector": (2, torch.tensor([[1.0, 50.0], [-1.0, 20.0]])),
    "image": (1, torch.randn(2, 1, *SIZES[2], generator=torch.Generator().manual_seed(0))),
}


def settings(context: str, **more) -> ConditioningConfig:
    return ConditioningConfig(context=context, context_size=CONTEXTS[context][0], channels=8, **more)


def woken(net: nn.Module) -> nn.Module:
    """With injections that say something."""
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.5)
    return net


def by(encoder: str, **more) -> ConditioningConfig:
    return settings("image", image_encoder=ROWS[encoder].path, image_encoder_settings=SMALL, **more)


@pytest.mark.parametrize("encoder", ROWS)
def test_every_encoder_embeds_an_image_that_reaches_every_stage(encoder):
    net = woken(backbone("UNet", 2, conditioning=by(encoder))).eval()
    x, context = image(2), CONTEXTS["image"][1]
    before = net(x, None, context)
    seen = []
    for module in net.modules():
        if isinstance(module, BlockInjection):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].context_emb.shape))
    after = net(x, None, context.flip(0))
    stages = [b for b in net.modules() if isinstance(b, BlockInjection)]
    assert len(seen) == len(stages) > 4
    assert set(seen) == {(2, 8, *(n // 4 for n in SIZES[2]))}  # its latent's own resolution
    changed = [
        not torch.allclose(a, b) for a, b in zip(before.features + [before.latent], after.features + [after.latent])
    ]
    assert all(changed)
    net.train()(x, None, context).output.square().mean().backward()
    assert all(
        p.grad is not None
        for p in net.conditions.context.parameters()
        if p is not net.conditions.context.null_embedding
    )


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("way", [{"combine": "cat"}, {"combine": "add"}, {"injection": "cross_attention"}])
def test_an_encoded_image_goes_every_way_in_2d_and_3d(way, dims):
    net = woken(backbone("CNN", dims, conditioning=by("vit", **way))).eval()
    first, second = (torch.randn(2, 1, *SIZES[dims]) for _ in range(2))
    x = image(dims)
    assert not torch.allclose(net(x, None, first).output, net(x, None, second).output)
    nothing = net(x, None, torch.full_like(first, -1.0)).output
    net.conditions.context.null_embedding.data += 1.0
    assert not torch.allclose(net(x, None, torch.full_like(first, -1.0)).output, nothing)


def test_an_encoder_of_a_larger_stride_sees_the_image_enlarged():
    deep = {"image_encoder": ROWS["unet"].path, "image_encoder_settings": {**SMALL, "channels": [8] * 4}}
    net = woken(backbone("UNet", 2, conditioning=settings("image", **deep))).eval()
    x, context = image(2), CONTEXTS["image"][1]
    seen = []
    encoder = net.conditions.context.encoder
    hook = encoder.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    assert not torch.allclose(net(x, None, context).output, net(x, None, context.flip(0)).output)
    assert (encoder.strides, set(seen)) == ([32, 32], {(64, 64)})  # of 16 by 24
    hook.remove()
    torch.testing.assert_close(torch.jit.script(net)(x, None, context).output, net(x, None, context).output)


def test_an_encoder_that_is_none_is_refused():
    for path in ("os.path.join", "flemme_monai.backbones.ConvFamily", "vit"):
        with pytest.raises(ValueError, match=re.escape(f"image_encoder is {path!r}; expected a backbone")):
            backbone("UNet", 2, conditioning=settings("image", image_encoder=path))
    wrong = settings("image", image_encoder=ROWS["unet"].path, image_encoder_settings={"width": 3})
    with pytest.raises(ValueError, match=r"image_encoder_settings: .*width.*; expected arguments of"):
        backbone("UNet", 2, conditioning=wrong)


def test_numbers_are_standardised_by_what_is_saved_with_the_weights():
    plain = woken(backbone("UNet", 2, conditioning=settings("vector", separate_embeddings=True))).eval()
    net = woken(backbone("UNet", 2, conditioning=settings("vector", separate_embeddings=True))).eval()
    net.load_state_dict(plain.state_dict())
    net.standardize_context([0.5, 40.0], [2.0, 10.0])
    x, numbers = image(2), CONTEXTS["vector"][1]
    by_hand = (numbers - torch.tensor([0.5, 40.0])) / torch.tensor([2.0, 10.0])
    standardised = net(x, None, numbers).output
    torch.testing.assert_close(standardised, plain(x, None, by_hand).output)
    assert not torch.allclose(standardised, plain(x, None, numbers).output)
    plain.load_state_dict(net.state_dict())
    torch.testing.assert_close(plain(x, None, numbers).output, standardised)


@pytest.mark.parametrize(
    ("context", "mean", "std"),
    [("vector", [1.0], [1.0]), ("vector", [1.0, 2.0], [1.0, 0.0]), ("class", [1.0, 2.0, 3.0], [1.0, 1.0, 1.0])],
)
def test_other_statistics_than_a_vector_s_are_refused(context, mean, std):
    net = backbone("UNet", 2, conditioning=settings(context))
    with pytest.raises(ValueError, match="expected a vector, and for each number a mean and a deviation above 0"):
        net.standardize_context(mean, std)
    with pytest.raises(ValueError, match="context given, but this backbone was built without"):
        backbone("UNet", 2).standardize_context(mean, std)


def test_minus_one_is_a_number_and_nan_is_none():
    net = woken(backbone("UNet", 2, conditioning=settings("vector"))).eval()
    x = image(2)
    minus, none = (torch.full((2, 2), value) for value in (-1.0, torch.nan))
    assert torch.isnan(null_context(minus)).all()
    assert null_context(torch.tensor([[1, 2]])).eq(-1).all()
    outputs = [net(x, None, context).output for context in (minus, none, torch.tensor([[torch.nan, 3.0]] * 2))]
    assert not torch.allclose(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[1], outputs[2])
    assert torch.isfinite(outputs[1]).all()


@pytest.mark.parametrize("context", CONTEXTS)
def test_each_half_has_an_embedding_of_its_own(context):
    net = woken(backbone("UNet", 2, conditioning=settings(context, separate_embeddings=True))).eval()
    x, given = image(2), CONTEXTS[context][1]
    embedded = net.embed(2, list(x.shape[2:]), None, given)
    assert not torch.allclose(embedded.context_emb, embedded.decoder_context_emb)
    before = net(x, None, given)
    for parameter in net.conditions.decoder_context.parameters():
        parameter.data.add_(0.5)
    after = net(x, None, given)
    torch.testing.assert_close(after.latent, before.latent)
    assert not torch.allclose(after.output, before.output)
    for parameter in net.conditions.context.parameters():
        parameter.data.add_(0.5)
    last = net(x, None, given)
    assert not torch.allclose(last.latent, after.latent)
    shared = backbone("UNet", 2, conditioning=settings(context))
    assert {name for name in net.state_dict() if "decoder_context" not in name} == set(shared.state_dict())


@pytest.mark.parametrize("way", [{"combine": "cat"}, {"combine": "add"}])
def test_what_is_added_or_concatenated_is_each_half_s_own(way):
    net = woken(backbone("ViT", 2, conditioning=settings("class", separate_embeddings=True, **way))).eval()
    fusions = [module.own_of_decoder for module in net.modules() if isinstance(module, ContextFusion)]
    assert fusions == [False, True]
    x, label = image(2), CONTEXTS["class"][1]
    before = net(x, None, label)
    net.conditions.decoder_context.embedding.weight.data.add_(1.0)
    after = net(x, None, label)
    torch.testing.assert_close(after.latent, before.latent)
    assert not torch.allclose(after.output, before.output)


def test_the_levels_of_a_pyramid_see_the_decoder_s_embedding():
    net = architectures.HSeM(backbone("UNet", 2, conditioning=settings("class", separate_embeddings=True)))
    own = [[i.own_of_decoder for i in level.block.injections] for level in net.pyramid.levels]
    assert all(all(level) for level in own)


@pytest.mark.parametrize("context", CONTEXTS)
def test_both_halves_lose_the_context_of_the_same_samples(context):
    net = backbone("ViT", 2, conditioning=settings(context, separate_embeddings=True, drop=0.5)).train()
    given = CONTEXTS[context][1][:1].expand(64, *CONTEXTS[context][1].shape[1:])
    torch.manual_seed(0)
    embedded = net.embed(64, list(SIZES[2]), None, given)
    nulls = (net.conditions.context.null_embedding, net.conditions.decoder_context.null_embedding)
    lost = [
        (emb - null).flatten(1).abs().amax(1) == 0
        for emb, null in zip((embedded.context_emb, embedded.decoder_context_emb), nulls)
    ]
    assert torch.equal(*lost)
    assert 16 < lost[0].sum() < 48
    net.eval()
    given_emb = net.embed(64, list(SIZES[2]), None, given).context_emb
    assert ((given_emb - nulls[0]).flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize("context", CONTEXTS)
def test_networks_of_either_kind_are_scripted_and_built_again_from_their_record(context):
    more = {"separate_embeddings": True, "drop": 0.25}
    if context == "image":
        blocks = {"family": SwinFamily(window_size=4)}
        more |= {"image_encoder": ROWS["swin"].path, "image_encoder_settings": {**SMALL, **blocks}}
    c = settings(context, **more)
    net = woken(backbone("UNet", 2, conditioning=c)).eval()
    x, given = image(2), CONTEXTS[context][1]
    out = net(x, None, given).output
    torch.testing.assert_close(torch.jit.script(net)(x, None, given).output, out)
    record = json.loads(json.dumps(config_of(net)))
    again = build_network(record).eval()
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again(x, None, given).output, out)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"context": "class", "image_encoder": "a.b"}, "image_encoder=a.b without an image as context"),
        ({"context": "image", "image_encoder_settings": {"a": 1}}, "without an image_encoder"),
        ({"context": "image", "image_encoder": "a.b", "image_depth": 1}, "image_depth=1 beside an image_encoder"),
        ({"context": "class", "separate_embeddings": True, "side": "encoder"}, "without a context of both sides"),
    ],
)
def test_what_has_no_use_is_refused(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ConditioningConfig(context_size=3, **wrong)
