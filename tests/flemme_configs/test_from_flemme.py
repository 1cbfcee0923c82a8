"""Configs in Flemme's format become bundles, or what they ask for and nobody has is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser

from flemme_monai.commands.from_flemme import main
from flemme_monai.flemme_configs import Conversion, convert, read_config
from flemme_monai.recipes import make_bundle

CONFIGS = Path(__file__).parent / "configs"
PAIRS = {
    "sem": "sem_unet",
    "hsem": "hsem_vmambau",
    "ae": "ae_vitu",
    "vae": "vae_cnn",
    "ddpm": "ddpm_swinu",
    "edm": "edm_unet",
    "sdm": "sdm_unet",
    "ldm": "ldm_cnn",
    "clm": "clm_swin",
}


def config_of(name: str) -> dict[str, Any]:
    return read_config(CONFIGS / f"{name}.yaml")


def found(name: str, **changes: Any) -> Conversion:
    """What a config is, with keys changed, whose levels are divided by two underscores."""
    config = config_of(name)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = value
    return convert(config)


def parser_of(conversion: Conversion, workflow: str = "train") -> ConfigParser:
    """A workflow's config of the bundle."""
    files = make_bundle(conversion.pair, "made", conversion.settings, conversion.of_workflows)
    parser = ConfigParser(json.loads(files[f"configs/{workflow}.json"]))
    parser["bundle_root"] = "."
    return parser


@pytest.mark.parametrize("name", PAIRS)
def test_every_config_is_a_pair_of_which_all_has_a_counterpart(name: str) -> None:
    conversion = found(name)
    assert conversion.pair == PAIRS[name]
    assert conversion.missing == []
    workflow = "train_diffusion" if name == "ldm" else "train"
    network = parser_of(conversion, workflow).get_parsed_content("network_def")
    assert type(network).__name__.lower() == name


def test_a_segmentation_has_the_originals_network_loss_and_data() -> None:
    conversion = found("sem")
    parser = parser_of(conversion)
    backbone = parser["network_def"]["backbone"]
    assert (backbone["channels"], backbone["middle_channels"], backbone["patch_channels"]) == ([16, 32], [64, 64], 16)
    family = backbone["family"]
    assert (family["block"], family["norm"], family["act"]) == ("res_conv", "rms", "swish")
    assert family["self_attention"] == [False, True, "fft"]
    assert family["decoder_self_attention"] == [False, False]
    assert family["channel_attention"] == "eca-ns"
    assert (parser["num_classes"], parser["in_channels"], parser["image_size"]) == (2, 3, [64, 96])
    assert parser["loss_terms"] == ["dice", {"loss": "ce", "weight": 0.5}]
    assert parser["dataset_dir"] == {"train": ["data/fold1", "data/fold2"], "val": ["data/fold3"]}
    assert (parser["image_folders"], parser["label_folder"], parser["resize"]) == ("pictures", "truth", True)
    assert parser["augmentation"]["flip"] == 0.25
    assert (parser["decay"], parser["decay_options"]) == ("LinearLR", {"start_factor": 1.0, "end_factor": 0.01})
    assert (parser["epochs"], parser["warmup_epochs"], parser["val_interval"], parser["seed"]) == (12, 2, 2, 7)
    assert parser["max_gradient_norm"] == 2.0
    assert parser["optimizer"]["_target_"] == "torch.optim.Adam"
    evaluate = parser_of(conversion, "evaluate")
    assert (evaluate["soft_dice"], evaluate["adjusted_rand"]) == (True, True)


def test_modalities_and_blocks_of_mamba() -> None:
    parser = parser_of(found("hsem"))
    assert parser["image_folders"] == ["flair", "t1", "t1ce", "t2"]
    assert (parser["spatial_dims"], parser["in_channels"], parser["num_classes"]) == (3, 4, 4)
    family = parser["network_def"]["backbone"]["family"]
    assert (family["block"], family["learn_initial_state"], family["head_width"]) == ("mamba2", True, 16)
    assert (family["norm"], family["num_groups"], family["mlp_ratio"], family["scan"]) == (
        "group",
        4,
        [2.0, 2.0],
        "single",
    )
    assert (parser["decay"], parser["decay_options"]) == ("ReduceLROnPlateau", {"patience": 5, "factor": 0.5})


