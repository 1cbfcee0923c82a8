"""Cases of an evaluation are kept as arrays, to be drawn beside those of other networks."""

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch import nn

from flemme_monai.handlers import SaveShownCases


def evaluated(path, task, images, labels, num_cases=2):
    """What is kept of an evaluation of a network that answers with its image."""
    data = [
        {"image": image, "label": label, "case": f"case_{i}"} for i, (image, label) in enumerate(zip(images, labels))
    ]
    loader = torch.utils.data.DataLoader(data, batch_size=1)
    evaluator = SupervisedEvaluator(torch.device("cpu"), loader, nn.Identity(), decollate=True)
    SaveShownCases(path, task, num_cases).attach(evaluator)
    evaluator.run()
    with np.load(path) as file:
        return dict(file)


def test_cases_are_spread_evenly_and_predictions_are_label_maps(tmp_path):
    images = [torch.stack([torch.zeros(4, 4), torch.full((4, 4), float(i))]) for i in range(8)]
    labels = [torch.ones(1, 4, 4) for _ in images]
    found = evaluated(tmp_path / "a.npz", "segmentation", images, labels)
    assert found["names"].tolist() == ["case_2", "case_6"]
    assert found["volumes"].tolist() == [False, False]
    assert found["image_1"][1].max() == 6
    assert found["pred_0"].shape == found["label_0"].shape == (1, 4, 4)
    assert (found["pred_0"] == 1).all()


def test_of_a_volume_the_slice_with_most_foreground_is_kept(tmp_path):
    label = torch.zeros(1, 4, 4, 5)
    label[..., 1, 3] = 1
    image = torch.arange(5.0).expand(1, 4, 4, 5).clone()
    found = evaluated(tmp_path / "a.npz", "segmentation", [image], [label])
    assert found["image_0"].shape == (1, 4, 4)
    assert (found["image_0"] == 3).all()
    assert found["label_0"].sum() == 4
    assert found["volumes"].tolist() == [True]


def test_of_a_reconstruction_values_are_kept(tmp_path):
    images = [torch.full((1, 4, 4), 0.25)]
    found = evaluated(tmp_path / "a.npz", "reconstruction", images, [torch.full((1, 4, 4), 0.5)])
    assert (found["pred_0"] == 0.25).all()
    assert (found["label_0"] == 0.5).all()


def test_another_task_is_refused(tmp_path):
    with pytest.raises(ValueError, match="task is 'classification'; expected 'segmentation' or 'reconstruction'"):
        SaveShownCases(tmp_path / "a.npz", "classification")
