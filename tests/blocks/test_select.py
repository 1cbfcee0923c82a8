"""Selective fusion: shares of branches sum to one per channel and sample, whatever the norm."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.blocks.select import KernelSelection, SelectiveFusion


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", ["batch", "instance", "group", None])
def test_shares_sum_to_one_over_the_branches(dims, norm):
    fuse, x = SelectiveFusion(dims, 4, 3, norm), torch.randn(2, 4, *[5] * dims)
    torch.testing.assert_close(fuse([x, x, x]), x)


def test_a_sample_does_not_see_the_others():
    fuse = SelectiveFusion(2, 4, 2, "group", residual=True)
    xs = [torch.randn(2, 4, 5, 5) for _ in range(2)]
    torch.testing.assert_close(fuse(xs)[:1], fuse([x[:1] for x in xs]))


def test_branches_are_weighed_by_the_mean_of_their_sum():
    fuse = SelectiveFusion(2, 4, 2, None)
    a, b = torch.randn(1, 4, 5, 5), torch.randn(1, 4, 5, 5)
    shares = fuse.weights(fuse.squeeze((a + b).mean((2, 3), keepdim=True))).view(2, 4, 1, 1).softmax(0)
    torch.testing.assert_close(fuse([a, b]), shares[:1] * a + shares[1:] * b)


def test_one_image_under_batch_norm_is_refused_in_training_alone():
    fuse, x = SelectiveFusion(2, 4, 2, "batch"), torch.randn(1, 4, 5, 5)
    with pytest.raises(ValueError, match="expected two images a batch or another norm"):
        fuse([x, x])
    assert fuse.eval()([x, x]).shape == x.shape


def test_kernels_of_three_sizes_have_no_parameter_without_use():
    selection = KernelSelection(2, 4)
    selection(torch.randn(2, 4, 8, 8)).square().sum().backward()
    assert [name for name, p in selection.named_parameters() if p.grad is None] == []
    assert [conv.conv.kernel_size[0] for conv in selection.convs] == [3, 5, 7]