def test_given_pairs_are_reconstructed() -> None:
    parser = parser_of(found("ae"))
    assert (parser["degradation"], parser["image_folders"], parser["label_folder"]) == ("given", "noisy", "clean")
    assert parser["loss_terms"] == ["l1"]
    assert (parser["optimizer"]["_target_"], parser["optimizer"]["momentum"]) == ("torch.optim.SGD", 0.9)
    family = parser["network_def"]["backbone"]["family"]
    assert (family["qkv_bias"], family["attention_dropout"]) == (False, 0.1)
    without = parser_of(found("ae", model__is_supervised=False))
    assert without["degradation"] == "none"


def test_guidance_and_conditions_of_a_denoiser() -> None:
    conversion = found("ddpm")
    conditioning = parser_of(conversion)["network_def"]["backbone"]["conditioning"]
    assert (conditioning["injection"], conditioning["condition_first"]) == ("cross_attention", True)
    assert conversion.settings["num_classes"] == 10
    # the original's (1 + w) cond - w uncond is uncond + (1 + w) (cond - uncond)
    inference = parser_of(conversion, "inference")
    assert conversion.settings["guidance_scale"] == 3.0
    assert (inference["num_train_timesteps"], inference["num_inference_steps"]) in (
        (500, 100),
        ("$@trained.get('num_train_timesteps', 500)", 100),
    )
    assert conversion.settings["prediction_type"] == "epsilon"
    assert parser_of(conversion)["network_def"]["fusion"] == "cat"  # of a hierarchical noise predictor


def test_steps_of_a_preconditioned_denoiser() -> None:
    conversion = found("edm")
    sampling = parser_of(conversion, "inference")["sampling"]
    assert sampling["rho"] == 5
    assert parser_of(conversion)["train"]["prepare_batch"]["mean"] == -1.0
    assert (conversion.settings["num_inference_steps"], conversion.settings["s_churn"]) == (24, 10)
    more = found("edm", model__reconstruction_losses=[{"name": "SSIM", "weight": 0.5}])
    assert parser_of(more)["loss_terms"] == ["mse", {"loss": "ssim", "weight": 0.5}]


def test_the_halves_of_a_latent_diffusion_have_settings_of_their_own() -> None:
    conversion = found("ldm")
    coder = parser_of(conversion, "train_autoencoder")["network_def"]["backbone"]
    diffusion = parser_of(conversion, "train_diffusion")
    assert coder["middle_channels"] == [8]
    assert diffusion["network_def"]["backbone"]["middle_channels"] == [96]
    assert diffusion["autoencoder_def"]["backbone"]["middle_channels"] == [8]
    assert conversion.settings["latent_channels"] == 8
    autoencoder = diffusion.get_parsed_content("autoencoder_def")
    assert autoencoder.latent_channels == 8


def test_latents_of_a_plain_autoencoder_by_edm() -> None:
    edm = {**config_of("ldm")["model"]["diffusion"], "name": "EDM", "P_mean": -1.0, "num_steps": 9}
    edm.pop("beta_schedule")
    conversion = found("ldm", model__ae_model__name="AE", model__ae_model__distribution_loss=None, model__diffusion=edm)
    assert conversion.missing == []
    diffusion = parser_of(conversion, "train_diffusion")
    assert diffusion.get_parsed_content("network_def").preconditioning.sigma_data == 1.0
    # noise is told beside the deviation of the data, which was taken for 0.5 and is 1 here
    assert diffusion["train"]["prepare_batch"]["mean"] == pytest.approx(-1.0 + math.log(2))
    assert not parser_of(conversion, "train_autoencoder").get_parsed_content("network_def").variational
    assert parser_of(conversion, "inference")["num_inference_steps"] == 9


