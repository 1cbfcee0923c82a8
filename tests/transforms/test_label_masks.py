"""Masks of classes that may overlap, from scores to files, and back."""

from __future__ import annotations

import shutil

import numpy as np
import torch
from gi_files import split, write_gi
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, NormalizeIntensityd

from flemme_monai.data import class_names, with_predictions
from flemme_monai.data.gi_tract import read_codes
from flemme_monai.data.layouts import find_cases
from flemme_monai.data.run_length import decode
from flemme_monai.handlers import SaveClassMasks
from flemme_monai.inferers.averaging import mean_binary_logits
from flemme_monai.transforms import KeepLargestd, LabelMapd, LoadImageFilesd, LoadPredictiond, ResizeCased


def test_masks_are_where_a_logit_is_0_or_more_and_probabilities_are_sigmoids():
    scores = torch.tensor([[[1.0, -1, 0]], [[2.0, -2, -1]]])  # the first pixel is of both classes
    probabilities = scores.sigmoid()
    out = LabelMapd("pred", "probabilities", multi_label=True)({"pred": scores})
    assert out["pred"].tolist() == [[[1, 0, 1]], [[1, 0, 0]]]
    assert out["pred"].dtype == torch.uint8
    torch.testing.assert_close(out["probabilities"].as_tensor(), probabilities)


def test_masks_pass():
    masks = torch.ones(2, 1, 3, dtype=torch.uint8)
    assert LabelMapd("pred", multi_label=True)({"pred": masks})["pred"] is masks


def test_the_largest_part_of_a_mask_is_kept_whatever_overlaps_it():
    masks = torch.tensor([[[1, 1, 0, 1]], [[1, 0, 1, 1]]], dtype=torch.uint8)
    kept = KeepLargestd("pred", "2", 2, multi_label=True)({"pred": masks})["pred"]
    assert kept.tolist() == [[[1, 1, 0, 1]], [[0, 0, 1, 1]]]


def test_logits_are_averaged_as_probabilities_of_each_class():
    outputs = [torch.randn(2, 3, 4) for _ in range(4)]
    mean = torch.stack([logits.sigmoid() for logits in outputs]).mean(0)
    torch.testing.assert_close(mean_binary_logits(outputs).sigmoid(), mean)


def test_an_image_is_resized_smoothly_and_its_masks_stay_masks():
    affine = torch.diag(torch.tensor([1.5, 1.5, 1, 1], dtype=torch.float64))
    image = MetaTensor(torch.rand(1, 6, 8), affine=affine)
    label = MetaTensor((torch.rand(2, 6, 8) > 0.5).to(torch.uint8), affine=affine)
    out = ResizeCased(["image", "label"], [12, 12], 2)({"image": image, "label": label})
    assert out["image"].shape == (1, 12, 12)
    assert out["label"].shape == (2, 12, 12)
    assert set(out["label"].unique().tolist()) == {0, 1}
    assert out["label"].affine.diagonal().tolist()[:2] == [0.75, 1.0]  # spacings of the new grid
    assert "label" not in ResizeCased(["image", "label"], 12, 2)({"image": image})


def test_a_prediction_on_a_resized_image_goes_back_to_the_grid_of_its_file():
    resize = ResizeCased(["image", "label"], [4, 4], 2)
    preprocessing = Compose([resize, NormalizeIntensityd("image")])
    for size in ((6, 8), (2, 2)):
        item = preprocessing({"image": MetaTensor(torch.rand(1, *size))})
        item["pred"] = MetaTensor(torch.ones(3, 4, 4, dtype=torch.uint8))
        pred = Invertd("pred", preprocessing, "image")(item)["pred"]
        assert tuple(pred.shape) == (3, *size)
        assert pred.unique().tolist() == [1]


def test_the_slices_of_a_volume_are_resized_for_a_2d_network():
    out = ResizeCased(["image", "label"], 4, 2)({"image": torch.rand(1, 6, 8, 3), "label": torch.ones(1, 6, 8, 3)})
    assert out["image"].shape == out["label"].shape == (1, 4, 4, 3)


def saved(tmp_path):
    """The test cases of a data set with their predictions, which are random masks, in files."""
    parts = split(write_gi(tmp_path / "data"))
    names = class_names(parts["test"])
    handler = SaveClassMasks(tmp_path / "out", names)
    handler._start(None)
    masks = [torch.from_numpy(np.random.default_rng(i).integers(0, 2, (3, 6, 4))) for i in range(2)]
    images = [LoadImageFilesd()(case)["image"] for case in parts["test"]]
    for case, image, pred in zip(parts["test"], images, masks, strict=True):
        handler.save(image, pred.to(torch.uint8), None, case["case"])
    handler._finish(None)
    return parts, names, images, masks


def test_predictions_are_written_as_masks_and_codes_and_read_back(tmp_path):
    parts, names, images, masks = saved(tmp_path)
    for place in ("out", "out/submission.csv"):
        for case, image, mask in zip(with_predictions(parts, "test", tmp_path / place, names), images, masks):
            read = LoadPredictiond("pred", 3)({**case, "image": image})["pred"]
            assert torch.equal(read.as_tensor(), mask.to(torch.uint8))


def test_a_submission_has_kaggles_columns_ids_and_order(tmp_path):
    _, names, _, masks = saved(tmp_path)
    table = tmp_path / "out/submission.csv"
    assert table.read_text(encoding="utf-8").splitlines()[0] == "id,class,predicted"
    codes = read_codes(table, "predicted")
    assert list(codes) == ["case3_day0_slice_0001", "case3_day0_slice_0002"]
    for index, name in enumerate(names):
        code = codes["case3_day0_slice_0002"][name].text
        assert np.array_equal(decode(code, (4, 6), ""), masks[1][index].numpy().T)


def test_an_overlay_lies_beside_the_masks(tmp_path):
    saved(tmp_path)
    assert (tmp_path / "out/overlays/case3/case3_day0_slice_0001.png").is_file()


def test_a_folder_of_predictions_is_a_data_sets_masks(tmp_path):
    parts, _, _, _ = saved(tmp_path)
    images = tmp_path / "set/images/case3"
    images.mkdir(parents=True)
    for case in parts["test"]:
        shutil.copy(case["image"], images / f"{case['case'].split('/')[1]}.png")
    (tmp_path / "out/submission.csv").unlink()
    shutil.rmtree(tmp_path / "out/overlays")
    (tmp_path / "out").rename(tmp_path / "set/masks")
    cases = find_cases(tmp_path / "set", 1, True, multi_label=True).cases
    assert [len(case["label"].files) for case in cases] == [3, 3]
