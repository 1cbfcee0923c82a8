"""Evaluation and inference take from the weights' record what the user leaves out, and refuse what contradicts it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from image_files import random_picture, write_picture
from monai.bundle import ConfigParser, ckpt_export, load, run
from refusal import refused

from flemme_monai.commands.bundle_files import trainings, workflows
from flemme_monai.recipes import make_bundle, write
from flemme_monai.utils.network_config import config_of
from flemme_monai.utils.record import RECORD, make_record, write_record

TINY = {
    "network_def#backbone#patch_channels": 8,
    "network_def#backbone#channels": [8, 8],
    "network_def#backbone#middle_channels": [8],
}
OWN: dict[str, dict[str, Any]] = {  # of training alone
    "sem_unet": {"num_classes": 2, "image_size": 32, "network_def#backbone#family#norm": "group"},
    "hae_unet": {"degradation": "random", "acceleration": 8, "image_size": [32, 32], "network_def#fusion": "add"},
    "clm_cnn": {"num_classes": 3, "image_size": 24, "intensity_range": [0, 255], "network_def#hidden": [16]},
    "vae_cnn": {"latent_size": 16, "num_classes": 2, "image_size": [16, 16]},
    "ddpm_unet": {
        "num_classes": 2,
        "schedule": "linear_beta",
        "prediction_type": "epsilon",
        "num_train_timesteps": 500,
        "network_def#backbone#family#self_attention": False,
    },
    "edm_unet": {
        "sigma_data": 0.3,
        "intensity_range": [0, 255],
        "network_def#backbone#family#self_attention": False,
        "network_def#backbone#conditioning#context": "position",
        "network_def#backbone#conditioning#context_size": 1,
    },
    "sdm_cnn": {
        "schedule": "sigmoid_beta",
        "degradation": "random",
        "network_def#backbone#family#self_attention": False,
    },
    "ldm_cnn": {"latent_channels": 3, "num_classes": 2, "network_def#backbone#family#self_attention": False},
}


def parser_of(bundle: Path, *names: str, **settings: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in names])
    parser.update({"bundle_root": str(bundle), "num_workers": 0, **settings})
    return parser


def trained(pair: str, folder: Path) -> Path:
    """A bundle with random weights of networks of its own, and the records that its trainings write."""
    bundle = folder / pair
    write(bundle, make_bundle(pair))
    for name in trainings(bundle):
        settings = {
            key: value
            for key, value in {**TINY, **OWN[pair]}.items()
            if name != "train_autoencoder" or "self_attention" not in key
        }
        parser = parser_of(bundle, name, **settings)
        network = parser.get_parsed_content("network_def")
        ckpt_dir = Path(parser.get_parsed_content("ckpt_dir"))
        ckpt_dir.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), ckpt_dir / "model.pt")
        write_record(ckpt_dir, make_record(network, parser.get_parsed_content("network_settings")))
    return bundle


@pytest.mark.parametrize("pair", OWN)
def test_what_is_not_set_is_what_training_had(pair: str, tmp_path: Path) -> None:
    bundle = trained(pair, tmp_path)
    record = json.loads((bundle / "models" / RECORD).read_text(encoding="utf-8"))
    for names in (workflows(bundle)["evaluate"], ("inference",)):
        parser = parser_of(bundle, *names)
        own = {key: value for key, value in OWN[pair].items() if "#" not in key and key in parser}
        assert {key: parser.get_parsed_content(key) for key in own} == own
        settings = parser.get_parsed_content("network_settings")
        assert {key: record["settings"][key] for key in settings} == settings
        assert config_of(parser.get_parsed_content("network")) == record["network"]
        if "autoencoder_def" in parser:
            autoencoder = json.loads((bundle / "models" / "autoencoder" / RECORD).read_text(encoding="utf-8"))
            assert config_of(parser.get_parsed_content("autoencoder")) == autoencoder["network"]
            assert config_of(parser.get_parsed_content("latent_space").denoiser) == record["network"]


CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("sem_unet", {"num_classes": 5}, "num_classes is 5 here and 2 in "),
    ("sem_unet", {"spatial_dims": 3}, "spatial_dims is 3 here and 2 in "),
    (
        "sem_unet",
        {"network_def#backbone#channels": [16, 8]},
        "network_def#backbone#channels is [16, 8] here and [8, 8] in ",
    ),
    (
        "sem_unet",
        {"network_def#backbone#final_channels": [8]},
        "network_def#backbone#final_channels is [8] here and [] in ",
    ),
    ("clm_cnn", {"intensity_range": [0, 1]}, "intensity_range is [0, 1] here and [0, 255] in "),
    ("clm_cnn", {"network_def#hidden": [8]}, "network_def#hidden is [8] here and [16] in "),
    ("hae_unet", {"degradation": "none"}, "network_def#residual is False here and True in "),
    ("vae_cnn", {"image_size": [32, 32]}, "network_def#image_size is [32, 32] here and [16, 16] in "),
    ("ddpm_unet", {"schedule": "cosine"}, "schedule is 'cosine' here and 'linear_beta' in "),
    ("ddpm_unet", {"prediction_type": "sample"}, "prediction_type is 'sample' here and 'epsilon' in "),
    ("edm_unet", {"sigma_data": 0.5}, "sigma_data is 0.5 here and 0.3 in "),
    (
        "ldm_cnn",
        {"autoencoder_def#backbone#channels": [16, 16]},
        "autoencoder_def#backbone#channels is [16, 16] here and [8, 8] in ",
    ),
]


@pytest.mark.parametrize("workflow", ["inference", "evaluate"])
@pytest.mark.parametrize(
    ("pair", "settings", "words"), CONTRADICTIONS, ids=[f"{c[0]}-{min(c[1])}" for c in CONTRADICTIONS]
)
def test_what_contradicts_is_refused_by_name(
    pair: str, settings: dict[str, Any], words: str, workflow: str, tmp_path: Path
) -> None:
    bundle = trained(pair, tmp_path)
    line = refused(bundle, workflow, {"output_dir": tmp_path / "out"}, bundle_root=str(bundle), **settings)
    assert line.startswith(f"ValueError: {words}{bundle / 'models'}"), line
    assert line.endswith("set it as there or leave it out, or name the folder of other weights")


def test_the_same_value_again_is_no_contradiction(tmp_path: Path) -> None:
    bundle = trained("sem_unet", tmp_path)
    parser = parser_of(bundle, "inference", **OWN["sem_unet"], **TINY)
    assert parser.get_parsed_content("network") is parser.get_parsed_content("network_def")


def test_windows_and_masks_are_free(tmp_path: Path) -> None:
    bundle = trained("hae_unet", tmp_path)
    settings = {"image_size": [64, 64], "degradation": "equispaced", "acceleration": 4}
    parser = parser_of(bundle, "train", "evaluate", **settings)
    parser.get_parsed_content("initialize")
    assert parser.get_parsed_content("validate#inferer").roi_size == (64, 64)
    assert parser.get_parsed_content("network").residual is not None


def test_training_takes_nothing_from_an_earlier_run(tmp_path: Path) -> None:
    bundle = trained("sem_unet", tmp_path)
    parser = parser_of(bundle, "train")
    assert parser.get_parsed_content("num_classes") == 4
    assert parser.get_parsed_content("network").backbone.out_channels == 4


def test_without_a_record_the_json_alone_is_used(tmp_path: Path) -> None:
    bundle = trained("sem_unet", tmp_path)
    (bundle / "models" / RECORD).unlink()
    parser = parser_of(bundle, "inference")
    assert (parser.get_parsed_content("num_classes"), parser.get_parsed_content("image_size")) == (4, [64, 64])
    assert parser.get_parsed_content("network") is parser.get_parsed_content("network_def")
    line = refused(bundle, "inference", {"output_dir": tmp_path / "out"}, bundle_root=str(bundle))
    assert "model.pt does not fit the network" in line


@pytest.mark.parametrize("workflow", ["inference", "evaluate"])
def test_a_damaged_record_is_named(workflow: str, tmp_path: Path) -> None:
    bundle = trained("sem_unet", tmp_path)
    (bundle / "models" / RECORD).write_text("{", encoding="utf-8")
    line = refused(bundle, workflow, {"output_dir": tmp_path / "out"}, bundle_root=str(bundle))
    assert line.startswith(f"ValueError: {bundle / 'models' / RECORD} is no JSON")


def test_a_record_sets_nothing_but_the_settings_that_training_keeps(tmp_path: Path) -> None:
    """A hostile one names a function as the class of the network, or as a value of the bundle's own config."""
    bundle = trained("sem_unet", tmp_path)
    record = json.loads((bundle / "models" / RECORD).read_text(encoding="utf-8"))
    record["settings"] |= {"network_def#_target_": "os.makedirs", "network_def#name": str(tmp_path / "hostile")}
    write_record(bundle / "models", record)
    network = parser_of(bundle, "inference").get_parsed_content("network")
    assert config_of(network) == record["network"]
    assert not (tmp_path / "hostile").exists()


