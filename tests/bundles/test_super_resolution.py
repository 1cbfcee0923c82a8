"""Super-resolution from given pairs, as a user has it: training, evaluation, and files that are alone and small."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from image_files import write_nifti, write_picture
from monai.bundle import run
from PIL import Image

from flemme_monai.recipes import make_bundle, write
from flemme_monai.utils.settings import check_overrides

TINY = {"patch_size": 1, "patch_channels": 8, "channels": [8, 16], "middle_channels": [16], "num_blocks": 1}
TINY = {f"network_def#backbone#{name}": value for name, value in TINY.items()}
OBLIQUE = np.array([[-0.9, -0.2, 0.1, 12.0], [-0.2, 1.1, 0, -7.0], [0.05, 0, 1.3, 30.0], [0, 0, 0, 1]])


def coarser(volume: np.ndarray, affine: np.ndarray, factors: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Means of blocks, and the affine under which they cover the same extent."""
    blocks = [n for length, f in zip(volume.shape, factors) for n in (length // f, f)]
    low = volume.reshape(blocks).mean(tuple(range(1, 2 * len(factors), 2)))
    scale = [*factors, 1, 1][:3]
    finer = np.diag([*scale, 1.0])
    finer[:3, 3] = [(f - 1) / 2 for f in scale]
    return low, affine @ finer


def smooth(seed: int, size: tuple[int, ...]) -> np.ndarray:
    """A picture or volume, 0 to 1, of structures of a few voxels."""
    axes = np.meshgrid(*[np.arange(n) for n in size], indexing="ij")
    waves = np.random.default_rng(seed).uniform(0.2, 0.9, (3, len(size)))
    found = sum(np.sin(sum(w * a for w, a in zip(wave, axes))) for wave in waves)
    return (found - found.min()) / (found.max() - found.min())


class Tried:
    """A bundle, made anew, in which everything goes to one folder."""

    def __init__(self, pair: str, folder: Path) -> None:
        self.folder = folder
        write(folder / pair, make_bundle(pair))
        self.configs = folder / pair / "configs"

    def run(self, output: str, *names: str, **settings) -> set[str]:
        """Run configs over each other; the files that they wrote."""
        target = self.folder / output
        files = [str(self.configs / f"{name}.json") for name in names]
        run(config_file=files, ckpt_dir=str(self.folder / "m"), output_dir=str(target), **settings)
        return {path.name for path in target.rglob("*") if path.is_file()}


@pytest.mark.parametrize("pair", ["ae_unet", "sdm_unet", pytest.param("hae_unet", marks=pytest.mark.slow)])
def test_small_pictures_become_twice_as_large(pair, tmp_path):
    for i in range(10):
        picture = (255 * smooth(i, (32, 24))).round()
        low, _ = coarser(picture, np.eye(4), (2, 2))
        write_picture(tmp_path / "set" / "targets" / f"{i}.png", picture.astype(np.uint8))
        for folder in ("set/inputs", "alone") if i < 2 else ("set/inputs",):
            write_picture(tmp_path / folder / f"{i}.png", low.round().astype(np.uint8))
    tried, sampled = Tried(pair, tmp_path), {}
    if pair == "sdm_unet":
        sampled = {"num_inference_steps": 2, "num_samples": 2}
    pairs = {"dataset_dir": str(tmp_path / "set"), "num_workers": 0}
    shape = {"degradation": "given", "upscale": 2, "image_size": [16, 16], "epochs": 1}
    tried.run("train", "train", **pairs, **shape, **TINY)
    assert "cases.csv" in tried.run("evaluate", "train", "evaluate", **pairs, **sampled)
    names = tried.run("used", "inference", dataset_dir=str(tmp_path / "alone"), **sampled)
    assert {"0_recon.png", "1_recon.png", "0_recon_overlay.png"} <= names
    with Image.open(tmp_path / "used" / "0_recon.png") as image:
        assert image.size == (24, 32)
    tried.run("again", "inference", dataset_dir=str(tmp_path / "set"), **sampled)  # targets beside them change nothing
    first, second = (np.asarray(Image.open(tmp_path / folder / "0_recon.png")) for folder in ("used", "again"))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("spatial_dims", "factors", "codes"),
    [
        (3, (2, 2, 2), "LAS"),
        (2, (2, 2, 1), "PIR"),
        pytest.param(3, (2, 2, 1), "PIR", marks=pytest.mark.slow),
        pytest.param(3, (3, 2, 2), "LAS", marks=pytest.mark.slow),
    ],
)
def test_small_volumes_get_more_voxels_of_the_same_place(spatial_dims, factors, codes, tmp_path):
    size = tuple(12 * f for f in factors)
    before, after = nib.orientations.io_orientation(OBLIQUE), nib.orientations.axcodes2ornt(codes)
    turn = nib.orientations.ornt_transform(before, after)
    targets = {}
    for i in range(6):
        volume = (1000 * smooth(i, size)).astype(np.float32)
        low, affine = coarser(volume, OBLIQUE, factors)
        large = nib.Nifti1Image(volume, OBLIQUE).as_reoriented(turn)
        small = nib.Nifti1Image(low.astype(np.float32), affine).as_reoriented(turn)
        targets[f"{i}"] = large
        for folder, image in ("set/targets", large), ("set/inputs", small), *([("alone", small)] if i < 2 else []):
            write_nifti(tmp_path / folder / f"{i}.nii.gz", np.asarray(image.dataobj), image.affine)
    tried = Tried("ae_unet", tmp_path)
    upscale = factors[:spatial_dims] if len(set(factors[:spatial_dims])) > 1 else factors[0]
    shape = {"spatial_dims": spatial_dims, "upscale": upscale, "image_size": [8] * spatial_dims}
    path = str(tmp_path / "set")
    tried.run("train", "train", dataset_dir=path, num_workers=0, degradation="given", epochs=1, **shape, **TINY)
    tried.run("evaluate", "train", "evaluate", dataset_dir=path, num_workers=0)
    with (tmp_path / "evaluate" / "cases.csv").open(encoding="utf-8", newline="") as file:
        assert len({row["case"] for row in csv.DictReader(file)}) >= 1
    names = tried.run("used", "inference", dataset_dir=str(tmp_path / "alone"))
    assert {"0_recon.nii.gz", "1_recon.nii.gz"} <= names
    for name in "01":
        made = nib.load(tmp_path / "used" / f"{name}_recon.nii.gz")
        assert made.shape == targets[name].shape
        assert nib.aff2axcodes(made.affine) == tuple(codes)
        np.testing.assert_allclose(made.affine, targets[name].affine, atol=1e-5)
        given, target = (np.asarray(image.dataobj).ravel() for image in (made, targets[name]))
        assert np.corrcoef(given, target)[0, 1] > 0.8  # it lies where it should
        assert 0 < np.ptp(given) < 2000  # in intensities of the file


def test_a_factor_per_axis_is_a_setting_of_the_command_line(tmp_path):
    write(tmp_path, make_bundle("ae_unet"))
    words = ["run", "--config_file", str(tmp_path / "configs" / "train.json"), "--upscale"]
    check_overrides([*words[1:], "[2,2,1]"])
    check_overrides([*words[1:], "2"])
    with pytest.raises(ValueError, match=r"upscale is 1\.5; expected a whole number"):
        check_overrides([*words[1:], "1.5"])


@pytest.mark.slow
def test_a_trained_network_is_better_than_interpolation(tmp_path):
    for i in range(30):
        volume = smooth(i, (32, 32))
        low, _ = coarser(volume, np.eye(4), (2, 2))
        write_picture(tmp_path / "set" / "targets" / f"{i:02d}.png", (255 * volume).round().astype(np.uint8))
        write_picture(tmp_path / "set" / "inputs" / f"{i:02d}.png", (255 * low).round().astype(np.uint8))
    tried = Tried("ae_unet", tmp_path)
    shape = {"degradation": "given", "upscale": 2, "image_size": [32, 32], "epochs": 30, "batch_size": 4}
    path = {"dataset_dir": str(tmp_path / "set"), "num_workers": 0}
    tried.run("train", "train", **path, **shape, **TINY)
    tried.run("evaluate", "train", "evaluate", **path)
    with (tmp_path / "evaluate" / "summary.csv").open(encoding="utf-8", newline="") as file:
        scores = {row["metric"]: float(row["mean"]) for row in csv.DictReader(file)}
    assert scores["psnr"] > scores["input_psnr"] + 1
