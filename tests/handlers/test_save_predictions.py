"""Predictions come back in the input's own kind of file, with its geometry."""

from __future__ import annotations

import logging

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, ITKWriter, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, LoadImaged, Orientationd
from PIL import Image

from flemme_monai.data.reading import read_array, read_image
from flemme_monai.handlers import SavePredictions
from flemme_monai.io import write_nifti
from flemme_monai.transforms import SplitMeanStdd

LPI = np.array([[-2.0, 0, 0, 10], [0, -1.5, 0, 20], [0, 0, 3.0, -5], [0, 0, 0, 1]])
TURNED = np.array([[0, 0, 2.0, 1], [-1.0, 0, 0, 2], [0, 1.5, 0, 3], [0, 0, 0, 1]])
TILTED = np.array([[-0.8, -0.9, 0, 3], [0.6, -1.2, 0, 2], [0, 0, 2.0, 1], [0, 0, 0, 1]])  # voxels as TURNED's


def load(path, ras=False):
    steps = [LoadImaged("image", ensure_channel_first=True)]
    steps += [Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))] if ras else []
    return Compose(steps)({"image": str(path)})["image"]


def random_labels(shape, classes=3):
    return np.random.RandomState(0).randint(0, classes, shape).astype(np.uint8)


def test_a_png_comes_back_as_a_png_of_its_size(tmp_path):
    labels = random_labels((20, 30))
    Image.fromarray(labels).save(tmp_path / "cell.png")
    image = load(tmp_path / "cell.png")
    assert image.shape == (1, 30, 20)
    path = SavePredictions(tmp_path, "seg").save(image, image.as_tensor())
    assert path == tmp_path / "cell_seg.png"
    with Image.open(path) as saved:
        assert saved.mode == "L"
        assert np.array_equal(np.asarray(saved), labels)
    assert (tmp_path / "cell_seg_overlay.png").is_file()


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_other_pictures_come_back_as_png(tmp_path, suffix):
    Image.fromarray(random_labels((20, 30))).save(tmp_path / f"cell.{suffix}")
    image = load(tmp_path / f"cell.{suffix}")
    path = SavePredictions(tmp_path).save(image, torch.ones(1, 30, 20))
    assert path == tmp_path / "cell_pred.png"


@pytest.mark.parametrize("affine", [np.diag([1.0, 1, 1, 1]), LPI, TURNED], ids=["ras", "lps", "turned"])
def test_a_volume_gets_its_axes_and_affine_back(tmp_path, affine):
    labels = random_labels((5, 6, 7))
    nibabel.save(nibabel.Nifti1Image(labels, affine), tmp_path / "brain.nii.gz")
    image = load(tmp_path / "brain.nii.gz", ras=True)
    path = SavePredictions(tmp_path).save(image, image.as_tensor())
    assert path == tmp_path / "brain_pred.nii.gz"
    saved = nibabel.load(path)
    assert np.array_equal(saved.affine, affine)
    assert saved.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(saved.dataobj), labels)


def test_a_part_of_a_volume_keeps_its_place_in_space(tmp_path):
    labels = random_labels((5, 6, 7))
    nibabel.save(nibabel.Nifti1Image(labels, LPI), tmp_path / "brain.nii.gz")
    image = load(tmp_path / "brain.nii.gz", ras=True)
    part = image[..., 2:5].clone()
    part.affine[:3, 3] += part.affine[:3, 2] * 2
    saved = nibabel.load(SavePredictions(tmp_path).save(part, part.as_tensor()))
    assert np.array_equal(np.asarray(saved.dataobj), labels[..., 2:5])
    assert np.allclose(saved.affine[:3, 3], (LPI @ [0, 0, 2, 1])[:3])


