"""The loss of a network that aligns its image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from flemme_monai.losses import AlignmentLoss, SegmentationLoss, aligned_loss, pyramid_loss

PARAMETERS = torch.tensor([[0.1, -0.2], [0.0, 0.4]])
PENALTY = 0.5 * ((0.01 + 0.04) + 0.16) / 2


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a label map of three classes."""
    return torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8)).float()


def test_the_penalty_is_the_mean_squared_norm_of_the_parameters(pair):
    logits, label = pair
    base, loss = SegmentationLoss(), AlignmentLoss(SegmentationLoss(), 0.5)
    torch.testing.assert_close(loss([logits, PARAMETERS], label), base(logits, label) + PENALTY)
    assert list(loss.recorded) == ["dice", "ce", "alignment"]
    torch.testing.assert_close(loss.recorded["alignment"], torch.tensor(PENALTY))


def test_levels_go_to_the_loss_of_levels_and_the_parameters_do_not(pair):
    logits, label = pair
    levels = [logits, torch.randn(2, 3, 4, 4)]
    base, loss = (pyramid_loss(SegmentationLoss(), 1) for _ in range(2))
    total = AlignmentLoss(loss, 0.5)
    torch.testing.assert_close(total([*levels, PARAMETERS], label), base(levels, label) + PENALTY)
    torch.testing.assert_close(sum(total.recorded.values()), base(levels, label) + PENALTY)


def test_a_loss_without_terms_is_one_of_two(pair):
    logits, label = pair
    loss = AlignmentLoss(lambda pred, target: F.cross_entropy(pred, target[:, 0].long()), 0.5)
    total = loss([logits, PARAMETERS], label)
    assert list(loss.recorded) == ["prediction", "alignment"]
    torch.testing.assert_close(sum(loss.recorded.values()), total)


def test_its_gradient_pulls_the_parameters_to_the_identity(pair):
    parameters = PARAMETERS.clone().requires_grad_()
    AlignmentLoss(SegmentationLoss(), 0.5)([pair[0], parameters], pair[1]).backward()
    torch.testing.assert_close(parameters.grad, 0.5 * 2 * PARAMETERS / 2)


def test_without_an_alignment_the_loss_is_itself():
    loss = SegmentationLoss()
    assert aligned_loss(loss, None, 0.1) is loss
    assert isinstance(aligned_loss(loss, torch.nn.Identity(), 0.1), AlignmentLoss)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"the weight of the alignment's penalty is -1; expected 0 or more"):
        AlignmentLoss(SegmentationLoss(), -1)
