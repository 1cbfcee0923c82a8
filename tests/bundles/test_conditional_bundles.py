"""Bundles whose networks have a class or a position as context, and interpolation between two samples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import random_picture, write_nifti, write_picture
from monai.bundle import ConfigParser, run
from PIL import Image

from flemme_monai.commands.places import BUNDLES
from flemme_monai.recipes import make_bundle, write
from flemme_monai.registry import pairs
from flemme_monai.utils.errors import one_line_error

SMALL = {"image_size": [16, 16], "epochs": 1, "num_workers": 0, "batch_size": 8}
TINY = {"patch_channels": 8, "channels": [8, 16], "middle_channels": [16], "num_blocks": 1}
TINY = {f"network_def#backbone#{name}": value for name, value in TINY.items()}


def files(bundle: str, *names: str) -> list[str]:
    return [str(BUNDLES / bundle / "configs" / f"{name}.json") for name in names]


def parsed(bundle: str, names: tuple[str, ...], **settings) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(files(bundle, *names))
    parser.update(settings)
    return parser


def made(bundle: str, folder: Path, **settings) -> dict:
    """The settings of a bundle whose networks have random weights."""
    settings = {"image_size": [16, 16], **settings, "ckpt_dir": str(folder / "m"), "output_dir": str(folder / "o")}
    parser = parsed(bundle, ("inference",), **settings)
    for part, path in ("network_def", "model.pt"), ("autoencoder_def", "autoencoder/model.pt"):
        if part in parser:
            (folder / "m" / path).parent.mkdir(parents=True, exist_ok=True)
            network = parser.get_parsed_content(part)
            if "scale_factor" in dict(network.named_buffers()):
                network.scale_factor.fill_(1.0)
            torch.save(network.state_dict(), folder / "m" / path)
    return settings


def refused(config_file: list[str], **settings) -> str:
    """The line that a run ends with."""
    with pytest.raises(Exception) as error:  # noqa: PT011
        run(config_file=config_file, **settings)
    return one_line_error(error.value)


def written(folder: Path) -> set[str]:
    return {path.name for path in (folder / "o").rglob("*") if path.is_file()}


def classes_of_pictures(folder: Path, classes: int = 2, images: int = 15) -> str:
    for label in range(classes):
        for i in range(images):
            write_picture(folder / f"class{label}" / f"{i}.png", random_picture(i, (20, 24)) // 2 + 100 * label)
    return str(folder)


@pytest.mark.parametrize("bundle", ["ae_cnn", "hae_unet", "vae_cnn"])
def test_an_auto_encoder_is_trained_evaluated_and_used_under_classes(bundle, tmp_path):
    folders = {"ckpt_dir": str(tmp_path / "m"), "output_dir": str(tmp_path / "o")}
    more = {"dataset_dir": classes_of_pictures(tmp_path / "set"), "num_classes": 2}
    run(config_file=files(bundle, "train"), **SMALL, **TINY, **more, **folders)
    weights = torch.load(tmp_path / "m" / "model.pt", weights_only=True)
    assert weights["backbone.conditions.context.embedding.weight"].shape == (2, 128)
    generates = {"num_samples": 6} if bundle == "vae_cnn" else {}
    run(config_file=files(bundle, "train", "evaluate"), **SMALL, **TINY, **more, **folders, **generates)
    used = {key: value for key, value in more.items() if key == "num_classes" or bundle != "vae_cnn"}
    run(config_file=files(bundle, "inference"), image_size=[16, 16], **TINY, **used, **folders, **generates)
    names = written(tmp_path)
    assert ("latents.png" in names) == (bundle != "hae_unet")
    assert names >= ({"sample_005_class1.png"} if bundle == "vae_cnn" else {"0_recon.png", "class1_0_recon.png"})


def test_latents_of_a_reconstruction_are_shown_too(tmp_path):
    settings = made("ae_unet", tmp_path, degradation="equispaced", **TINY)
    run(config_file=files("ae_unet", "train", "evaluate"), **{**SMALL, **settings})
    assert "latents.png" in written(tmp_path)


def test_an_auto_encoder_says_that_it_needs_the_classes_of_images(tmp_path):
    settings = made("ae_cnn", tmp_path, num_classes=2, **TINY)
    write_picture(tmp_path / "set" / "a.png", random_picture(0, (16, 16)))
    line = refused(files("ae_cnn", "inference"), dataset_dir=str(tmp_path / "set"), **settings)
    assert "a batch has no 'class_label', only 'image'" in line


@pytest.mark.parametrize("bundle", ["ae_cnn", "vae_cnn", "ldm_cnn"])
def test_interpolation_between_two_images(bundle, tmp_path):
    settings = made(bundle, tmp_path, **({} if bundle == "ldm_cnn" else {"num_classes": 2, **TINY}))
    ends = [str(tmp_path / f"{name}.png") for name in "ab"]
    for seed, path in enumerate(ends):
        write_picture(Path(path), random_picture(seed, (20, 24)))
    label = {} if bundle == "ldm_cnn" else {"class_label": 1}
    run(
        config_file=files(bundle, "inference", "interpolate"),
        interpolate_between=ends,
        num_samples=4,
        **label,
        **settings,
    )
    suffix = "" if bundle == "ldm_cnn" else "_class1"
    assert written(tmp_path) == {"way.png", "way.gif", *(f"sample_00{i}{suffix}.png" for i in range(4))}
    first, last = (np.asarray(Image.open(tmp_path / "o" / f"sample_00{i}{suffix}.png")) for i in (0, 3))
    assert first.shape == (16, 16)
    assert not np.array_equal(first, last)


@pytest.mark.parametrize("bundle", ["ae_cnn", "vae_cnn"])
def test_interpolation_between_two_volumes(bundle, tmp_path):
    settings = made(bundle, tmp_path, spatial_dims=3, **{**TINY, "image_size": [16, 16, 16]})
    ends = [str(tmp_path / f"{name}.nii.gz") for name in "ab"]
    for seed, path in enumerate(ends):
        write_nifti(Path(path), random_picture(seed, (18, 20, 17)).astype(np.float32))
    run(config_file=files(bundle, "inference", "interpolate"), interpolate_between=ends, num_samples=2, **settings)
    assert written(tmp_path) == {"way.png", "way.gif", "sample_000.nii.gz", "sample_001.nii.gz"}


@pytest.mark.parametrize("bundle", ["vae_cnn", "ldm_cnn"])
def test_interpolation_between_two_seeds_has_the_samples_of_both(bundle, tmp_path):
    settings = made(bundle, tmp_path, num_classes=2, **({"num_inference_steps": 3} if bundle == "ldm_cnn" else {}))
    stack = files(bundle, "inference", "interpolate")
    run(config_file=stack, interpolate_between=[3, 17], num_samples=4, class_label=1, **settings)
    interpolated = tmp_path / "interpolated"
    shutil.move(tmp_path / "o", interpolated)
    for seed, of in ((3, 0), (17, 3)):
        run(config_file=stack[:1], num_samples=1, seed=seed, class_label=1, **settings)
        one = np.asarray(Image.open(tmp_path / "o" / "sample_000_class1.png"), int)
        assert np.abs(one - np.asarray(Image.open(interpolated / f"sample_00{of}_class1.png"), int)).max() <= 1
    assert "an interpolation has one class" in refused(stack, interpolate_between=[3, 17], **settings)


def test_former_names_of_settings_are_understood(tmp_path, capsys):
    settings = made("vae_cnn", tmp_path)
    run(config_file=files("vae_cnn", "inference", "interpolate"), between=[3, 17], num_samples=2, **settings)
    assert written(tmp_path) == {"way.png", "way.gif", "sample_000.png", "sample_001.png"}
    assert capsys.readouterr().out.count("between is now called interpolate_between: [3, 17] is taken") == 1
    parser = parsed("edm_cnn", ("inference",), churn=3.0, guidance=1.5)
    assert parser.get_parsed_content("sampling").sigma_hats[0] == pytest.approx(80 * (1 + 3 / 18))
    assert parser.get_parsed_content("inferer").guidance_scale == 1.5


def test_an_auto_encoder_does_not_interpolate_between_seeds(tmp_path):
    settings = made("ae_cnn", tmp_path, **TINY)
    assert "An auto-encoder has no prior" in refused(
        files("ae_cnn", "inference", "interpolate"), interpolate_between=[3, 17], **settings
    )


def test_only_where_an_image_is_its_latent_there_is_interpolation():
    have = [pair for pair in pairs(shipped=True) if "configs/interpolate.json" in make_bundle(pair)]
    assert have == [f"{a}_{e}" for a in ("ae", "vae", "ldm") for e in ("cnn", "vit", "swin", "vmamba", "mednext")]


def test_the_autoencoder_of_a_class_conditional_ldm_is_unconditional():
    parser = parsed("ldm_cnn", ("train_autoencoder",), num_classes=2)
    assert parser.get_parsed_content("network_def").backbone.conditioning is None
    assert parser.get_parsed_content("condition_key") is None
    parser = parsed("ldm_cnn", ("inference",), num_classes=2)
    assert parser.get_parsed_content("autoencoder_def").backbone.conditioning is None
    assert parser.get_parsed_content("network_def").backbone.conditioning.context == "class"


def test_a_denoiser_receives_the_index_of_a_slice_of_a_volume(tmp_path):
    rng = np.random.default_rng(0)
    for case in range(5):
        write_nifti(tmp_path / "set" / f"{case}.nii.gz", rng.random((18, 20, 6)).astype(np.float32))
    conditioning = {
        f"network_def#backbone#conditioning#{k}": v for k, v in (("context", "position"), ("context_size", 1))
    }
    shared = {**conditioning, **TINY, "ckpt_dir": str(tmp_path / "m"), "output_dir": str(tmp_path / "o")}
    trained = {"dataset_dir": str(tmp_path / "set"), "condition_key": "slice", **SMALL}
    run(config_file=files("ddpm_cnn", "train"), **shared, **trained)
    drawn = {"num_samples": 3, "position": [0, 5], "num_inference_steps": 2, "guidance_scale": 2.0}
    run(config_file=files("ddpm_cnn", "inference"), **shared, **drawn, image_size=[16, 16])
    assert "sample_002.png" in written(tmp_path)
    settings = parsed("ddpm_cnn", ("train",), **conditioning).get_parsed_content("network_def#backbone#conditioning")
    assert settings.drop == 0.1  # so that guidance has something to go by
    assert "conditioning#context and needs them" in refused(
        files("ddpm_cnn", "inference"), **shared, num_samples=3, image_size=[16, 16]
    )


def test_settings_of_a_bundle_of_ones_own_reach_the_interpolation(tmp_path):
    write(tmp_path, make_bundle("vae_vit", settings={"interpolate_between": [5, 6], "num_samples": 7}))
    config = json.loads((tmp_path / "configs" / "interpolate.json").read_text(encoding="utf-8"))
    assert (config["interpolate_between"], config["num_samples"]) == ([5, 6], 7)