def test_an_nrrd_comes_back_as_nifti_at_its_place(tmp_path):
    labels = random_labels((5, 6, 7))
    writer = ITKWriter(output_dtype=np.uint8)
    writer.set_data_array(labels[None], channel_dim=0)
    writer.set_metadata({"affine": LPI}, resample=False)
    writer.write(str(tmp_path / "brain.nrrd"))
    image = load(tmp_path / "brain.nrrd", ras=True)
    saved = nibabel.load(SavePredictions(tmp_path).save(image, image.as_tensor()))
    assert np.allclose(saved.affine, LPI, atol=1e-4)
    assert np.array_equal(np.asarray(saved.dataobj), labels)


def header_with_forms(tmp_path, kind=nibabel.Nifti1Image, name="a.nii.gz", sform_code=4):
    """A file whose qform and sform differ, in micrometres, with a description and a scale factor."""
    volume = kind(np.random.RandomState(0).rand(5, 6, 7), None)
    volume.set_data_dtype(np.uint8)
    volume.header.set_xyzt_units("micron", "sec")
    volume.header["descrip"] = "scanned by hand"
    volume.set_qform(TILTED, 1)
    volume.set_sform(TURNED, sform_code)
    nibabel.save(volume, tmp_path / name)
    return nibabel.load(tmp_path / name)


