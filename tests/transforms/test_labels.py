"""Label maps of scores, their largest parts, and label maps from files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_files import write_nifti
from monai.data import MetaTensor

from flemme_monai.transforms import KeepLargestd, LabelMapd, LoadImageAndLabeld, LoadPredictiond


def test_scores_become_the_class_of_the_highest_and_label_maps_pass():
    scores = MetaTensor(torch.rand(3, 4, 5, 2), meta={"filename_or_obj": "a"})
    labels = LabelMapd("pred")({"pred": scores})["pred"]
    assert labels.dtype == torch.uint8
    assert labels.meta["filename_or_obj"] == "a"
    assert torch.equal(labels.as_tensor(), scores.as_tensor().argmax(0, keepdim=True).byte())
    assert torch.equal(LabelMapd("pred")({"pred": labels})["pred"], labels)


def test_probabilities_are_the_softmax_of_the_scores():
    scores = torch.randn(3, 4, 5)
    out = LabelMapd("pred", "probabilities")({"pred": scores.clone()})
    assert torch.allclose(out["probabilities"].as_tensor(), scores.softmax(0), atol=1e-6)
    assert torch.equal(out["pred"].as_tensor(), scores.argmax(0, keepdim=True).byte())
    with pytest.raises(ValueError, match="pred holds labels; expected scores"):
        LabelMapd("pred", "probabilities")({"pred": out["pred"]})


LABELS = torch.tensor([[[1, 0, 0, 2, 2], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [2, 0, 0, 0, 0]]], dtype=torch.uint8)


@pytest.mark.parametrize("labels", [1, [1], "1", "[1]", (1,)])
def test_the_largest_part_of_a_class_stays_and_other_classes_are_left_alone(labels):
    cleaned = KeepLargestd("pred", labels, 3)({"pred": MetaTensor(LABELS)})["pred"]
    expected = LABELS.clone()
    expected[0, 2, 3] = 0
    assert torch.equal(cleaned.as_tensor(), expected)
    assert cleaned.dtype == torch.uint8


@pytest.mark.parametrize("labels", ["1,2", [2, 1], (1, 2), "[1, 2]"])
def test_several_classes_are_cleaned_each(labels):
    cleaned = KeepLargestd("pred", labels, 4)({"pred": LABELS})["pred"]
    expected = LABELS.clone()
    expected[0, 2, 3] = expected[0, 3, 0] = 0
    assert torch.equal(cleaned.as_tensor(), expected)


@pytest.mark.parametrize("labels", [0, 3, [1, 3], "", "a", [], True])
def test_only_classes_of_the_foreground_have_parts(labels):
    with pytest.raises(ValueError, match=r"keep_largest is .*; expected numbers of classes from 1 to 2"):
        KeepLargestd("pred", labels, 3)


def loaded(folder, affine=None):
    write_nifti(folder / "image.nii.gz", np.random.rand(6, 5, 4).astype(np.float32), affine)
    return LoadImageAndLabeld(1, spatial_dims=3)({"image": str(folder / "image.nii.gz"), "case": "a"})


def test_a_prediction_on_disk_lies_as_its_image(tmp_path):
    affine = np.diag([-2.0, -1, 3, 1])
    labels = np.random.randint(0, 3, (6, 5, 4)).astype(np.uint8)
    path = write_nifti(tmp_path / "pred.nii.gz", labels, affine)
    item = {**loaded(tmp_path, affine), "prediction": str(path)}
    pred = LoadPredictiond("pred", 3)(item)["pred"]
    assert np.array_equal(pred[0].numpy(), labels[::-1, ::-1])
    slab = {**item, "image": item["image"][..., 1:3], "prediction_slab": (1, 3)}
    slab["image"].affine = item["image"].affine @ torch.tensor(
        [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]], dtype=torch.float64
    )
    assert np.array_equal(LoadPredictiond("pred", 3)(slab)["pred"][0].numpy(), labels[::-1, ::-1, 1:3])


@pytest.mark.parametrize(
    ("shape", "affine", "classes", "message"),
    [
        ((6, 5, 3), np.eye(4), 3, r"pred.nii.gz: has the shape \(6, 5, 3\); expected \(6, 5, 4\)"),
        ((6, 5, 4), np.diag([2.0, 1, 1, 1]), 3, r"pred.nii.gz: lies .* voxels off its image"),
        ((6, 5, 4), np.eye(4), 2, "pred.nii.gz: label 2 is beyond num_classes 2"),
    ],
)
def test_a_prediction_that_does_not_fit_is_refused(tmp_path, shape, affine, classes, message):
    labels = np.zeros(shape, np.uint8)
    labels[0, 0, 0] = 2
    path = write_nifti(tmp_path / "pred.nii.gz", labels, affine)
    with pytest.raises(ValueError, match=message):
        LoadPredictiond("pred", classes)({**loaded(tmp_path), "prediction": str(path)})
