"""External attention: what its weights sum to, over positions and over memories."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.blocks.external_attention import ExternalAttention


@pytest.mark.parametrize("dims", [2, 3])
def test_weights_are_a_softmax_over_positions_then_divided_over_memories(dims):
    block, x, seen = ExternalAttention(dims, 6, memories=4).eval(), torch.randn(2, 6, *[3, 4, 5][:dims]), []
    block.values.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    out = block(x)
    scores = torch.einsum("mc,bcl->bml", block.keys.weight[..., 0], block.query(x).flatten(2))
    over_positions = scores.exp() / scores.exp().sum(2, keepdim=True)
    torch.testing.assert_close(seen[0], over_positions / over_positions.sum(1, keepdim=True))
    torch.testing.assert_close(seen[0].sum(1), torch.ones(2, x.shape[2:].numel()))
    assert out.shape == x.shape


def test_the_second_memory_begins_as_the_first_and_is_learned_for_itself():
    block = ExternalAttention(2, 6, memories=4)
    assert torch.equal(block.values.weight[..., 0], block.keys.weight[..., 0].T)
    block(torch.randn(2, 6, 3, 3)).square().mean().backward()
    assert not torch.equal(block.values.weight.grad[..., 0], block.keys.weight.grad[..., 0].T)


def test_under_group_norm_it_has_the_groups_that_it_is_given():
    assert ExternalAttention(2, 6, norm="group", num_groups=3).proj.norm.num_groups == 3