@pytest.mark.parametrize("reader", ["ours", "MONAI's"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("sform_code", [0, 4])
def test_a_prediction_has_the_header_of_its_file(tmp_path, reader, kind, sform_code):
    given = header_with_forms(tmp_path, kind, sform_code=sform_code)
    image = read_image(tmp_path / "a.nii.gz") if reader == "ours" else load(tmp_path / "a.nii.gz", ras=True)
    labels = (image > 0.5).to(torch.uint8).as_tensor()
    saved = nibabel.load(SavePredictions(tmp_path, overlay=False).save(image, labels))
    assert np.array_equal(np.asarray(saved.dataobj), given.get_fdata() > 0.5)
    fields = ["qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "sform_code", "srow_x", "srow_z"]
    for field in [*fields, "xyzt_units"]:
        assert np.allclose(saved.header[field], given.header[field], atol=1e-6), field
    assert np.allclose(saved.header["pixdim"][:4], given.header["pixdim"][:4])
    assert saved.get_data_dtype() == np.uint8
    assert saved.dataobj.slope == 1
    if reader == "ours":
        assert saved.header["descrip"] == b"scanned by hand"
        assert type(saved) is kind


def test_the_header_survives_a_batch(tmp_path):
    given = header_with_forms(tmp_path)
    items = [{"image": read_image(tmp_path / "a.nii.gz"), "case": "a"}]
    loader = DataLoader(Dataset(items), batch_size=1, num_workers=0)
    SupervisedEvaluator("cpu", loader, torch.nn.Identity(), val_handlers=[SavePredictions(tmp_path)]).run()
    saved = nibabel.load(tmp_path / "a_pred.nii.gz")
    assert saved.header["qform_code"] == 1
    assert np.allclose(saved.get_qform(), given.get_qform())


def test_a_part_of_a_volume_moves_both_forms(tmp_path):
    given = header_with_forms(tmp_path)
    image = read_image(tmp_path / "a.nii.gz")
    part = image[..., 2:5].clone()
    part.affine[:3, 3] += part.affine[:3, 2] * 2
    saved = nibabel.load(SavePredictions(tmp_path, overlay=False).save(part, part.as_tensor() > 0.5))
    first = np.linalg.inv(given.affine) @ saved.affine @ [0, 0, 0, 1]  # the part's first voxel in the file's voxels
    assert sorted(np.rint(first[:3]).tolist()) == [0, 0, 2]
    assert np.allclose((saved.get_sform() @ [0, 0, 0, 1])[:3], (given.get_sform() @ first)[:3])
    assert np.allclose((saved.get_qform() @ [0, 0, 0, 1])[:3], (given.get_qform() @ first)[:3], atol=1e-4)
    assert (saved.header["qform_code"], saved.header["sform_code"]) == (1, 4)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_labels_are_stored_alike_with_and_without_compression(tmp_path, name):
    header_with_forms(tmp_path)
    image = read_image(tmp_path / "a.nii.gz")
    values = random_labels((2, *image.shape[1:]))
    write_nifti(tmp_path / f"out_{name}", values, image.meta)
    back = read_image(tmp_path / f"out_{name}")
    assert np.array_equal(back.numpy(), values)
    assert torch.allclose(back.affine, image.affine)


def test_a_two_dimensional_nifti_comes_back_so(tmp_path):
    labels = random_labels((5, 6))
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([2.0, 3, 1, 1])), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    saved = nibabel.load(SavePredictions(tmp_path, overlay=False).save(image, image.as_tensor()))
    assert np.array_equal(np.asarray(saved.dataobj), labels)
    assert np.allclose(saved.affine, np.diag([2.0, 3, 1, 1]))


def test_what_comes_from_no_nifti_gets_both_forms(tmp_path):
    meta = {"affine": LPI, "filename_or_obj": "a.nrrd"}
    image = MetaTensor(torch.zeros(1, 4, 5, 6), meta=meta)
    saved = nibabel.load(SavePredictions(tmp_path, overlay=False).save(image, image.as_tensor()))
    assert (saved.header["qform_code"], saved.header["sform_code"]) == (1, 1)
    assert np.allclose(saved.get_qform(), LPI)
    assert np.allclose(saved.get_sform(), LPI)
    assert saved.header.get_xyzt_units()[0] == "mm"


def test_an_affine_with_shears_has_no_qform_which_is_said(tmp_path, caplog):
    affine = LPI.copy()
    affine[1, 2] = 1.0
    image = MetaTensor(torch.zeros(1, 4, 5, 6), meta={"affine": affine, "filename_or_obj": "tilted"})
    with caplog.at_level(logging.INFO):
        saved = nibabel.load(SavePredictions(tmp_path, overlay=False).save(image, image.as_tensor()))
    assert (saved.header["qform_code"], saved.header["sform_code"]) == (0, 1)
    assert np.allclose(saved.get_sform(), affine)
    assert "tilted_pred.nii.gz: the affine has shears" in caplog.text


def test_axes_at_45_degrees_come_back_in_their_order(tmp_path):
    labels = random_labels((5, 6, 7))
    half = np.sqrt(0.5)
    oblique = np.array([[half, half, 0, 0], [-half, half, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(labels, oblique), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    saved = nibabel.load(SavePredictions(tmp_path, overlay=False).save(image, image.as_tensor()))
    assert np.array_equal(np.asarray(saved.dataobj), labels)
    assert np.allclose(saved.affine, oblique, atol=1e-6)


def test_a_degenerate_affine_is_refused(tmp_path):
    image = MetaTensor(torch.zeros(1, 4, 5, 6), meta={"affine": np.diag([1.0, 0, 1, 1]), "filename_or_obj": "a.nii"})
    with pytest.raises(ValueError, match=r"a_pred\.nii\.gz: the affine of its image is degenerate"):
        SavePredictions(tmp_path, overlay=False).save(image, image.as_tensor())


def test_a_folder_of_dicom_gives_its_name(tmp_path):
    series = tmp_path / "in" / "series.1"
    series.mkdir(parents=True)
    image = MetaTensor(torch.zeros(1, 4, 5, 6), meta={"filename_or_obj": str(series)})
    path = SavePredictions(tmp_path / "out").save
    (tmp_path / "out").mkdir()
    assert path(image, torch.zeros(1, 4, 5, 6)) == tmp_path / "out" / "series.1_pred.nii.gz"


def test_class_scores_become_labels(tmp_path):
    labels = torch.as_tensor(random_labels((1, 8, 9)).astype(np.int64))
    scores = torch.nn.functional.one_hot(labels[0], 3).movedim(-1, 0) + torch.rand(3, 8, 9) * 0.5
    path = SavePredictions(tmp_path).save(torch.rand(1, 8, 9), scores, case="phantom")
    assert np.array_equal(np.asarray(Image.open(path)).T, labels[0])


def test_more_than_255_labels_need_16_bits(tmp_path):
    pred = torch.arange(300.0).reshape(1, 20, 15)
    path = SavePredictions(tmp_path).save(torch.rand(1, 20, 15), pred)
    assert np.array_equal(np.asarray(Image.open(path)).T, pred[0])


def test_a_reconstruction_gets_dtype_and_range_back(tmp_path):
    voxels = np.random.RandomState(0).randint(-1000, 3000, (5, 6, 7)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, LPI), tmp_path / "ct.nii.gz")
    image = load(tmp_path / "ct.nii.gz", ras=True)
    image.meta |= {"intensity_range": (-1000.0, 3000.0), "original_dtype": "int16"}
    path = SavePredictions(tmp_path, "recon", "reconstruction").save(image, (image.as_tensor() + 1000) / 4000)
    saved = nibabel.load(path)
    assert saved.get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(saved.dataobj), voxels)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int8])
def test_a_reconstruction_keeps_dtypes_that_nifti_has_no_default_for(tmp_path, dtype):
    image = MetaTensor(
        torch.rand(1, 4, 4, 4), meta={"filename_or_obj": "a.nii", "original_dtype": dtype, "intensity_range": (0, 100)}
    )
    path = SavePredictions(tmp_path, "recon", "reconstruction").save(image, image)
    assert nibabel.load(path).get_data_dtype() == dtype


def test_a_reconstruction_beyond_the_dtype_is_clipped(tmp_path):
    image = MetaTensor(torch.rand(3, 8, 9), meta={"intensity_range": (0, 255), "original_dtype": "uint8"})
    path = SavePredictions(tmp_path, "recon", "reconstruction").save(image, torch.full((3, 8, 9), 1.2))
    with Image.open(path) as saved:
        assert saved.mode == "RGB"
        assert np.asarray(saved).min() == 255


def test_a_reconstruction_of_unknown_range_is_from_0_to_1(tmp_path):
    save = SavePredictions(tmp_path, "recon", "reconstruction").save
    volume = MetaTensor(torch.rand(1, 4, 5, 6), meta={"filename_or_obj": "a.nii", "original_dtype": "int16"})
    saved = nibabel.load(save(volume, volume))
    assert np.allclose(saved.get_fdata(), volume[0].numpy(), atol=1e-6)
    picture = MetaTensor(torch.rand(1, 4, 5), meta={"filename_or_obj": "a.png"})
    assert np.asarray(Image.open(save(picture, torch.full((1, 4, 5), 0.5)))).max() == 128


def test_a_picture_of_floats_comes_back_as_the_grey_levels_of_its_range(tmp_path):
    meta = {"intensity_range": (-50.0, 400.0), "original_dtype": "float32", "filename_or_obj": "a.tif"}
    picture = MetaTensor(torch.rand(1, 4, 5), meta=meta)
    path = SavePredictions(tmp_path, "recon", "reconstruction").save(picture, picture)
    levels = np.asarray(Image.open(path)).T
    assert np.array_equal(levels, np.rint(picture[0].numpy() * 255))


def test_a_picture_of_more_channels_than_a_png_has_is_refused(tmp_path):
    meta = {"intensity_range": (0, 255), "original_dtype": "uint8", "filename_or_obj": "a.tif"}
    picture = MetaTensor(torch.rand(5, 4, 5), meta=meta)
    save = SavePredictions(tmp_path, "recon", "reconstruction").save
    with pytest.raises(ValueError, match=r"a_recon\.png cannot be written.*this has 5; give the images as NIfTI"):
        save(picture, picture)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_reconstruction_of_16_bits_keeps_them(tmp_path, channels):
    meta = {"intensity_range": (0, 60000), "original_dtype": "uint16", "filename_or_obj": "a.tif"}
    picture = MetaTensor(torch.rand(channels, 4, 5), meta=meta)
    path = SavePredictions(tmp_path, "recon", "reconstruction", overlay=False).save(picture, picture)
    array = read_array(path)[0]
    assert array.dtype == np.uint16
    assert np.array_equal(array, np.rint(picture.double().numpy() * 60000))


def test_inputs_of_one_stem_stay_distinct(tmp_path):
    save = SavePredictions(tmp_path).save
    names = ["one/a.png", "two/a.png", "two/a.jpg", "two/a.jpg"]
    images = [MetaTensor(torch.rand(1, 8, 9), meta={"filename_or_obj": name}) for name in names]
    paths = [save(image, torch.zeros(1, 8, 9)).name for image in images]
    assert paths == ["a_pred.png", "two_a_pred.png", "a_2_pred.png", "a_3_pred.png"]


@pytest.mark.parametrize("case", ["../../escape", "/etc/escape", "..", ".hidden", "a\\b"])
def test_no_name_leads_out_of_the_output_folder(tmp_path, case):
    out = tmp_path / "out"
    out.mkdir()
    path = SavePredictions(out).save(torch.rand(1, 8, 9), torch.zeros(1, 8, 9), case=case)
    assert path.resolve().parent == out.resolve()
    assert sorted(tmp_path.iterdir()) == [out]
    assert not path.name.startswith(".")


@pytest.mark.parametrize("postfix", ["", "../x", "a/b", "."])
def test_a_postfix_that_is_no_name_is_refused(tmp_path, postfix):
    with pytest.raises(ValueError, match="postfix is"):
        SavePredictions(tmp_path, postfix)


def test_a_prediction_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"the prediction of a is \(8, 8\) and its image \(8, 9\)"):
        SavePredictions(tmp_path).save(torch.rand(1, 8, 9), torch.zeros(1, 8, 8), case="a")


