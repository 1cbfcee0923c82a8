"""Bundles whose networks receive numbers of a table, and an image by an encoder of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import random_picture, write_picture
from monai.bundle import run
from PIL import Image

from flemme_monai.recipes import make_bundle, write
from flemme_monai.utils.errors import one_line_error

SMALL = {"image_size": [16, 16], "epochs": 1, "num_workers": 0, "batch_size": 8}
TINY = {"patch_channels": 8, "channels": [8, 16], "middle_channels": [16], "num_blocks": 1}
TINY = {f"network_def#backbone#{name}": value for name, value in TINY.items()}


class Tried:
    """A bundle, made anew, in which everything goes to one folder."""

    def __init__(self, pair: str, folder: Path, **settings) -> None:
        self.folder = folder
        write(folder / pair, make_bundle(pair))
        self.configs = folder / pair / "configs"
        self.settings = {"ckpt_dir": str(folder / "m"), **settings}

    def run(self, output: str, *names: str, **settings) -> set[str]:
        """Run configs over each other; the files that they wrote."""
        target = self.folder / output
        files = [str(self.configs / f"{name}.json") for name in names]
        run(config_file=files, output_dir=str(target), **{**self.settings, **settings})
        return {path.name for path in target.rglob("*") if path.is_file()}

    def refused(self, *names: str, **settings) -> str:
        """The line that a run ends with."""
        with pytest.raises(Exception) as error:  # noqa: PT011
            self.run("refused", *names, **settings)
        return one_line_error(error.value)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return torch.load(self.folder / "m" / "model.pt", weights_only=True)


def pictures(folder: Path, count: int = 15, labels: bool = False) -> dict[str, str]:
    """Settings of a data set of pictures whose table has the number of each."""
    name = "images/" if labels else ""
    for i in range(count):
        picture = random_picture(i, (20, 24))
        write_picture(folder / "set" / f"{name}{i:02d}.png", picture)
        if labels:
            write_picture(folder / "set" / "masks" / f"{i:02d}.png", (picture > 127).astype(np.uint8) * 255)
    rows = "".join(f"{i:02d},{20 + i},{i % 2}\n" for i in range(count))
    (folder / "table.csv").write_text("case,age,sex\n" + rows, encoding="utf-8")
    return {"dataset_dir": str(folder / "set"), "condition_table": str(folder / "table.csv")}


def woken(tried: Tried) -> None:
    """Let the injections of trained weights say much."""
    weights = tried.weights
    for name, value in weights.items():
        if ".injections." in name:
            value += torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
    torch.save(weights, tried.folder / "m" / "model.pt")


@pytest.mark.parametrize("columns", [None, ["age"]])
def test_the_levels_of_a_hierarchical_network_are_seen_in_tensorboard(tmp_path, columns):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data = pictures(tmp_path, labels=True)
    data["condition_table"] = columns and data["condition_table"]
    Tried("hsem_unet", tmp_path, num_classes=2).run(
        "train", "train", **data, condition_columns=columns, **SMALL, **TINY
    )
    (events,) = (tmp_path / "train").rglob("events.out.tfevents*")
    assert "levels" in EventAccumulator(str(events)).Reload().Tags()["images"]


def test_a_segmentation_is_trained_evaluated_and_used_under_numbers(tmp_path):
    data = pictures(tmp_path, labels=True)
    tried = Tried("sem_unet", tmp_path, num_classes=2)
    tried.run("train", "train", **data, condition_columns=["age", "sex"], **SMALL, **TINY)
    statistics = {name[-4:]: value for name, value in tried.weights.items() if name[-4:] in (".std", "mean")}
    torch.testing.assert_close(statistics["mean"], torch.tensor([24.0, 4 / 9]))  # of the nine cases that train
    torch.testing.assert_close(statistics[".std"], torch.tensor([np.arange(9).std(), np.std([0, 1] * 4 + [0])]).float())
    record = json.loads((tmp_path / "m" / "network.json").read_text(encoding="utf-8"))
    assert record["settings"]["condition_columns"] == ["age", "sex"]
    assert record["network"]["backbone"]["conditioning"]["context"] == "vector"
    assert "cases.csv" in tried.run("evaluate", "train", "evaluate", **data, num_workers=0)
    woken(tried)
    found = []
    for age in (20, 80):
        rows = "".join(f"{i:02d},{age},1\n" for i in range(15))
        (tmp_path / "table.csv").write_text("case,age,sex\n" + rows, encoding="utf-8")
        tried.run(f"used{age}", "inference", **data, save_probabilities=True)
        found.append(np.asarray(Image.open(tmp_path / f"used{age}" / "00_seg.png")))
    assert not np.array_equal(*found)
    assert "condition_columns is ['age', 'sex'] without condition_table" in tried.refused(
        "inference", dataset_dir=data["dataset_dir"]
    )
    (tmp_path / "table.csv").write_text("case,age,sex\n" + rows.replace("03,80,1", "03,,1"), encoding="utf-8")
    assert "case '03' has no value in column 'age'" in tried.refused("inference", **data)


def test_a_training_under_numbers_is_resumed_with_the_same_statistics(tmp_path):
    data = pictures(tmp_path, labels=True)
    tried = Tried("sem_cnn", tmp_path, num_classes=2, **data, condition_columns="age", **SMALL, **TINY)
    tried.run("train", "train")
    before = tried.weights["backbone.conditions.context.mean"]
    tried.run("train", "train", resume=True, epochs=2)
    assert torch.equal(tried.weights["backbone.conditions.context.mean"], before)


def test_images_are_classified_under_numbers(tmp_path):
    for i in range(20):
        write_picture(tmp_path / "set" / f"class{i % 2}" / f"{i:02d}.png", random_picture(i, (20, 24)))
    rows = "".join(f"{i:02d},{20 + i}\n" for i in range(20))
    (tmp_path / "table.csv").write_text("case,age\n" + rows, encoding="utf-8")
    data = {"dataset_dir": str(tmp_path / "set"), "condition_table": str(tmp_path / "table.csv")}
    tried = Tried("clm_cnn", tmp_path, num_classes=2)
    tried.run("train", "train", **data, condition_columns="age", **SMALL, **TINY)
    assert "confusion_matrix.csv" in tried.run("evaluate", "train", "evaluate", **data, num_workers=0)
    woken(tried)
    tried.run("young", "inference", **data)
    (tmp_path / "table.csv").write_text("case,age\n" + rows.replace(",2", ",8"), encoding="utf-8")
    tried.run("old", "inference", **data)
    first, second = ((tmp_path / name / "predictions.csv").read_text(encoding="utf-8") for name in ("young", "old"))
    assert first != second


@pytest.mark.parametrize("pair", ["ddpm_cnn", pytest.param("edm_cnn", marks=pytest.mark.slow)])
def test_images_are_generated_under_numbers(pair, tmp_path):
    data = pictures(tmp_path)
    tried = Tried(pair, tmp_path, num_inference_steps=2)
    tried.run("train", "train", **data, condition_columns="age,sex", context_drop=0.3, **SMALL, **TINY)
    assert tried.weights["backbone.conditions.context.mean"].tolist() == pytest.approx([24.0, 4 / 9])
    assert "summary.csv" in tried.run("evaluate", "train", "evaluate", **data, num_samples=5, num_workers=0)
    woken(tried)
    drawn = {"num_samples": 2, "guidance_scale": 2.0}
    names = tried.run("two", "inference", condition_vector=[[20, 0], [80, 1]], **drawn)
    assert {"sample_000.png", "sample_001.png"} <= names
    tried.run("one", "inference", condition_vector=[20, 0], **drawn)
    first, second = (
        [np.asarray(Image.open(tmp_path / folder / f"sample_00{i}.png")) for folder in ("one", "two")] for i in (0, 1)
    )
    assert np.array_equal(*first)
    assert not np.array_equal(*second)
    assert "a batch has no 'vector'" in tried.refused("inference", **drawn)
    assert "expected a number per column" in tried.refused("inference", **drawn, condition_vector="old")
    assert "a context 'vector' for 4 images of size (16, 16) has (4, 2)" in tried.refused(
        "inference", **drawn, condition_vector=[1]
    )


@pytest.mark.parametrize("pair", ["vae_cnn", pytest.param("ae_cnn", marks=pytest.mark.slow)])
def test_auto_encoders_receive_numbers_also_between_two_images(pair, tmp_path):
    data = pictures(tmp_path, count=30)
    tried = Tried(pair, tmp_path)
    tried.run("train", "train", **data, condition_columns="age", **SMALL, **TINY)
    generates = {"num_samples": 6} if pair == "vae_cnn" else {}
    assert "latents.png" in tried.run("evaluate", "train", "evaluate", **data, **generates, num_workers=0)
    ends = [str(tmp_path / "set" / f"0{i}.png") for i in (0, 1)]
    names = tried.run(
        "between", "inference", "interpolate", interpolate_between=ends, num_samples=3, condition_vector=30
    )
    assert "sample_002.png" in names


@pytest.mark.slow
def test_latents_are_generated_under_numbers(tmp_path):
    data = pictures(tmp_path)
    tried = Tried("ldm_cnn", tmp_path, num_inference_steps=2)
    tried.run("coder", "train_autoencoder", **data, **SMALL, ckpt_dir=str(tmp_path / "m" / "autoencoder"))
    tried.run("train", "train_diffusion", **data, condition_columns="age", **SMALL)
    assert "sample_000.png" in tried.run("used", "inference", num_samples=1, condition_vector=30)


def test_a_restoration_is_told_of_its_image_by_an_encoder_of_its_own(tmp_path):
    data = pictures(tmp_path)
    path = {"dataset_dir": data["dataset_dir"]}
    tried = Tried("sdm_unet", tmp_path, num_inference_steps=2, num_samples=2)
    encoder = {"patch_channels": 8, "channels": [8], "middle_channels": [8], "num_blocks": 1}
    more = {
        "condition_encoder": "vit",
        "network_def#backbone#conditioning#image_encoder_settings": encoder,
        "network_def#backbone#conditioning#combine": "injection",
        "network_def#backbone#conditioning#side": "both",
        "network_def#backbone#conditioning#separate_embeddings": True,
    }
    tried.run("train", "train", **path, **SMALL, **TINY, **more)
    names = tried.weights.keys()
    for side in ("context", "decoder_context"):
        assert any(name.startswith(f"backbone.conditions.{side}.encoder.encoder.encoder.patch") for name in names)
    record = json.loads((tmp_path / "m" / "network.json").read_text(encoding="utf-8"))
    assert record["network"]["backbone"]["conditioning"]["image_encoder"] == "flemme_monai.backbones.ViT"
    assert "cases.csv" in tried.run("evaluate", "train", "evaluate", **path, num_workers=0)
    assert "00_recon.png" in tried.run("used", "inference", **path)
    assert "by its key: did you mean vit?" in tried.refused("train", condition_encoder="vitt")
