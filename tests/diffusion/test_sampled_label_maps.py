"""Label maps that are sampled under an image: their mean probabilities and their uncertainty."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer

from flemme_monai.diffusion import AveragedLabelInferer
from flemme_monai.transforms import SampledLabelMapd


class Votes:
    """A sampler that gives one label map after another, where the image is above 0."""

    num_inference_steps = 1

    def __init__(self, *maps: torch.Tensor) -> None:
        self.maps, self.calls, self.shapes = maps, 0, []

    def __call__(self, network, noise, context, guidance_scale, generators, on_step):
        self.shapes.append(tuple(noise.shape))
        sample = self.maps[self.calls % len(self.maps)].view(1, -1, 1, 1) * (context > 0)
        self.calls += 1
        return sample


BACKGROUND, FOREGROUND, NEITHER = torch.tensor([1.0, -1.0]), torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, -1.0])


def test_the_mean_of_votes_is_their_share_and_the_deviation_is_that_of_a_coin():
    sampler = Votes(FOREGROUND, FOREGROUND, FOREGROUND, BACKGROUND)
    image = torch.ones(2, 3, 4, 4)
    result = AveragedLabelInferer(sampler, num_classes=2, num_samples=4)(image[:, :1], None)
    mean, deviation = result.chunk(2, 1)
    assert sampler.shapes == [(2, 2, 4, 4)] * 4
    torch.testing.assert_close(mean[:, 1], torch.full((2, 4, 4), 0.75), atol=1e-5, rtol=0)
    torch.testing.assert_close(mean.sum(1), torch.ones(2, 4, 4))
    # the unbiased deviation of three ones and a zero: sqrt(n p (1 - p) / (n - 1))
    expected = math.sqrt(4 * 0.75 * 0.25 / 3)
    torch.testing.assert_close(deviation, torch.full((2, 2, 4, 4), expected), atol=1e-5, rtol=0)


def test_what_a_sample_says_beyond_its_bounds_counts_as_sure_and_nothing_said_as_even():
    beyond = AveragedLabelInferer(Votes(3 * FOREGROUND), num_classes=2, num_samples=2)(torch.ones(1, 1, 2, 2), None)
    torch.testing.assert_close(beyond[:, 1], torch.ones(1, 2, 2), atol=1e-5, rtol=0)
    nothing = AveragedLabelInferer(Votes(NEITHER), num_classes=2, num_samples=2)(torch.ones(1, 1, 2, 2), None)
    torch.testing.assert_close(nothing[:, :2], torch.full((1, 2, 2, 2), 0.5))


def test_classes_that_may_overlap_are_not_brought_to_a_sum_of_one():
    inferer = AveragedLabelInferer(Votes(torch.tensor([1.0, 1.0])), num_classes=2, num_samples=2, multi_label=True)
    assert torch.equal(inferer(torch.ones(1, 1, 2, 2), None)[:, :2], torch.ones(1, 2, 2, 2))


def test_a_larger_image_is_taken_in_windows():
    window = SlidingWindowInferer(roi_size=(4, 4), sw_batch_size=3, overlap=0.25)
    inferer = AveragedLabelInferer(Votes(FOREGROUND), num_classes=2, num_samples=2, window=window)
    assert inferer(torch.ones(1, 1, 6, 10), None).shape == (1, 4, 6, 10)


def test_the_label_map_is_the_most_probable_class_and_the_uncertainty_the_largest_deviation():
    mean = torch.tensor([[0.2, 0.7], [0.5, 0.1], [0.3, 0.2]])[..., None]
    deviation = torch.tensor([[0.1, 0.0], [0.3, 0.2], [0.2, 0.4]])[..., None]
    given = MetaTensor(torch.cat([mean, deviation]), affine=torch.diag(torch.tensor([2.0, 2.0, 1.0, 1.0])))
    out = SampledLabelMapd()({"pred": given})
    assert out["pred"].tolist() == [[[1], [0]]]
    assert not out["pred"].is_floating_point()
    torch.testing.assert_close(out["probabilities"].as_tensor(), mean)
    torch.testing.assert_close(out["uncertainty"].as_tensor(), torch.tensor([[[0.3], [0.4]]]))
    assert all(torch.equal(out[key].affine, given.affine) for key in ("pred", "probabilities", "uncertainty"))


def test_masks_of_classes_that_may_overlap():
    out = SampledLabelMapd(multi_label=True)({"pred": torch.tensor([0.6, 0.5, 0.1, 0.2]).view(4, 1, 1)})
    assert out["pred"].flatten().tolist() == [1, 1]
    assert out["uncertainty"].item() == pytest.approx(0.2)