def test_an_inference_writes_each_case(tmp_path):
    items = []
    for name in "ab":
        Image.fromarray(random_labels((12, 16)) * 100).save(tmp_path / f"{name}.png")
        items.append({"image": str(tmp_path / f"{name}.png"), "case": name})
    loader = DataLoader(Dataset(items, LoadImaged("image", ensure_channel_first=True)), batch_size=2, num_workers=0)
    evaluator = SupervisedEvaluator(
        "cpu", loader, torch.nn.Conv2d(1, 2, 1), val_handlers=[SavePredictions(tmp_path / "out" / "deep")]
    )
    evaluator.run()
    names = sorted(path.name for path in (tmp_path / "out" / "deep").iterdir())
    assert names == ["a_pred.png", "a_pred_overlay.png", "b_pred.png", "b_pred_overlay.png"]


def test_the_value_range_survives_batches(tmp_path):
    meta = {"intensity_range": (-10.0, 30.0), "original_dtype": "int16", "filename_or_obj": "ct.nii.gz"}
    items = [{"image": MetaTensor(torch.full((1, 4, 5, 6), 0.5), meta=meta), "case": "ct"}]
    loader = DataLoader(Dataset(items), batch_size=1, num_workers=0)
    save = SavePredictions(tmp_path, "recon", "reconstruction")
    SupervisedEvaluator("cpu", loader, torch.nn.Identity(), val_handlers=[save]).run()
    saved = nibabel.load(tmp_path / "ct_recon.nii.gz")
    assert saved.get_data_dtype() == np.int16
    assert (np.asarray(saved.dataobj) == 10).all()