def test_a_conditional_autoencoder_that_is_trained_together_with_the_denoiser() -> None:
    classes = {"combine_condition": "injection", "encoder": {"name": "OneHot", "out_channel": 16, "num_classes": 6}}
    conversion = found("ldm", model__freezed_ae=False, model__ae_model__condition_embedding=classes)
    assert conversion.missing == []
    assert any("train by ['train_diffusion.json','joint.json']" in note for note in conversion.notes)
    coder = parser_of(conversion, "train_autoencoder").get_parsed_content("network_def")
    assert coder.is_conditional
    assert coder.backbone.conditioning.channels == 16
    joint = parser_of(conversion, "joint")
    assert (joint["conditional_autoencoder"], joint["kl_weight"], joint["reconstruction_terms"]) == (
        True,
        1e-4,
        ["mse"],
    )
    assert joint["autoencoder_def"]["backbone"]["conditioning"]["channels"] == 16
    assert joint["autoencoder_def"]["backbone"]["channels"] == [16, 32]


def test_an_autoencoder_of_another_kind_is_named() -> None:
    assert any("is 'HAE'; expected AE or VAE" in line for line in found("ldm", model__ae_model__name="HAE").missing)


def test_supervised_diffusion_by_edm() -> None:
    edm = {**config_of("sdm")["model"]["diffusion"], "name": "EDM", "num_steps": 12, "sigma_data": 1.0}
    edm.pop("beta_schedule")
    conversion = found("sdm", model__diffusion=edm)
    assert conversion.missing == []
    parser = parser_of(conversion)
    assert (parser["noise_process"], parser["sigma_data"]) == ("edm", 1.0)
    assert parser["train"]["prepare_batch"]["mean"] == -1.2
    assert parser.get_parsed_content("network_def").preconditioning is not None


def test_supervised_diffusion_of_label_maps_is_a_segmentation() -> None:
    dataset = {"name": "ImgSegDataset", "data_dir": "images", "label_dir": "masks"}
    conversion = found("sdm", loader__dataset=dataset, loader__data_path_list=["nuclei"])
    assert (conversion.pair, conversion.missing) == ("dsem_unet", [])
    assert any("is 1, a mask; here background and foreground are two classes" in note for note in conversion.notes)
    parser = parser_of(conversion)
    assert (parser["num_classes"], parser["in_channels"], parser["image_folders"]) == (2, 1, "images")
    network = parser.get_parsed_content("network_def")
    assert type(network).__name__ == "DSeM"
    assert (network.backbone.in_channels, network.backbone.conditioning.size) == (2, 1)
    assert parser_of(conversion, "inference")["num_samples"] == 3


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sem", {"model__encoder__kernel": 3}, "model.encoder.kernel: is 3, which is no setting that is known"),
        ("sem", {"model__encoder__up_channels": [8, 8]}, "the decoder mirrors"),
        ("sem", {"model__segmentation_losses": [{"name": "EMD"}]}, "is 'EMD'; expected one of Dice"),
        ("sem", {"lr_scheduler": {"name": "LambdaLR"}}, "lr_scheduler.name: is 'LambdaLR'"),
        ("hsem", {"loader__dataset__data_combine": "mean"}, "modalities are channels here"),
        ("sem", {"loader__dataset__name": "MNIST"}, "is 'MNIST'; expected ImgSegDataset"),
        ("ddpm", {"model__reconstruction_losses": [{"name": "L1"}]}, "has losses of noise alone here"),
    ],
)
def test_what_has_no_counterpart_is_named(name: str, changes: dict[str, Any], message: str) -> None:
    assert any(message in line for line in found(name, **changes).missing)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sem", {"model__name": "Base"}, "model.name is 'Base'; expected one of SeM"),
        ("sem", {"model__encoder__name": "PointNet"}, "point clouds, graphs and vectors have no counterpart"),
        ("vae", {"model__encoder__name": "UNet"}, "its latent alone makes no image"),
        ("sem", {"mode": "test"}, "expected a config of training"),
        ("sem", {"model__encoder": None}, "model.encoder is missing"),
    ],
)
def test_what_is_no_model_of_images_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        found(name, **changes)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("model: !!python/object/apply:os.system ['true']\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is not YAML"):
        read_config(path)
    path.write_text("loader: {}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no section 'model'"):
        read_config(path)
    with pytest.raises(FileNotFoundError):
        read_config(tmp_path / "none.yaml")


