"""Conditions: what they embed, when they are absent, and how they reach a feature."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flemme_monai.blocks import (
    INJECTIONS,
    ClassContext,
    ConditionEmbeddings,
    ContextFusion,
    ImageContext,
    PositionContext,
    TimestepEmbedding,
    injection,
)


def contexts(drop: float = 0.0) -> dict[str, tuple[nn.Module, torch.Tensor, torch.Tensor]]:
    """Each context, an input of it, and the input that stands for none."""
    image = torch.randn(4, 2, 8, 8)
    return {
        "class": (ClassContext(3, 2, 6, drop), torch.tensor([0, 1, 2, 0]), torch.full((4,), -1)),
        "position": (PositionContext(2, 2, 6, drop), torch.randint(0, 9, (4, 2)), torch.full((4, 2), -1)),
        "image": (ImageContext(nn.Conv2d(2, 6, 2, 2), 2, 2, 6, drop), image, torch.full_like(image, -1)),
    }


def test_steps_become_their_sinusoids():
    embedding = TimestepEmbedding(2, 8)
    embedding.mlp = nn.Identity()
    found = embedding(torch.tensor([0.0, 7.0]))[:, :, 0, 0]
    angles = 7.0 * 10000.0 ** -(torch.arange(4) / 4)
    torch.testing.assert_close(found[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    torch.testing.assert_close(found[1], torch.cat([angles.cos(), angles.sin()]))


def test_an_odd_width_of_steps_is_refused():
    with pytest.raises(ValueError, match="has 7 channels; expected an even number"):
        TimestepEmbedding(2, 7)


@pytest.mark.parametrize("name", ["class", "position", "image"])
def test_what_is_absent_has_an_embedding_of_its_own(name):
    module, given, nothing = contexts()[name]
    found, null = module(given), module(nothing)
    assert torch.equal(null, module.null_embedding.expand_as(null))
    assert not torch.equal(found, null)
    mixed = given.clone()
    mixed[1] = -1
    assert torch.equal(module(mixed)[1], null[1])
    assert torch.equal(module(mixed)[0], found[0])


@pytest.mark.parametrize("name", ["class", "position", "image"])
def test_a_random_subset_of_a_batch_loses_its_condition_in_training(name):
    module, given, _ = contexts(drop=0.5)[name]
    given = given[:1].expand(400, *given.shape[1:])
    lost = (module.train()(given) == module.null_embedding).flatten(1).all(1)
    assert 120 < int(lost.sum()) < 280
    assert not (module.eval()(given) == module.null_embedding).flatten(1).all(1).any()


def test_a_class_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"class label \[3\]; expected 0 to 2, or -1 for none"):
        ClassContext(3, 2, 6)(torch.tensor([3]))


@pytest.mark.parametrize("kind", INJECTIONS)
@pytest.mark.parametrize("extent", [(1, 1), (4, 4), (16, 16)])
def test_an_injection_begins_as_the_identity_and_learns(kind, extent):
    module, x = injection(kind, 2, 6, 8, 2), torch.randn(2, 8, 8, 8)
    condition = torch.randn(2, 6, *extent)
    assert torch.equal(module(x, condition), x)
    nn.init.normal_(module.proj.weight)
    assert not torch.allclose(module(x, condition)[0], module(x, condition.flip(0))[0] - x[0] + x[0])


@pytest.mark.parametrize(("kind", "expected"), [("gate", 3.0), ("bias", 3.0), ("gate_bias", 5.0)])
def test_modulation_by_hand(kind, expected):
    """x = 1, gate = bias = 2: x (1 + gate), x + bias, x (1 + gate) + bias."""
    module = injection(kind, 2, 1, 1, 1)
    nn.init.constant_(module.proj.bias, 2.0)
    out = module(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 1, 1))
    torch.testing.assert_close(out, torch.full((1, 1, 2, 2), expected))


@pytest.mark.parametrize("cat", [False, True])
def test_add_and_cat_take_a_condition_of_any_extent(cat):
    module, x = ContextFusion(2, 6, 8, cat), torch.randn(2, 8, 4, 4)
    for extent in (1, 1), (4, 4), (8, 8):
        condition = torch.randn(2, 6, *extent, requires_grad=True)
        out = module(x, ConditionEmbeddings(None, condition))
        assert out.shape == x.shape
        assert torch.autograd.grad(out.sum(), condition)[0].abs().sum() > 0


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="num_heads is 3; expected a divisor of the 8 channels"):
        injection("cross_attention", 2, 6, 8, 3)
