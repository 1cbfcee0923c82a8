"""Losses of masks that may overlap."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.losses import SegmentationLoss, pyramid_loss

OVERLAPPING = torch.tensor([[[[1.0, 1, 0, 0]], [[0.0, 1, 1, 0]]]])  # (1, 2, 1, 4)


def test_binary_cross_entropy_is_of_each_output_for_itself():
    logits = torch.tensor([[[[2.0, -1, 0, 0]], [[0.0, 3, 0, -4]]]])
    p = logits.sigmoid()
    expected = -(OVERLAPPING * p.log() + (1 - OVERLAPPING) * (1 - p).log()).mean()
    for name in ("bce", "ce"):
        loss = SegmentationLoss([name], multi_label=True)
        torch.testing.assert_close(loss(logits, OVERLAPPING.to(torch.uint8)), expected)


def test_dice_bce_is_the_default_and_falls_to_nothing_where_masks_overlap_and_are_right():
    loss = SegmentationLoss(multi_label=True)
    assert loss((OVERLAPPING * 2 - 1) * 30, OVERLAPPING).item() == pytest.approx(0, abs=1e-4)
    assert set(loss.recorded) == {"dice", "ce"}
    # of exclusive classes one of both is wrong where they overlap
    assert (
        loss((OVERLAPPING[:, :1] - OVERLAPPING[:, 1:]) * torch.tensor([30.0, -30.0]).reshape(1, 2, 1, 1), OVERLAPPING)
        > 0.3
    )


def test_dice_counts_each_class_also_the_first():
    half = OVERLAPPING.clone()
    half[:, 0] = 0
    dice = SegmentationLoss(["dice"], multi_label=True)((half * 2 - 1) * 30, OVERLAPPING)
    assert dice.item() == pytest.approx(0.5, abs=1e-3)


def test_the_levels_of_a_pyramid_take_masks():
    loss = pyramid_loss(SegmentationLoss(["bce"], multi_label=True), num_levels=1)
    masks = OVERLAPPING.repeat_interleave(2, 2).repeat_interleave(2, 3)
    logits = (masks * 2 - 1) * 30
    assert loss([logits, logits[:, :, ::2, ::2]], masks).item() == pytest.approx(0, abs=1e-4)


def test_a_loss_of_label_maps_alone_is_refused():
    with pytest.raises(ValueError, match="there is no loss 'boundary' with multi_label; expected one of bce, ce, dice"):
        SegmentationLoss(["boundary"], multi_label=True)
    with pytest.raises(ValueError, match="there is no loss 'bce'; expected one of ce, dice"):
        SegmentationLoss(["bce"])
