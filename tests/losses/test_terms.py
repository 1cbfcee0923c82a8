"""Losses by name, weighted sums of them, and what is recorded of their terms."""

from __future__ import annotations

import monai
import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.losses import DiceCELoss, DiceLoss, FocalLoss, TverskyLoss
from monai.networks import one_hot

from flemme_monai.losses import LOSSES, CrossEntropy, DualTermLoss, SegmentationLoss, pyramid_loss
from flemme_monai.losses.dual_term import soft_contour

HAS_BOUNDARY = hasattr(monai.losses, "BoundaryLoss")
NAMES = [name for name in LOSSES if HAS_BOUNDARY or name != "boundary"]
OVERLAP = {"include_background": False, "to_onehot_y": True, "softmax": True, "batch": True}


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a label map of two images and three classes."""
    return torch.randn(2, 3, 12, 10), torch.randint(0, 3, (2, 1, 12, 10))


def certain(label: torch.Tensor, classes: int = 3) -> torch.Tensor:
    """Logits of a prediction that is sure of these classes."""
    return 40.0 * one_hot(label, classes)


def test_by_default_it_is_dice_and_cross_entropy(pair):
    assert torch.equal(SegmentationLoss()(*pair), DiceCELoss(**OVERLAP)(*pair))


def test_names_are_monais_losses(pair):
    for name, expected in (
        ("ce", lambda x, y: F.cross_entropy(x, y[:, 0])),
        ("dice", DiceLoss(**OVERLAP)),
        ("iou", DiceLoss(jaccard=True, **OVERLAP)),
        ("focal", FocalLoss(to_onehot_y=True, use_softmax=True)),
    ):
        torch.testing.assert_close(SegmentationLoss([name])(*pair), expected(*pair))


@pytest.mark.skipif(not HAS_BOUNDARY, reason="MONAI 1.6.0 has none")
def test_the_boundary_loss_is_lower_the_nearer_a_prediction_is(pair):
    label = torch.zeros(1, 1, 16, 16, dtype=torch.long)
    label[..., 4:10, 4:10] = 1
    losses = [SegmentationLoss("boundary")(certain(label.roll(n, 2), 2), label) for n in (0, 1, 3)]
    assert losses == sorted(losses)
    assert losses[0] < losses[1]


def test_without_monais_boundary_loss_the_message_says_what_is_needed(monkeypatch):
    monkeypatch.delattr(monai.losses, "BoundaryLoss", raising=False)
    with pytest.raises(ValueError, match=r"has no boundary loss; expected 1\.6\.1"):
        SegmentationLoss(["boundary"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dims", [2, 3])
def test_every_loss_falls_along_its_gradient_and_is_lowest_for_the_label(name, dims):
    logits = torch.randn([2, 3] + [8] * dims, requires_grad=True)
    label = torch.zeros([2, 1] + [8] * dims)
    label[:, :, 2:6, 2:6], label[:, :, 3:5, 3:5] = 1, 2
    loss = SegmentationLoss([name])
    first = loss(logits, label)
    first.backward()
    assert logits.grad.isfinite().all()
    assert loss((logits - 10 * logits.grad).detach(), label) < first
    assert loss(certain(label), label) < loss(certain((label + 1) % 3), label)
    if name != "boundary":  # which is below 0 inside
        assert loss(certain(label), label) == pytest.approx(0.0, abs=1e-4)


def test_a_class_weight_multiplies_the_pixels_of_its_class(pair):
    logits, label = pair
    weights = torch.tensor([0.2, 0.5, 2.0])
    of_pixels = weights[label[:, 0]]
    expected = (F.cross_entropy(logits, label[:, 0], reduction="none") * of_pixels).sum() / of_pixels.sum()
    torch.testing.assert_close(CrossEntropy([0.2, 0.5, 2])(logits, label), expected)


@pytest.mark.parametrize("weights", [[0.0, 1.0], [1.0, -1.0]])
def test_class_weights_zero_no_class(weights):
    with pytest.raises(ValueError, match="expected numbers above 0: of a class without weight nothing"):
        CrossEntropy(weights)


def test_class_weights_are_one_for_each_class(pair):
    with pytest.raises(ValueError, match="expected 3, one for each class"):
        CrossEntropy([1.0, 1.0])(*pair)


def test_a_sum_is_written_as_a_list_with_weights(pair):
    loss = SegmentationLoss(
        [
            {"loss": "ce", "weight": 0.5, "class_weights": [0.2, 0.4, 0.4]},
            {"loss": "focal", "gamma": 3.0},
            {"loss": TverskyLoss(**{**OVERLAP, "batch": False}), "weight": 2},
            "iou",
        ]
    )
    total = loss(*pair)
    assert list(loss.recorded) == ["ce", "focal", "TverskyLoss", "iou"]
    torch.testing.assert_close(sum(loss.recorded.values()), total)
    torch.testing.assert_close(loss.recorded["ce"], 0.5 * CrossEntropy([0.2, 0.4, 0.4])(*pair))
    torch.testing.assert_close(loss.recorded["focal"], FocalLoss(to_onehot_y=True, use_softmax=True, gamma=3.0)(*pair))


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "no terms; expected one or more"),
        (["dicee"], "there is no loss 'dicee'; expected one of ce, dice, iou"),
        ([{"weight": 1.0}], "expected a name, or"),
        ([{"loss": "ce", "weight": 0}], "the weight of the loss 'ce' is 0; expected a number above 0"),
        ([{"loss": "ce", "class_weight": [1, 1]}], "has no argument 'class_weight'; expected one of class_weights"),
        ([{"loss": TverskyLoss(), "alpha": 1}], "beside it a weight alone"),
        (["ce", {"loss": "ce", "weight": 2}], "the term 'ce' twice"),
        ([{"loss": "dual_term", "contour_weight": -1}], "contour_weight is -1; expected 0 or more"),
    ],
)
def test_terms_that_are_none_are_refused(terms, message):
    with pytest.raises(ValueError, match=message):
        SegmentationLoss(terms)


def test_terms_of_levels_add_up_to_the_loss_of_all_levels(pair):
    logits, label = pair
    inner = SegmentationLoss([{"loss": "ce", "weight": 0.3}, "dice"])
    loss = pyramid_loss(inner, 2, level_weights=[0.5, 0.25])
    total = loss([logits, F.avg_pool2d(logits, 2), logits], label)
    torch.testing.assert_close(sum(loss.recorded.values()), total)
    small = label[..., 1::2, 1::2]
    ce = [F.cross_entropy(x, y[:, 0]) for x, y in ((logits, label), (F.avg_pool2d(logits, 2), small), (logits, label))]
    torch.testing.assert_close(loss.recorded["ce"], 0.3 * (ce[0] + 0.5 * ce[1] + 0.25 * ce[2]))
    loss(logits, label)
    torch.testing.assert_close(loss.recorded["ce"], 0.3 * ce[0])


def test_a_loss_without_terms_records_none(pair):
    loss = pyramid_loss(DiceCELoss(**OVERLAP), 1)
    loss([pair[0], pair[0]], pair[1])
    assert loss.recorded == {}


def test_labels_with_metadata_have_the_same_loss(pair):
    logits, label = pair
    plain = SegmentationLoss(NAMES)(logits, label.float())
    assert torch.equal(SegmentationLoss(NAMES)(logits, MetaTensor(label.float())), plain)
    assert type(SegmentationLoss()(logits, MetaTensor(label))) is torch.Tensor


def test_the_contour_of_a_square_is_its_border():
    square = torch.zeros(1, 1, 7, 7)
    square[..., 1:6, 1:6] = 1
    border = square.clone()
    border[..., 2:5, 2:5] = 0
    assert torch.equal(soft_contour(square), border)


def test_the_dual_term_sees_a_shape_that_the_region_does_not():
    label = torch.zeros(1, 1, 16, 16, dtype=torch.long)
    label[..., 2:14, 2:14] = 1
    fringed, holed = label.clone(), label.clone()
    holed[..., 6:10, 6:10] = 0  # 16 positions
    fringed[..., 2:14:2, 2], fringed[..., 2:14:2, 13], fringed[..., 2, 4:12:2] = 0, 0, 0  # 16 positions too
    region, both = DualTermLoss(contour_weight=0), DualTermLoss()
    assert (label != holed).sum() == (label != fringed).sum()
    torch.testing.assert_close(region(certain(holed, 2), label), region(certain(fringed, 2), label))
    assert both(certain(fringed, 2), label) > region(certain(fringed, 2), label) + 0.1


@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 0.5]])
def test_cross_entropy_is_the_same_with_and_without_a_gradient(class_weights):
    logits, label = torch.randn(2, 3, 150, 4), torch.randint(0, 3, (2, 1, 150, 4))  # more than a piece
    loss = LOSSES["ce"](class_weights=class_weights)
    torch.testing.assert_close(loss(logits, label), loss(logits.clone().requires_grad_(), label))
