"""Bad input to bundles that generate ends in one clear line, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from image_files import random_picture, write_picture
from refusal import command, earlier_run, refused, save_weights

from flemme_monai.commands.bundle_files import read_config
from flemme_monai.recipes import make_bundle, write

SIZE = {"image_size": [16, 16]}
TRAINING = {"epochs": 2, "num_workers": 0, "batch_size": 16}


def made(pair: str, folder: Path) -> Path:
    """A bundle with weights."""
    write(folder / pair, make_bundle(pair, settings=SIZE))
    save_weights(folder / pair, folder / pair / "models")
    return folder / pair


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made("ddpm_cnn", tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latent diffusion with both of its weights."""
    bundle = made("ldm_cnn", tmp_path_factory.mktemp("bundles"))
    save_weights(bundle, bundle / "models" / "autoencoder", "autoencoder_def")
    return bundle


SAMPLING: dict[str, tuple[dict[str, Any], str]] = {
    "a class outside": (
        {"num_classes": 4, "class_label": 7},
        "ValueError: class_label is 7; expected 0 to 3, as num_classes says.",
    ),
    "a class of an unconditional model": (
        {"class_label": 3},
        "class_label is 3; expected none without num_classes",
    ),
    "too many steps": (
        {"num_inference_steps": 2000},
        "ValueError: num_inference_steps is 2000; expected 1 to 1000, the steps of the schedule.",
    ),
    "unconditional guidance": (
        {"guidance_scale": 2.0},
        "ValueError: guidance_scale is 2.0; expected 1 on",
    ),
    "another sampler": ({"sampler": "euler"}, "ValueError: sampler is 'euler'; expected one of ddpm, ddim, pndm."),
    "no sample": ({"num_samples": 0}, "ValueError: num_samples is 0; expected 1 or more."),
}


@pytest.mark.parametrize("workflow", ["inference", "evaluate"])
@pytest.mark.parametrize("case", SAMPLING)
def test_sampling_refuses(case: str, workflow: str, denoiser: Path, tmp_path: Path) -> None:
    settings, words = SAMPLING[case]
    if "num_classes" in settings:
        save_weights(denoiser, tmp_path / "conditional" / "models", num_classes=settings["num_classes"])
    assert words in refused(denoiser, workflow, earlier_run(denoiser, tmp_path), **settings)


def test_more_steps_kept_than_taken_is_refused(denoiser: Path, tmp_path: Path) -> None:
    settings = {"inferer#keep_steps": 40, "num_inference_steps": 10}
    line = refused(denoiser, "inference", earlier_run(denoiser, tmp_path), **settings)
    assert line == "ValueError: keep_steps is 40; expected at most the sampler's 10 steps."


def test_a_classifier_that_is_not_there_is_named(denoiser: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "clm" / "model.pt")
    settings = {"classifier_path": missing, "classifier_classes": 4, "num_samples": 2, "num_inference_steps": 1}
    line = refused(denoiser, "evaluate", earlier_run(denoiser, tmp_path), **settings)
    assert line.startswith(f"FileNotFoundError: there is no classifier {missing}: train one on these images")


def test_as_many_folders_as_classes_are_expected(denoiser: Path, tmp_path: Path) -> None:
    for k in range(10):
        write_picture(tmp_path / "set" / "ab"[k % 2] / f"{k}.png", random_picture(k, (16, 16)))
    settings = {"num_classes": 3, "dataset_dir": str(tmp_path / "set"), **TRAINING}
    line = refused(denoiser, "train", earlier_run(denoiser, tmp_path), **settings)
    assert f"{tmp_path / 'set'}: has 2 folders while num_classes is 3; expected one folder of images per class" in line


def test_a_loss_that_is_not_finite_stops_before_the_weights(denoiser: Path, tmp_path: Path) -> None:
    line = refused(denoiser, "train", earlier_run(denoiser, tmp_path), learning_rate=1e30, **TRAINING)
    assert line.startswith("ValueError: training loss is nan at epoch 1, iteration 2; last good checkpoint: none yet")


class BreaksWeights:
    """Makes a weight NaN when the second epoch starts."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED(once=2), self)

    def __call__(self, engine: Engine) -> None:
        torch.nn.init.constant_(next(engine.network.parameters()), float("nan"))


def test_the_last_good_checkpoint_is_named(denoiser: Path, tmp_path: Path) -> None:
    folders = {"ckpt_dir": tmp_path / "ckpt", "output_dir": tmp_path / "out"}
    handlers = [handler["_target_"] for handler in read_config(denoiser, "train")["train"]["handlers"]]
    place = handlers.index("flemme_monai.handlers.SaveExampleSamples")  # which is not missed
    line = refused(denoiser, "train", folders, **{f"train#handlers#{place}": BreaksWeights()}, **TRAINING)
    assert f"at epoch 2, iteration 1; last good checkpoint: {tmp_path / 'ckpt' / 'last.pt'} (epoch 1);" in line


@pytest.mark.parametrize("workflow", ["train_diffusion", "evaluate", "inference"])
def test_latent_diffusion_names_an_autoencoder_that_is_not_there(workflow: str, latent: Path, tmp_path: Path) -> None:
    results = earlier_run(latent, tmp_path)
    (results["ckpt_dir"] / "autoencoder" / "model.pt").unlink()
    settings = TRAINING if workflow == "train_diffusion" else {"num_samples": 2, "num_inference_steps": 1}
    line = refused(latent, workflow, results, **settings)
    assert f"there is no checkpoint {results['ckpt_dir'] / 'autoencoder' / 'model.pt'}" in line


@pytest.mark.parametrize(
    "other", [{"latent_channels": 8}, {"autoencoder_def#backbone#channels": [32, 48]}], ids=["latent", "width"]
)
@pytest.mark.parametrize("workflow", ["train_diffusion", "inference"])
def test_latent_diffusion_names_an_autoencoder_that_does_not_fit(
    workflow: str, other: dict[str, Any], latent: Path, tmp_path: Path
) -> None:
    results = earlier_run(latent, tmp_path)
    save_weights(latent, results["ckpt_dir"] / "autoencoder", "autoencoder_def", **other)
    settings = TRAINING if workflow == "train_diffusion" else {"num_samples": 2, "num_inference_steps": 1}
    line = refused(latent, workflow, results, **settings)
    assert f"{results['ckpt_dir'] / 'autoencoder' / 'model.pt'} does not fit the network: " in line


@pytest.mark.parametrize("workflow", ["train_diffusion", "inference"])
def test_latent_diffusion_refuses_a_latent_vector(workflow: str, latent: Path, tmp_path: Path) -> None:
    line = refused(latent, workflow, earlier_run(latent, tmp_path), latent_size=16)
    assert line == "ValueError: latent diffusion needs a spatial latent: leave the autoencoder's latent_size out."


def test_the_command_line_ends_with_the_line(denoiser: Path, tmp_path: Path) -> None:
    done = command(denoiser, "inference", "--guidance", "2.0", "--output_dir", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ValueError: guidance_scale is 2.0; expected 1 on")
    assert (done.stdout + done.stderr).count("guidance is now called guidance_scale: 2.0 is taken") == 1
    assert "Traceback" not in done.stderr