def test_the_command_makes_a_bundle_or_says_what_stands_in_its_way(tmp_path: Path, capsys) -> None:
    assert main([str(CONFIGS / "sem.yaml"), str(tmp_path / "cells")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"made cells (sem_unet) in {tmp_path / 'cells'}")
    assert "otherwise: model.encoder.out_channel" in out
    assert (tmp_path / "cells" / "configs" / "inference.json").is_file()
    config = config_of("sem")
    config["model"]["encoder"]["kernel"] = 3
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(ValueError, match=r"1 of its entries have no counterpart.*--leave_out"):
        main([str(path), str(tmp_path / "other")])
    assert not (tmp_path / "other").exists()
    assert main([str(path), str(tmp_path / "other"), "--leave_out"]) == 0
    assert "left out: model.encoder.kernel" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is there and no bundle called"):
        main([str(CONFIGS / "sem.yaml"), str(tmp_path)])


def embedded(name: str, side: str = "encoder", /, **embedding: Any) -> Conversion:
    """What a config is whose condition has another embedding on a side."""
    section = config_of(name)["model"]
    place = "model__diffusion__eps_model" if "diffusion" in section else "model__eps_model"
    node = section.get("diffusion", section)["eps_model"]["condition_embedding"]
    return found(name, **{f"{place}__condition_embedding": {**node, side: embedding}})


CODER = {
    "name": "ViT",
    "patch_size": 2,
    "patch_channel": 8,
    "down_channels": [16],
    "middle_channels": [16],
    "building_block": "vit",
    "num_blocks": 1,
    "down_num_heads": 2,
    "middle_num_heads": 2,
}


def test_an_image_is_embedded_by_an_encoder_of_its_own() -> None:
    conversion = embedded("sdm", **CODER)
    assert conversion.missing == []
    assert conversion.settings["condition_encoder"] == "vit"
    network = parser_of(conversion).get_parsed_content("network_def")
    encoder = network.backbone.conditions.context.encoder
    assert encoder.encoder.latent_channels == 16
    assert encoder.strides == [4, 4]
    assert network.backbone.conditioning.side == "encoder"
    assert any("is 'CLIP'; expected OneHot" in line for line in embedded("sdm", name="CLIP").missing)
    assert any("is 3, which is no setting" in line for line in embedded("sdm", **CODER, kernel=3).missing)


def test_an_embedding_of_the_decoder_s_own() -> None:
    own = {"name": "OneHot", "out_channel": 64, "num_classes": 10}
    conversion = embedded("ddpm", "decoder", **own)
    assert conversion.missing == []
    network = parser_of(conversion).get_parsed_content("network_def")
    assert network.backbone.conditions.decoder_context is not None
    assert parser_of(found("ddpm")).get_parsed_content("network_def").backbone.conditions.decoder_context is None
    other = embedded("ddpm", "decoder", name="Time")
    assert any("embeds in another way than the encoder" in line for line in other.missing)
    both = embedded("sdm", "decoder", **CODER)
    assert any("embeds in another way than the encoder" in line for line in both.missing)


def test_a_class_of_a_segmentation_and_the_position_of_a_slice() -> None:
    embedding = {"combine_condition": "injection", "encoder": {"name": "OneHot", "out_channel": 32, "num_classes": 3}}
    conversion = found("sem", model__condition_embedding=embedding)
    assert (conversion.missing, conversion.settings["condition_classes"]) == ([], 3)
    conditioning = parser_of(conversion).get_parsed_content("network_def").backbone.conditioning
    assert (conditioning.context, conditioning.context_size, conditioning.channels) == ("class", 3, 32)
    assert conditioning.side == "encoder"
    of_slice = embedded("ddpm", name="Time", out_channel=64)
    parser = parser_of(of_slice)
    assert (of_slice.missing, parser["condition_key"]) == ([], "slice")
    assert parser.get_parsed_content("network_def").backbone.conditioning.context == "position"
    refused = found("clm", model__condition_embedding=embedding)
    assert any("OneHot embeds a condition 'class'; here it is none" in line for line in refused.missing)
