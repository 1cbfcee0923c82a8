"""A classifier's word on images."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.metrics import class_accuracy, classifier_outputs


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
    with pytest.raises(ValueError, match="the classifier knows 0 to 3"):
        class_accuracy(torch.eye(4), torch.tensor([0, 1, 2, label]))


def test_as_many_labels_as_samples_are_needed():
    with pytest.raises(ValueError, match="4 samples and 3 class labels"):
        class_accuracy(torch.eye(4), torch.zeros(3).long())