def test_an_autoencoder_of_other_latents_is_named_in_the_second_training(tmp_path: Path) -> None:
    bundle = trained("ldm_cnn", tmp_path)
    line = refused(bundle, "train_diffusion", {"output_dir": tmp_path / "out"}, bundle_root=str(bundle), num_workers=0)
    assert line.startswith("ValueError: autoencoder_def#latent_channels is 4 here and 3 in ")


def test_a_classifier_gives_its_own_network(tmp_path: Path) -> None:
    classifier, bundle = trained("clm_cnn", tmp_path), trained("edm_unet", tmp_path)
    settings = {"classifier_path": str(classifier / "models" / "model.pt")}
    parser = parser_of(bundle, "train", "evaluate", **settings)
    record = json.loads((classifier / "models" / RECORD).read_text(encoding="utf-8"))
    assert parser.get_parsed_content("classifier_classes") == 3
    assert config_of(parser.get_parsed_content("classifier")) == record["network"]
    others = {
        "classifier_classes": (5, "num_classes is 5 here and 3 in "),
        "intensity_range": (None, "is None here and [0"),
    }
    for name, (value, message) in others.items():
        with pytest.raises(Exception) as error:  # noqa: PT011
            parser_of(bundle, "train", "evaluate", **{name: value}, **settings).get_parsed_content("classifier")
        assert message in str(error.value.__cause__ or error.value)


