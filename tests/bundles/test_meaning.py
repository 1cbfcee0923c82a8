"""What the JSON of the bundles means: what a known prediction costs and scores, in training and in validation.

Each engine runs as the JSON has it, except that its network gives what it is given: a batch holds the prediction.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from known import Known, pair_of, parsed, train_config
from monai.data import MetaTensor

from flemme_monai.commands.places import BUNDLES
from flemme_monai.registry import ARCHITECTURES, pairs

SEGMENTATION, RECONSTRUCTION = ("sem", "hsem"), ("ae", "hae")
SCHEDULED = ("ddpm", "sdm", "dsem", "ldm")
DENOISERS = (*SCHEDULED, "edm")


def trained(architecture: str, batch: dict, answer=lambda x: x, names=("train",), **settings: Any):
    """The trainer after one step on a batch."""
    parser = parsed(architecture, *names, network=Known(answer), **settings)
    parser["train"]["handlers"] = []
    parser["train"]["dataloader"] = [batch]
    parser["epochs"] = 1
    trainer = parser.get_parsed_content("train#trainer")
    trainer.run()
    return trainer


def validated(architecture: str, batches: list, answer=lambda x: x, names=("train",), **settings: Any):
    """The metrics of a validation of batches."""
    parser = parsed(architecture, *names, network=Known(answer), **settings)
    parser["validate"]["handlers"] = []
    parser["validate"]["dataloader"] = batches
    evaluator = parser.get_parsed_content("validate#evaluator")
    evaluator.run()
    return evaluator.state.metrics


def loss_of(trainer) -> float:
    return float(trainer.state.output[0]["loss"])


# ---- every pair of an architecture means the same


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_pairs_of_an_architecture_differ_in_their_network_only(architecture):
    """What is shown below of one pair holds for all of them."""
    first = pair_of(architecture)
    for path in sorted((BUNDLES / first / "configs").glob("*.json")):
        if path.stem in ("metadata", "interpolate"):
            continue
        for pair in (pair for pair in pairs(shipped=True) if pair.startswith(f"{architecture}_")):
            own, other = (
                json.loads((BUNDLES / name / "configs" / path.name).read_text(encoding="utf-8"))
                for name in (pair, first)
            )
            for content, name in ((own, pair), (other, first)):
                content.pop("network_def", None)
                content.pop("autoencoder_def", None)
                content["bundle_root"] = str(content.get("bundle_root")).replace(name, "")
                content.pop("in_channels", None)  # MEPDNet's images are three slices
            if architecture == "sem" and "num_levels" in own.get("loss", {}):  # of a network with side outputs
                own["loss"] = own["loss"]["loss"]
            assert own == other, (pair, path.stem)


# ---- segmentation

# two cases of three classes: a quarter of the first is class 1, the lower half of the second is class 2
LABELS = torch.zeros(2, 1, 4, 4)
LABELS[0, 0, :2, :2] = 1
LABELS[1, 0, 2:] = 2


def logits(size: int, *values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 3, 1, 1).repeat(2, 1, size, size)


# softmax of (0, 0, ln 2) is (1/4, 1/4, 1/2) in each of 32 voxels, of which 4 are class 1 and 8 are class 2.
# Dice loss of the batch, background left out: 1 - 2 * (4/4) / (32/4 + 4) = 5/6 and 1 - 2 * (8/2) / (32/2 + 8) = 2/3;
# cross-entropy, all classes: (20 ln 4 + 4 ln 4 + 8 ln 2) / 32 = 1.2130. Together 0.75 + 1.2130.
SKEWED = 1.96301
# (1/3, 1/3, 1/3): 1 - 2 * (4/3) / (32/3 + 4) = 9/11 and 1 - 2 * (8/3) / (32/3 + 8) = 5/7, of mean 0.76623; and ln 3
EVEN = 1.86485


def test_the_loss_of_segmentation_is_dice_of_the_foreground_and_cross_entropy():
    batch = {"image": logits(4, 0, 0, math.log(2)), "label": LABELS}
    assert loss_of(trained("sem", batch, num_classes=3)) == pytest.approx(SKEWED, abs=1e-4)


def test_the_loss_of_a_hierarchy_is_of_the_final_output_and_the_mean_of_its_levels():
    def levels(x):
        return [x, logits(2, 0, 0, 0), logits(2, 0, 0, math.log(2)), logits(4, 0, 0, 0)]

    batch = {"image": logits(4, 0, 0, math.log(2)), "label": LABELS}
    loss = loss_of(trained("hsem", batch, levels, num_classes=3))
    assert loss == pytest.approx(SKEWED + (EVEN + SKEWED + EVEN) / 3, abs=1e-4)


# rows: background, background, class 1, class 2; in the second case class 1 alone
SHAPES = torch.tensor([0, 0, 1, 2]).view(1, 1, 4, 1).repeat(1, 1, 1, 4).float()
PARTLY = SHAPES.clone()
PARTLY[..., 1, :] = 1  # a row too many of class 1
PARTLY[..., 3, 1:] = 0  # a quarter of class 2
SWAPPED = torch.tensor([1, 2, 0, 0]).view(1, 1, 4, 1).repeat(1, 1, 1, 4).float()
NOTHING = torch.zeros_like(SHAPES)


def case(predicted: torch.Tensor, label: torch.Tensor = SHAPES) -> dict[str, torch.Tensor]:
    """A batch of one, in which the image is the prediction of three classes."""
    return {"image": torch.nn.functional.one_hot(predicted[:, 0].long(), 3).movedim(-1, 1).float(), "label": label}


# class 1: 4 of 8 voxels hit 4 of 4; class 2: 1 of 1 hits 1 of 4. Dice 2*4/(8+4), 2*1/(1+4); IoU 4/8, 1/4
SCORES = {"perfect": (SHAPES, 1, 1), "partly": (PARTLY, 8 / 15, 3 / 8)}
SCORES |= {"background only": (NOTHING, 0, 0), "wrong": (SWAPPED, 0, 0)}


@pytest.mark.parametrize("architecture", SEGMENTATION)
@pytest.mark.parametrize(("predicted", "dice", "iou"), SCORES.values(), ids=SCORES)
def test_dice_and_iou_of_the_foreground(architecture, predicted, dice, iou):
    for names in ("train",), ("train", "evaluate"):
        found = validated(architecture, [case(predicted)], names=names, num_classes=3)
        assert found["dice"] == pytest.approx(dice)
        assert found["iou"] == pytest.approx(iou)
    found = trained(architecture, case(predicted), num_classes=3, names=("train",)).state.metrics
    assert found["train_dice"] == pytest.approx(dice)


@pytest.mark.parametrize("architecture", SEGMENTATION)
def test_the_loss_of_validation_is_the_loss_of_training(architecture):
    batch = {"image": logits(4, 0, 0, math.log(2)), "label": LABELS}
    found = validated(architecture, [batch], num_classes=3)
    assert found["val_loss"] == pytest.approx(SKEWED, abs=1e-4)


@pytest.mark.parametrize("architecture", SEGMENTATION)
def test_what_an_evaluation_of_segmentation_measures(architecture):
    def found(predicted, label=SHAPES):
        return validated(architecture, [case(predicted, label)], names=("train", "evaluate"), num_classes=3)

    partly = found(PARTLY)
    assert partly["recall"] == pytest.approx((1 + 1 / 4) / 2)
    assert partly["precision"] == pytest.approx((1 / 2 + 1) / 2)
    # class 1: a row of 4 is 1 away, of 8 + 4 voxels of surface; class 2: 3 of 4 voxels are 1, 2 and 3 away, of 1 + 4
    assert partly["surface_distance"] == pytest.approx((4 / 12 + 6 / 5) / 2)
    # of 0 0 0 0 1 1 1 1, and of 0 1 2 3: 2 + 0.85
    assert partly["hausdorff95"] == pytest.approx((1 + 2.85) / 2)
    assert math.isnan(partly["absent_class_voxels"])

    perfect = found(SHAPES)
    assert [perfect[name] for name in ("recall", "precision")] == [1, 1]
    assert [perfect[name] for name in ("surface_distance", "hausdorff95")] == [0, 0]
    nothing = found(NOTHING)
    assert nothing["recall"] == 0

    first_alone = torch.where(SHAPES == 1, 1.0, 0.0)
    absent = found(SHAPES, first_alone)
    assert absent["absent_class_voxels"] == 4
    assert absent["dice"] == pytest.approx(0.5)  # class 1 is perfect; class 2 is absent and predicted
    assert found(first_alone, first_alone)["dice"] == 1
    assert found(first_alone, first_alone)["absent_class_voxels"] == 0


def test_volumes_of_absent_classes_are_in_cubic_millimetres():
    label = MetaTensor(torch.zeros(1, 1, 4, 4, 4), affine=torch.diag(torch.tensor([0.5, 1.0, 3.0, 1.0]))[None])
    found = validated(
        "sem",
        [case(torch.ones(1, 1, 4, 4, 4), label)],
        names=("train", "evaluate"),
        num_classes=3,
        spatial_dims=3,
        image_size=[4, 4, 4],
    )
    # of the two absent classes one is predicted in 64 voxels of 1.5 mm³
    assert found["absent_class_voxels"] == 32
    assert found["absent_class_mm3"] == 48


# ---- reconstruction

HALF = torch.full((1, 1, 16, 16), 0.5)
PSNR = {"perfect": (HALF, math.inf), "nothing": (0 * HALF, 6.0206), "a tenth off": (HALF + 0.1, 20)}


@pytest.mark.parametrize("architecture", RECONSTRUCTION)
@pytest.mark.parametrize(("predicted", "psnr"), PSNR.values(), ids=PSNR)
def test_psnr_of_images_of_0_to_1(architecture, predicted, psnr):
    batch = {"image": predicted, "label": HALF}
    found = validated(architecture, [batch], image_size=[16, 16])
    assert found["psnr"] == pytest.approx(psnr, abs=1e-3)
    # SSIM of constants a and b: (2ab + c) / (a² + b² + c) with c = 0.01²
    mean = predicted.mean().item()
    assert found["ssim"] == pytest.approx((mean + 1e-4) / (mean**2 + 0.25 + 1e-4), abs=1e-3)
    assert trained(architecture, batch).state.metrics["train_psnr"] == pytest.approx(psnr, abs=1e-3)
    found = validated(architecture, [batch], names=("train", "evaluate"), degradation="random", image_size=[16, 16])
    assert found["mae"] == pytest.approx((predicted - HALF).abs().mean().item(), abs=1e-6)
    assert found["zero_filled_psnr"] == pytest.approx(psnr, abs=1e-3)  # here the input is the prediction


def test_the_loss_of_reconstruction_is_the_mean_absolute_difference():
    # 0.2 off in a half, 0.6 off in the other
    off = torch.tensor([0.2, -0.6]).view(1, 1, 1, 2).repeat(1, 1, 16, 8)
    assert loss_of(trained("ae", {"image": HALF + off, "label": HALF})) == pytest.approx(0.4)


def test_the_levels_of_a_reconstruction_see_averages_of_its_target():
    board = (torch.arange(4)[:, None] + torch.arange(4)).remainder(2).float()[None, None]  # 0 1 0 1, of mean 0.5

    def levels(x):
        return [x, torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, 1, 4, 4)]

    # final 0.1; of the levels, two are the average itself, one is 0.5 off
    loss = loss_of(trained("hae", {"image": board + 0.1, "label": board}, levels))
    assert loss == pytest.approx(0.1 + (0 + 0 + 0.5) / 3)


# ---- classification


def whole(predicted: list[list[float]], labels: list[int]) -> dict[str, torch.Tensor]:
    return {"image": torch.tensor(predicted), "label": torch.tensor(labels)}


@pytest.mark.parametrize(("smoothing", "expected"), [(0.0, 1.03972), (0.1, 1.05127)])
def test_the_loss_of_classification_is_cross_entropy(smoothing, expected):
    # softmax (1/4, 1/4, 1/2): (ln 4 + ln 2) / 2; smoothed: 0.9 of it and 0.1 of the mean of ln 4, ln 4, ln 2
    batch = whole([[0, 0, math.log(2)]] * 2, [0, 2])
    assert loss_of(trained("clm", batch, num_classes=3, label_smoothing=smoothing)) == pytest.approx(expected, abs=1e-4)


# of classes 0 1 2 2: F1 of class 0, predicted always, is 2 * 1/4 * 1 / (1/4 + 1), of the others 0
CLASSES = {"perfect": ([0, 1, 2, 2], 1, 1, 1), "the first only": ([0, 0, 0, 0], 0.25, 0.4 / 3, 0.5)}
CLASSES["wrong"] = ([1, 2, 0, 0], 0, 0, None)


@pytest.mark.parametrize(("predicted", "accuracy", "f1", "auc"), CLASSES.values(), ids=CLASSES)
def test_accuracy_f1_and_auc(predicted, accuracy, f1, auc):
    batch = whole(torch.nn.functional.one_hot(torch.tensor(predicted), 3).float().tolist(), [0, 1, 2, 2])
    found = validated("clm", [batch], num_classes=3)
    assert found["accuracy"] == pytest.approx(accuracy)
    assert found["f1"] == pytest.approx(f1)
    assert auc is None or found["auc"] == pytest.approx(auc)
    assert trained("clm", batch, num_classes=3).state.metrics["train_accuracy"] == pytest.approx(accuracy)


# ---- variational auto-encoders


@pytest.mark.parametrize(
    ("architecture", "name", "kl_weight"), [("vae", "train", 0.01), ("ldm", "train_autoencoder", 1e-4)]
)
def test_the_loss_of_a_variational_auto_encoder(architecture, name, kl_weight):
    def answer(x):
        return [x + 0.5, torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 2.0)]

    # squared error 0.25; divergence of 4 latents of mean 1, deviation 2: (1 + 4 - 1 - 2 ln 2) / 2 each, over 16 values
    loss = loss_of(trained(architecture, {"image": torch.zeros(1, 1, 4, 4)}, answer, names=(name,)))
    assert loss == pytest.approx(0.25 + kl_weight * 4 / 16 * 1.306853)


@pytest.mark.parametrize(("architecture", "name"), [("vae", "train"), ("ldm", "train_autoencoder")])
@pytest.mark.parametrize(("off", "psnr"), [(0.0, math.inf), (0.2, 20), (1.0, 6.0206)])
def test_psnr_of_images_of_minus_1_to_1(architecture, name, off, psnr):
    batch = {"image": torch.zeros(1, 1, 16, 16)}
    found = validated(architecture, [batch], lambda x: x + off, (name,), image_size=[16, 16])
    assert found["psnr"] == pytest.approx(psnr, abs=1e-3)
    # SSIM of constants 0 and b: c / (b² + c) with c = (0.01 * 2)²
    assert found["ssim"] == pytest.approx(4e-4 / (off**2 + 4e-4), abs=1e-3)
    found = trained(architecture, batch, lambda x: [x + off, x, x + 1], (name,)).state.metrics
    assert found["train_psnr"] == pytest.approx(psnr, abs=1e-3)


# ---- denoisers

IMAGES = torch.linspace(-1, 1, 32).view(2, 1, 4, 4)


def denoiser_batch(architecture: str) -> dict[str, torch.Tensor]:
    labels = {"sdm": IMAGES, "dsem": (IMAGES + 1) / 2}  # restored images, label maps of a channel a class
    return {"image": IMAGES.flip(0), "label": labels[architecture]} if architecture in labels else {"image": IMAGES}


def step_of(architecture: str):
    """What validation makes of a batch: clean images, the loss's target, noise and noise levels."""
    parser = parsed(architecture, train_config(architecture))
    if architecture == "ldm":
        parser["validate"]["prepare_batch"]["latents"] = None
    images, target, _, step = parser.get_parsed_content("validate#prepare_batch")(denoiser_batch(architecture), "cpu")
    return images, target, step


