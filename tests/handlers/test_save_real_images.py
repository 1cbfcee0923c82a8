"""Predictions of real images lie on their images."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from PIL import Image

from flemme_monai.handlers import SavePredictions
from flemme_monai.transforms import LoadImageAndLabeld


def load(image, label, num_classes, spatial_dims=3):
    load_cased = LoadImageAndLabeld(1, num_classes, spatial_dims)
    return load_cased({"image": str(image), "label": str(label), "case": "case"})


def test_a_volume_is_saved_as_its_label_file(data_dir, tmp_path):
    folder = data_dir / "Task04_Hippocampus"
    name = sorted((folder / "labelsTr").glob("hippocampus_*"))[0].name
    item = load(folder / "imagesTr" / name, folder / "labelsTr" / name, 3)
    saved = nibabel.load(SavePredictions(tmp_path).save(item["image"], item["label"], item["label"]))
    given = nibabel.load(folder / "labelsTr" / name)
    assert np.array_equal(saved.get_fdata(), given.get_fdata())
    assert np.allclose(saved.affine, nibabel.load(folder / "imagesTr" / name).affine)


def test_a_picture_is_saved_as_its_mask(data_dir, tmp_path):
    name = sorted((data_dir / "nuclei" / "masks").glob("*.png"))[0].name
    mask = data_dir / "nuclei" / "masks" / name
    item = load(data_dir / "nuclei" / "images" / name, mask, 2, spatial_dims=2)
    path = SavePredictions(tmp_path).save(item["image"], item["label"])
    assert np.array_equal(np.asarray(Image.open(path)) > 0, np.asarray(Image.open(mask)) > 0)


@pytest.mark.slow
def test_a_dicom_series_is_saved_where_its_labels_are(data_dir, tmp_path):
    folder = data_dir / "ct_dicom"
    classes = int(nibabel.load(folder / "labels.nii.gz").get_fdata().max()) + 1
    item = load(folder / "series", folder / "labels.nii.gz", classes)
    path = SavePredictions(tmp_path).save(item["image"], item["label"])
    assert path.name == "series_pred.nii.gz"
    saved, given = (nibabel.as_closest_canonical(nibabel.load(p)) for p in (path, folder / "labels.nii.gz"))
    assert np.allclose(saved.affine, given.affine, atol=1e-3)
    assert np.array_equal(saved.get_fdata(), given.get_fdata())
    assert np.allclose(nibabel.load(path).affine, item["image"].meta["original_affine"])
