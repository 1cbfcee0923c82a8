"""The noise that samples start from."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader

from flemme_monai.diffusion import InitialNoise, initial_noise


def test_a_sample_s_noise_is_that_of_its_seed_and_place():
    data = InitialNoise(5, (1, 8, 8), seed=10)
    assert len(data) == 5
    assert torch.equal(data[3]["image"], initial_noise((1, 8, 8), 10, 3))
    assert torch.equal(data[3]["image"], InitialNoise(4, (1, 8, 8), seed=10)[3]["image"])
    assert set(data[0]) == {"image", "case"}


def test_no_sample_of_a_seed_is_one_of_another_seed():
    noises = [InitialNoise(20, (4,), seed=seed)[i]["image"] for seed in range(20) for i in range(20)]
    assert len(torch.stack(noises).unique(dim=0)) == 400


def test_noise_of_a_seed_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"seed is -1, with indices \[2\]; expected 0 or more"):
        initial_noise((4,), -1, 2)


def test_a_sample_is_named_after_its_place():
    data = InitialNoise(2, (1, 4, 4), seed=7)
    assert [data[i]["case"] for i in range(2)] == ["sample_000", "sample_001"]


def test_it_is_standard_normal_over_seeds():
    noise = torch.stack([initial_noise((4,), seed) for seed in range(3000)])
    torch.testing.assert_close(torch.cov(noise.T), torch.eye(4), rtol=0, atol=0.1)


def test_it_is_standard_normal_over_the_samples_of_neighbouring_seeds():
    noise = torch.stack([initial_noise((2,), seed, i) for i in range(1500) for seed in (0, 1)]).view(1500, 4)
    torch.testing.assert_close(torch.cov(noise.T), torch.eye(4), rtol=0, atol=0.12)


@pytest.mark.parametrize(
    ("label", "expected"), [(2, [2, 2, 2, 2]), ([1], [1, 1, 1, 1]), ([0, 1, 2, 0], [0, 1, 2, 0]), (None, [0, 1, 2, 0])]
)
def test_samples_have_the_class_that_is_asked_for_or_all_in_turn(label, expected):
    batch = next(iter(DataLoader(InitialNoise(4, (1, 8, 8), num_classes=3, class_label=label), batch_size=4)))
    assert batch["image"].shape == (4, 1, 8, 8)
    assert batch["class_label"].tolist() == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0; expected 1 or more"),
        ({"num_classes": 3, "class_label": [0, 1, 2]}, "3 class labels for 4 samples"),
        ({"num_classes": 3, "class_label": 3}, "class_label is 3; expected 0 to 2"),
        ({"num_classes": 3, "class_label": [0, 1, -1, 2]}, "class_label is -1; expected 0 to 2"),
        ({"num_classes": 3, "class_label": [0, 1, 1.5, 2]}, "class_label is 1.5; expected 0 to 2"),
        ({"class_label": 1}, "class_label is 1; expected none without num_classes, on an unconditional model"),
        ({"num_classes": 3, "class_label": []}, "0 class labels for 4 samples"),
    ],
)
def test_samples_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        InitialNoise(**{"num_samples": 4, "shape": (1, 8, 8), **settings})
