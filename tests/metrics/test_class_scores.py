"""A classifier's word on images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flemme_monai.metrics import class_accuracy, class_scores, classifier_outputs


class Means(torch.nn.Module):
    """Names the brightest channel; in training mode it errs."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.sizes = []

    def features(self, x):
        self.sizes.append(len(x))
        return self.scale * x.flatten(2).mean(2) * (0 if self.training else 1)

    def forward(self, x):
        return self.features(x) * 10


@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=["2d", "3d"])
def test_images_are_seen_in_batches_in_eval_mode_without_gradients(size):
    classifier, images = Means(), torch.rand(5, 3, *size)
    features, logits = classifier_outputs(classifier, images, batch_size=2)
    assert torch.allclose(features, images.flatten(2).mean(2))
    assert torch.allclose(logits, features * 10)
    assert not features.requires_grad
    assert max(classifier.sizes) == 2
    assert classifier.training


def test_accuracy_is_the_share_of_asked_classes_that_are_named():
    assert class_accuracy(torch.eye(4), torch.tensor([0, 1, 2, 0])) == 0.75


@pytest.mark.parametrize("label", [-1, 4])
def test_a_class_that_the_classifier_does_not_know_is_refused(label):
    with pytest.raises(ValueError, match="expected the classifier's 0 to 3"):
        class_accuracy(torch.eye(4), torch.tensor([0, 1, 2, label]))


def test_as_many_labels_as_samples_are_needed():
    with pytest.raises(ValueError, match="3 class labels; expected one for each of 4 samples"):
        class_accuracy(torch.eye(4), torch.zeros(3).long())


def test_scores_of_each_class_are_those_of_its_cases():
    """Of class 0 both are found; of class 1 one of two, which class 0 gets; class 2 has no case and gets none."""
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1]])
    scores = class_scores(np.array([0, 0, 1, 1]), probabilities)
    assert scores["precision"].tolist() == pytest.approx([2 / 3, 1, np.nan], nan_ok=True)
    assert scores["recall"].tolist() == pytest.approx([1, 0.5, np.nan], nan_ok=True)
    assert scores["f1"].tolist() == pytest.approx([0.8, 2 / 3, np.nan], nan_ok=True)
    assert scores["auc"].tolist() == pytest.approx([1, 1, np.nan], nan_ok=True)


def test_an_only_class_has_no_area_under_a_curve():
    scores = class_scores(np.array([1, 1]), np.array([[0.2, 0.8], [0.7, 0.3]]))
    assert scores["recall"].tolist() == pytest.approx([np.nan, 0.5], nan_ok=True)
    assert np.isnan(scores["auc"]).all()