def test_an_uncertainty_is_a_picture_five_times_as_bright_without_an_overlay(tmp_path):
    deviation = torch.tensor([0.0, 0.1, 0.3]).repeat(4, 2).view(1, 4, 6)
    path = SavePredictions(tmp_path, "std", "uncertainty").save(torch.rand(1, 4, 6), deviation, case="a")
    with Image.open(path) as saved:
        assert np.array_equal(np.asarray(saved).T, np.rint((5 * deviation[0].numpy()).clip(0, 1) * 255))
    assert [p.name for p in tmp_path.iterdir()] == ["a_std.png"]


def test_the_uncertainty_of_a_volume_is_in_the_units_of_its_file(tmp_path):
    meta = {"filename_or_obj": "ct.nii.gz", "intensity_range": (-1000.0, 3000.0), "original_dtype": "int16"}
    image = MetaTensor(torch.rand(1, 4, 5, 6), meta=meta)
    deviation = torch.rand(1, 4, 5, 6) * 0.1
    saved = nibabel.load(SavePredictions(tmp_path, "std", "uncertainty").save(image, deviation))
    assert saved.get_data_dtype() == np.float32  # a deviation below 1 is no 0
    assert np.allclose(np.asarray(saved.dataobj), 4000 * deviation[0])


def test_a_deviation_of_unknown_units_stays_as_it_is(tmp_path):
    volume = MetaTensor(torch.rand(1, 4, 5, 6), meta={"filename_or_obj": "a.nii"})
    saved = nibabel.load(SavePredictions(tmp_path, "std", "uncertainty").save(volume, volume))
    assert np.allclose(np.asarray(saved.dataobj), volume[0])


