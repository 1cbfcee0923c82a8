"""Generated samples become files, a picture and an animation."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from PIL import Image

from flemme_monai.handlers import SaveSamples

HEAD, GAP = 18, 2


def generate(items, save, batch_size=4):
    """An inference that generates the images of the items."""
    loader = DataLoader(Dataset(items), batch_size=batch_size, num_workers=0)
    SupervisedEvaluator("cpu", loader, torch.nn.Identity(), val_handlers=[save]).run()


def samples(count, size=(1, 8, 6), classes=None):
    items = [{"image": torch.rand(size)} for _ in range(count)]
    return [item | ({} if classes is None else {"class_label": classes[i]}) for i, item in enumerate(items)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_picture_is_a_png_of_its_levels(tmp_path):
    items = samples(3)
    generate(items, SaveSamples(tmp_path))
    assert names(tmp_path) == ["sample_000.png", "sample_001.png", "sample_002.png", "samples.png"]
    levels = np.asarray(Image.open(tmp_path / "sample_001.png"))
    assert np.array_equal(levels, np.rint(items[1]["image"][0].numpy().T * 255))


def test_a_volume_is_a_nifti_of_its_values_and_its_middle_slice_is_shown(tmp_path):
    items = samples(2, (1, 12, 16, 5))
    generate(items, SaveSamples(tmp_path))
    assert names(tmp_path) == ["sample_000.nii.gz", "sample_001.nii.gz", "samples.png"]
    saved = nibabel.load(tmp_path / "sample_001.nii.gz")
    assert np.array_equal(saved.get_fdata(dtype=np.float32), items[1]["image"][0])
    shown = np.asarray(Image.open(tmp_path / "samples.png"))[::6, : 12 * 6 : 6, 0]  # the first, without its repeats
    middle = items[0]["image"][0, ..., 2].numpy()
    assert np.array_equal(shown, np.rint(middle[::-1, ::-1].T * 255))


def test_colours_are_kept_and_of_other_channels_the_first_is_shown(tmp_path):
    (red,) = samples(1, (3, 96, 96))
    red["image"][1:] = 0
    generate([red], SaveSamples(tmp_path))
    assert np.asarray(Image.open(tmp_path / "samples.png"))[..., 1:].max() == 0
    two = torch.stack([torch.ones(96, 96, 3), torch.zeros(96, 96, 3)])
    generate([{"image": two}], SaveSamples(tmp_path))
    assert np.asarray(Image.open(tmp_path / "samples.png")).min() == 255


def test_a_picture_of_one_column_has_a_row_a_sample(tmp_path):
    generate(samples(3, (1, 96, 96)), SaveSamples(tmp_path, columns=1), batch_size=3)
    assert Image.open(tmp_path / "samples.png").size == (96, 3 * 96 + 2 * GAP)


def test_files_name_the_class_and_the_picture_has_a_row_a_class(tmp_path):
    items = samples(5, (1, 96, 96), classes=[2, 0, 2, 2, 2])
    generate(items, SaveSamples(tmp_path, columns=3, class_names=["hand", "head", "chest"]), batch_size=2)
    assert names(tmp_path)[:2] == ["sample_000_class2.png", "sample_001_class0.png"]
    picture = np.asarray(Image.open(tmp_path / "samples.png"))[..., 0]
    assert picture.shape == (2 * (96 + HEAD) + GAP, 3 * 96 + 2 * GAP)
    levels = [np.asarray(Image.open(tmp_path / name)) for name in names(tmp_path)[:5]]
    assert np.array_equal(picture[HEAD : HEAD + 96, :96], levels[1])
    assert np.array_equal(picture[-96:, -96:], levels[3])
    assert picture[:HEAD].max() > 0  # the caption


def test_the_picture_has_at_most_64_samples_and_the_folder_all(tmp_path):
    generate(samples(70, (1, 96, 96)), SaveSamples(tmp_path), batch_size=35)
    assert len(names(tmp_path)) == 71
    assert Image.open(tmp_path / "samples.png").size == (8 * 96 + 7 * GAP, 8 * 96 + 7 * GAP)


def test_a_second_run_starts_anew(tmp_path):
    save = SaveSamples(tmp_path)
    generate(samples(3), save)
    generate(samples(2), save)
    assert len(names(tmp_path)) == 4


def test_the_steps_of_the_first_batch_are_animated(tmp_path):
    batches = [[torch.full((5, 1, 96, 96), value) for value in (-1.0, 0.0, 1.0)], []]
    generate(samples(8), SaveSamples(tmp_path, frames=lambda: batches.pop(0)), batch_size=5)
    with Image.open(tmp_path / "denoising.gif") as animation:
        assert animation.n_frames == 3
        assert animation.size == (3 * 96 + 2 * GAP, 2 * 96 + GAP + HEAD)
        assert animation.info["loop"] == 0
        shown = []
        for frame in range(3):
            animation.seek(frame)
            shown.append((np.asarray(animation.convert("L"))[50, 50], animation.info["duration"]))
    assert shown == [(0, 80), (128, 80), (255, 2000)]
    assert len(batches) == 1


def test_steps_of_volumes_and_colours_are_animated(tmp_path):
    for channels, size in ((1, (8, 9, 4)), (3, (8, 9))):
        steps = [torch.rand(2, channels, *size) * 2 - 1 for _ in range(4)]
        generate(samples(2, (channels, *size)), SaveSamples(tmp_path, frames=lambda steps=steps: steps))
        with Image.open(tmp_path / "denoising.gif") as animation:
            assert animation.n_frames == 4


def test_many_steps_and_samples_are_thinned_out_to_the_last_step(tmp_path):
    steps = [torch.full((20, 1, 96, 96), i / 500 - 1) for i in range(1000)]
    generate(samples(1), SaveSamples(tmp_path, frames=lambda: steps))
    with Image.open(tmp_path / "denoising.gif") as animation:
        assert animation.n_frames == 60
        assert animation.size[0] == 4 * 96 + 3 * GAP
        animation.seek(59)
        assert np.asarray(animation.convert("L"))[60, 50] == 255


def test_no_steps_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="frames gave no denoising steps"):
        generate(samples(1), SaveSamples(tmp_path, frames=lambda: []))


def test_a_sample_that_is_not_finite_is_named(tmp_path):
    items = [{"image": torch.rand(1, 8, 8), "case": "good"}, {"image": torch.full((1, 8, 8), torch.nan), "case": "bad"}]
    with pytest.raises(ValueError, match="sample bad of iteration 1 has values that are not finite"):
        generate(items, SaveSamples(tmp_path))


def test_settings_that_fit_nothing_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="columns is 0"):
        SaveSamples(tmp_path, columns=0)
    with pytest.raises(ValueError, match=r"class label 1 has no name, class_names are \['hand'\]"):
        generate(samples(2, classes=[0, 1]), SaveSamples(tmp_path, class_names=["hand"]))
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="start inference without torchrun"):
        generate(samples(1), SaveSamples(tmp_path))