def signal_share(timesteps: torch.Tensor) -> torch.Tensor:
    """alpha_bar of the cosine schedule (Nichol and Dhariwal 2021): cos² of (t / T + s) / (1 + s) of a right angle."""
    f = [math.cos(((t + 1) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in timesteps.tolist()]
    return torch.tensor(f).view(-1, 1, 1, 1) / math.cos(0.008 / 1.008 * math.pi / 2) ** 2


@pytest.mark.parametrize("architecture", ["ddpm", "ldm"])
def test_denoisers_learn_the_velocity_of_a_cosine_schedule(architecture):
    images, target, step = step_of(architecture)
    share = signal_share(step["timesteps"])
    assert torch.equal(images, IMAGES)
    torch.testing.assert_close(target, share.sqrt() * step["noise"] - (1 - share).sqrt() * IMAGES, atol=1e-3, rtol=0)


def test_supervised_diffusion_learns_the_image_in_the_scale_of_its_condition():
    images, target, step = step_of("sdm")
    mean, deviation = (f([1, 2, 3], keepdim=True) for f in (IMAGES.flip(0).mean, IMAGES.flip(0).std))
    torch.testing.assert_close(target, (IMAGES - mean) / deviation)
    assert torch.equal(images, target)
    torch.testing.assert_close(step["condition"], (IMAGES.flip(0) - mean) / deviation)


def test_segmentation_by_diffusion_learns_the_label_map_in_minus_1_to_1_under_the_image():
    images, target, step = step_of("dsem")
    torch.testing.assert_close(images, IMAGES)
    assert torch.equal(target, images)
    assert torch.equal(step["condition"], IMAGES.flip(0))


def test_edm_learns_the_image_weighted_by_its_noise():
    images, target, step = step_of("edm")
    sigma = step["sigmas"].view(-1, 1, 1, 1)
    # lambda = (sigma² + 0.5²) / (0.5 sigma)², of which the squared error sees the root
    torch.testing.assert_close(target, IMAGES * ((sigma**2 + 0.25) / (0.25 * sigma**2)).sqrt())
    assert torch.equal(images, IMAGES)


@pytest.mark.parametrize("architecture", DENOISERS)
def test_the_loss_and_the_key_metric_of_a_denoiser_are_the_squared_error(architecture):
    _, target, _ = step_of(architecture)
    settings = {"validate#prepare_batch#latents": None} if architecture == "ldm" else {}
    names = (train_config(architecture),)
    nothing = validated(architecture, [denoiser_batch(architecture)], lambda x: 0 * x, names, **settings)
    assert nothing["val_mse"] == pytest.approx(target.square().mean().item(), rel=1e-5)
    network = Known()
    network.num_levels = 0
    loss = parsed(architecture, *names, network=network).get_parsed_content("loss")
    assert loss(torch.full((1, 1, 4, 4), 0.5), torch.zeros(1, 1, 4, 4)) == 0.25
    better = parsed(architecture, *names, network=network).get_parsed_content("validate#evaluator#metric_cmp_fn")
    assert (better(0.1, 0.2), better(0.2, 0.1)) == (True, False)


# ---- intensities

CHANNELS = torch.tensor([[0.0, 2.0, 4.0, 6.0], [10.0, 10.0, 30.0, 30.0]]).view(2, 2, 2)
STANDARD = torch.tensor([[-3.0, -1.0, 1.0, 3.0], [-1.0, -1.0, 1.0, 1.0]]) / torch.tensor([[5.0**0.5], [1.0]])


@pytest.mark.parametrize("architecture", SEGMENTATION)
@pytest.mark.parametrize("loading", ["train#preprocessing#transforms#0", "validate#preprocessing"])
def test_every_channel_of_a_segmentation_has_mean_0_and_deviation_1(architecture, loading):
    parser = parsed(architecture, "train")
    parser.parse()
    listed = parser[f"{loading}#transforms"]
    (index,) = [i for i, transform in enumerate(listed) if transform["_target_"].endswith("NormalizeIntensityd")]
    found = parser.get_parsed_content(f"{loading}#transforms#{index}")({"image": CHANNELS.clone()})
    torch.testing.assert_close(torch.as_tensor(found["image"]).view(2, 4), STANDARD)
