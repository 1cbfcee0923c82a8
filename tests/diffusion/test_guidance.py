"""Guidance is the linear combination of Ho and Salimans, with MONAI's fill value for no context."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.diffusion import classifier_free_guidance, null_context


@pytest.mark.parametrize("context", [torch.tensor([0, 4]), torch.rand(2, 1, 4, 4), torch.tensor([[1, 2], [3, 4]])])
def test_an_absent_context_is_minus_one_everywhere(context):
    null = null_context(context)
    assert null.shape == context.shape
    assert null.dtype == context.dtype
    assert (null == -1).all()


def test_a_context_that_cannot_be_minus_one_is_refused():
    with pytest.raises(ValueError, match=r"torch.uint8"):
        null_context(torch.tensor([1], dtype=torch.uint8))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 4.0])
def test_predictions_are_combined_linearly(weight):
    def network(x, timesteps, context):
        return x * context.view(-1, 1, 1, 1) + timesteps.view(-1, 1, 1, 1)

    x, timesteps, context = torch.rand(2, 1, 4, 4), torch.tensor([7, 9]), torch.tensor([1, 2])
    uncond, cond = network(x, timesteps, null_context(context)), network(x, timesteps, context)
    torch.testing.assert_close(
        classifier_free_guidance(network, context, weight)(x, timesteps), uncond + weight * (cond - uncond)
    )