def test_an_inference_saves_mean_and_standard_deviation(tmp_path):
    data = Dataset([{"image": torch.rand(1, 8, 9), "case": name} for name in "ab"])
    evaluator = SupervisedEvaluator(
        "cpu",
        DataLoader(data, batch_size=2, num_workers=0),
        torch.nn.Identity(),
        inferer=lambda inputs, network: torch.cat([inputs, inputs / 10], 1),
        postprocessing=SplitMeanStdd("pred"),
        val_handlers=[
            SavePredictions(tmp_path, "mean", "reconstruction", overlay=False),
            SavePredictions(tmp_path, "std", "uncertainty", key="std"),
        ],
    )
    evaluator.run()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_mean.png", "a_std.png", "b_mean.png", "b_std.png"]
    mean, std = (np.asarray(Image.open(tmp_path / f"a_{name}.png"), int) for name in ("mean", "std"))
    assert np.abs(std - mean / 2).max() <= 1


def test_an_unknown_task_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"task is 'spread'; expected .*'segmentation'.* or 'probabilities'"):
        SavePredictions(tmp_path, task="spread")


@pytest.mark.parametrize("affine", [np.eye(4), LPI, TURNED], ids=["ras", "lps", "turned"])
def test_probabilities_lie_on_the_grid_of_their_volume(tmp_path, affine):
    nibabel.save(nibabel.Nifti1Image(random_labels((5, 6, 7)), affine), tmp_path / "brain.nii.gz")
    image = load(tmp_path / "brain.nii.gz", ras=True)
    probabilities = torch.rand(3, *image.shape[1:]).softmax(0)
    handler = SavePredictions(tmp_path, "probabilities", "probabilities")
    path = handler.save(image, probabilities)
    assert path == tmp_path / "brain_probabilities.nii.gz"
    assert not list(tmp_path.glob("*.png"))
    saved = nibabel.load(path)
    assert np.allclose(saved.affine, affine)
    assert saved.shape == (5, 6, 7, 3)
    turned = np.moveaxis(nibabel.as_closest_canonical(saved).get_fdata(), -1, 0)
    assert np.abs(turned - probabilities.numpy()).max() < 8e-6
    assert saved.get_data_dtype() == np.uint16


def test_probabilities_of_a_picture_are_nifti(tmp_path):
    Image.fromarray(random_labels((20, 30))).save(tmp_path / "cell.png")
    path = SavePredictions(tmp_path, "probabilities", "probabilities").save(
        load(tmp_path / "cell.png"), torch.full((2, 30, 20), 0.5)
    )
    assert nibabel.load(path).shape == (30, 20, 1, 2)
    assert np.allclose(nibabel.load(path).get_fdata(), 0.5, atol=8e-6)