def test_clients_have_the_network_of_a_bundles_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a bundle made with its settings; `network` is the key of the recorded network for `ckpt_export`."""
    write(tmp_path / "sem_unet", make_bundle("sem_unet", settings=TINY))
    parser = parser_of(tmp_path / "sem_unet", "train", num_classes=2)
    network = parser.get_parsed_content("network_def")
    (tmp_path / "sem_unet" / "models").mkdir()
    torch.save(network.state_dict(), tmp_path / "sem_unet" / "models" / "model.pt")
    write_record(tmp_path / "sem_unet" / "models", make_record(network, parser.get_parsed_content("network_settings")))
    monkeypatch.chdir(tmp_path)
    loaded = load("sem_unet", bundle_dir=tmp_path, workflow_type="inference", device="cpu").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items())
    configs = tmp_path / "sem_unet" / "configs"
    ckpt_export(
        net_id="network",
        filepath=str(tmp_path / "exported.ts"),
        ckpt_file=str(tmp_path / "sem_unet" / "models" / "model.pt"),
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        bundle_root=str(tmp_path / "sem_unet"),
        device="cpu",
    )
    x = torch.rand(1, 1, 32, 32)
    scripted = torch.jit.load(tmp_path / "exported.ts").eval()
    torch.testing.assert_close(scripted(x), network.eval()(x), rtol=1e-4, atol=1e-5)


def test_three_commands_of_which_two_name_the_data_alone(tmp_path: Path) -> None:
    for k in range(10):
        picture = random_picture(k, (36, 40))
        write_picture(tmp_path / "set" / "images" / f"{k}.png", picture)
        write_picture(tmp_path / "set" / "masks" / f"{k}.png", picture // 128)
    bundle = tmp_path / "sem_unet"
    write(bundle, make_bundle("sem_unet"))
    data = {"dataset_dir": str(tmp_path / "set"), "bundle_root": str(bundle)}
    short = {"epochs": 1, "num_workers": 0, **OWN["sem_unet"], **TINY}
    for names, settings in ((("train",), short), (("train", "evaluate"), {}), (("inference",), {})):
        run(config_file=[str(bundle / "configs" / f"{name}.json") for name in names], **data, **settings)
    assert sorted(os.listdir(bundle / "models")) == ["last.pt", "model.pt", RECORD, "split.json"]
    assert (bundle / "output" / "evaluate" / "summary.csv").is_file()
    assert len(list((bundle / "output" / "inference").glob("*_seg.png"))) == 10
    line = refused(
        bundle, "train", {"output_dir": tmp_path / "out"}, **data, **{**short, "num_classes": 3}, resume=True
    )
    assert line.startswith(f"ValueError: num_classes is 3 here and 2 in {bundle / 'models' / 'last.pt'}; network_def#")
