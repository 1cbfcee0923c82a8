"""Batches for denoisers: what is learned, under which condition, and repeatably in validation."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import DiffusionInferer

from flemme_monai.diffusion import EDMInferer, EDMPrepareBatch, SchedulerPrepareBatch, make_scheduler


def batch(size=8):
    return {
        "image": torch.rand(size, 1, 4, 4) * 2 - 1,
        "full": torch.rand(size, 1, 4, 4),
        "label": torch.arange(size) % 3,
    }


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_target_is_what_the_scheduler_predicts(prediction):
    scheduler, data = make_scheduler("ddpm", prediction_type=prediction), batch()
    images, target, args, step = SchedulerPrepareBatch(scheduler)(data)
    assert torch.equal(images, data["image"])
    assert args == ()
    assert set(step) == {"noise", "timesteps"}
    expected = {
        "epsilon": step["noise"],
        "v_prediction": scheduler.get_velocity(images, step["noise"], step["timesteps"]),
        "sample": images,
    }
    assert torch.equal(target, expected[prediction])


def test_time_steps_cover_the_whole_schedule():
    _, _, _, step = SchedulerPrepareBatch(make_scheduler("ddpm", 50))({"image": torch.zeros(5000, 1, 1)})
    assert step["timesteps"].unique().tolist() == list(range(50))


def test_sigmas_are_log_normal_and_weighted():
    prepare = EDMPrepareBatch(mean=-1.2, std=1.2, sigma_data=0.5)
    images, target, _, step = prepare({"image": torch.rand(20000, 1, 1, 1)})
    logs = step["sigmas"].log()
    assert logs.mean().item() == pytest.approx(-1.2, abs=0.05)
    assert logs.std().item() == pytest.approx(1.2, rel=0.03)
    weight = (step["sigmas"] ** 2 + 0.25) / (step["sigmas"] * 0.5) ** 2
    torch.testing.assert_close(step["scales"].flatten() ** 2, weight)
    torch.testing.assert_close(target, step["scales"] * images)


def test_higher_quantiles_have_more_noise():
    images = torch.zeros(3, 1, 2, 2)
    _, step = EDMPrepareBatch().get_step(images, images, torch.tensor([0.1, 0.5, 0.9]))
    # exp(-1.2 + 1.2 z), z = -1.2816, 0, 1.2816
    torch.testing.assert_close(step["sigmas"], torch.tensor([0.064709, 0.301194, 1.401946]), atol=1e-4, rtol=0)


def test_images_are_standardised_by_their_condition():
    condition = torch.tensor([0.2, 0.2, 0.6, 0.6]).view(1, 1, 2, 2)  # mean 0.4, deviation 0.4 / sqrt 3
    prepare = SchedulerPrepareBatch(
        make_scheduler("ddpm", prediction_type="sample"), "label", "image", standardise=True
    )
    images, target, _, step = prepare({"label": torch.full((1, 1, 2, 2), 0.8), "image": condition})
    torch.testing.assert_close(images, torch.full((1, 1, 2, 2), 3**0.5))
    assert torch.equal(target, images)
    torch.testing.assert_close(step["condition"].flatten(), torch.tensor([-1.0, -1, 1, 1]) * 3**0.5 / 2)


def prepare_batches(seed):
    return [SchedulerPrepareBatch(make_scheduler("ddpm"), seed=seed), EDMPrepareBatch(seed=seed)]


@pytest.mark.parametrize("kind", [0, 1])
def test_validation_repeats_exactly_and_training_does_not(kind):
    data = batch()

    def outcome(seed):
        images, target, _, step = prepare_batches(seed)[kind](data)
        return [images, target, *step.values()]

    assert all(torch.equal(a, b) for a, b in zip(outcome(0), outcome(0)))
    assert not torch.equal(outcome(0)[2], outcome(1)[2])
    assert not torch.equal(outcome(None)[2], outcome(None)[2])


@pytest.mark.parametrize("kind", [0, 1])
def test_what_an_image_gets_in_validation_does_not_depend_on_its_batch(kind):
    prepare, data = prepare_batches(0)[kind], batch()
    _, target, _, together = prepare(data)
    for i in (0, 5):
        _, own, _, alone = prepare({key: value[i : i + 1] for key, value in data.items()})
        assert torch.equal(own, target[i : i + 1])
        assert all(torch.equal(alone[key], together[key][i : i + 1]) for key in together)
    assert len(together["noise"].unique(dim=0)) == 8


def test_validation_sees_all_noise_levels():
    denoising, sigma = prepare_batches(0)
    data = batch(2000)
    timesteps = denoising(data)[3]["timesteps"].double()
    assert timesteps.mean().item() == pytest.approx(500, rel=0.05)
    assert timesteps.std().item() == pytest.approx(289, rel=0.05)
    logs = sigma(data)[3]["sigmas"].log()
    assert logs.mean().item() == pytest.approx(-1.2, abs=0.1)
    assert logs.std().item() == pytest.approx(1.2, rel=0.05)


@pytest.mark.parametrize("kind", [0, 1])
def test_keys_say_what_is_learned_and_under_what(kind):
    data = batch()
    cls = [lambda **kw: SchedulerPrepareBatch(make_scheduler("ddpm"), **kw), EDMPrepareBatch][kind]
    images, _, _, step = cls(image_key="full", condition_key="image", rescale=True)(data)
    torch.testing.assert_close(images, data["full"] * 2 - 1)
    assert torch.equal(step["condition"], data["image"])  # a condition keeps its range
    assert torch.equal(cls(condition_key="label")(data)[3]["condition"], data["label"])
    with pytest.raises(ValueError, match="no 'class', only 'image', 'full', 'label'"):
        cls(condition_key="class")(data)


def test_latents_are_learned_in_place_of_images():
    layer, data = torch.nn.Conv2d(1, 3, 2, 2), batch()
    images, target, _, step = SchedulerPrepareBatch(make_scheduler("ddpm"), latents=lambda x, condition: layer(x))(data)
    assert images.shape == target.shape == step["noise"].shape == (8, 3, 2, 2)
    assert not images.requires_grad


def test_images_with_meta_data_become_plain_tensors():
    images, target, _, step = EDMPrepareBatch(condition_key="image")({"image": MetaTensor(torch.rand(2, 1, 4, 4))})
    assert not any(isinstance(x, MetaTensor) for x in (images, target, *step.values()))


def levels(x, timesteps, context=None):
    """A hierarchical denoiser in training."""
    return [x, x[..., ::2, ::2]]


def test_a_hierarchical_denoiser_trains_with_monai_s_inferer_and_with_ours():
    scheduler, data = make_scheduler("ddpm"), batch()
    images, _, args, step = SchedulerPrepareBatch(scheduler, condition_key="label")(data)
    final, level = DiffusionInferer(scheduler)(images, levels, *args, **step)
    assert torch.equal(final, scheduler.add_noise(images, step["noise"], step["timesteps"]))
    assert level.shape == (8, 1, 2, 2)

    images, _, args, step = EDMPrepareBatch(condition_key="label")(data)
    final, level = EDMInferer()(images, levels, *args, **step)
    noisy = images + step["sigmas"].view(-1, 1, 1, 1) * step["noise"]
    torch.testing.assert_close(final, step["scales"] * noisy)
    torch.testing.assert_close(level, (step["scales"] * noisy)[..., ::2, ::2])
