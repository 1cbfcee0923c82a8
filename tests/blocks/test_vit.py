"""Global attention and its block."""

from __future__ import annotations

import re

import pytest
import torch
from monai.networks.blocks.transformerblock import TransformerBlock

from flemme_monai.backbones import SwinFamily, ViTFamily
from flemme_monai.blocks import SpatialReductionAttention, ViTBlock


def test_it_equals_monais_transformer_block():
    ours = ViTBlock(2, 8, num_heads=2, mlp_ratio=3.0)
    monais = TransformerBlock(8, 24, 2, qkv_bias=True)
    state = ours.state_dict()
    names = {"norm1": "norm1", "norm2": "norm2", "token_mixer.proj": "attn.out_proj", "mlp.fc1": "mlp.linear1"}
    names["mlp.fc2"] = "mlp.linear2"
    renamed = {f"{new}.{w}": state[f"{old}.{w}"] for old, new in names.items() for w in ("weight", "bias")}
    for w in ("weight", "bias"):
        renamed[f"attn.qkv.{w}"] = torch.cat([state[f"token_mixer.query.{w}"], state[f"token_mixer.key_value.{w}"]])
    missing = monais.load_state_dict(renamed, strict=False).missing_keys
    assert all("cross" in name for name in missing)
    x = torch.randn(2, 3, 5, 8)
    torch.testing.assert_close(ours(x), monais(x.flatten(1, 2)).view_as(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("reduction", [1, 2])
def test_every_position_sees_every_other(reduction):
    attention = SpatialReductionAttention(2, 4, 2, reduction)
    x = torch.randn(1, 4, 6, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(attention(x)[0, 0, 0].sum(), x)
    assert grad.abs().sum(-1).gt(0).all()


@pytest.mark.parametrize(("dims", "size"), [(2, (5, 7)), (3, (3, 4, 5))])
def test_reduced_attention_takes_any_size(dims, size):
    attention = SpatialReductionAttention(dims, 4, 2, spatial_reduction=2)
    assert attention(torch.randn(2, *size, 4)).shape == (2, *size, 4)


def test_reduction_shortens_keys_and_values(monkeypatch):
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def spy(q, k, v, **options):
        seen.append((q.shape[-2], k.shape[-2], v.shape[-2]))
        return attend(q, k, v, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    SpatialReductionAttention(2, 4, 2, spatial_reduction=4)(torch.randn(1, 8, 8, 4))
    assert seen == [(64, 4, 4)]


def test_attention_never_holds_a_matrix_of_all_pairs():
    """Its largest tensor grows with the number of tokens, not with its square."""
    attention = SpatialReductionAttention(2, 8, 2)
    x = torch.randn(1, 48, 48, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        attention(x)
    assert max(kept) <= 2 * x.numel()


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="num_heads is 3; expected a divisor of the 8 channels"):
        SpatialReductionAttention(2, 8, 3)


@pytest.mark.parametrize(
    ("family", "settings"),
    [(ViTFamily, {"num_heads": 0}), (ViTFamily, {"spatial_reduction": [2, -1]}), (SwinFamily, {"num_heads": -2})],
)
def test_counts_are_whole_numbers_above_0(family, settings):
    name, value = next(iter(settings.items()))
    with pytest.raises(ValueError, match=re.escape(f"{name} is {value}; expected a whole number above 0")):
        family(**settings)
