"""The scale of latents is computed once and belongs to the weights."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from ignite.handlers import EMAHandler
from monai.data import Dataset
from monai.engines import SupervisedTrainer
from monai.inferers import DiffusionInferer
from torch.utils.data import DataLoader

from flemme_monai.architectures import LDM, VAE
from flemme_monai.diffusion import LatentSpace, SchedulerPrepareBatch, make_scheduler
from flemme_monai.handlers import CheckpointLoader, EpochSeed, LatentScale, TrainingCheckpoint, UpdateEMA
from tests.networks import CONDITIONING, backbone


class Run:
    """A latent diffusion training, whose images have some contrast."""

    def __init__(self, folder, contrast: float = 1.0, epochs: int = 1, resume: bool = False, arrange=list) -> None:
        torch.manual_seed(0)
        self.autoencoder = VAE(backbone("CNN", 2, 1, 1), latent_channels=2)
        self.network = LDM(backbone("CNN", 2, 2, 2, patch_size=1, strides=1, conditioning=CONDITIONING["LDM"]))
        self.space = LatentSpace(self.autoencoder, self.network)
        self.ema = EMAHandler(self.network, 0.1)
        self.images = Dataset([{"image": image} for image in contrast * torch.randn(40, 1, 16, 16)])
        optimizer, scheduler = torch.optim.Adam(self.network.parameters(), 1e-3), make_scheduler("ddpm", 50)
        trained = folder / "autoencoder" / "model.pt"
        trained.parent.mkdir(parents=True, exist_ok=True)
        torch.save({name: 2 * value for name, value in self.autoencoder.state_dict().items()}, trained)
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
        self.trainer = SupervisedTrainer(
            "cpu",
            epochs,
            DataLoader(self.images, batch_size=20),
            self.network,
            optimizer,
            torch.nn.MSELoss(),
            inferer=DiffusionInferer(scheduler),
            prepare_batch=SchedulerPrepareBatch(scheduler, latents=self.space.encode),
            train_handlers=arrange(
                [
                    EpochSeed(0),
                    TrainingCheckpoint(folder, self.network, optimizer, schedule, ema=self.ema, resume=resume),
                    UpdateEMA(self.ema),
                    CheckpointLoader(trained, self.autoencoder),
                    LatentScale(self.space, self.images, batch_size=20),
                ]
            ),
        )


def test_latents_get_unit_deviation(tmp_path):
    run = Run(tmp_path)
    assert run.network.scale_factor == 0
    run.trainer.run()
    images = torch.stack([item["image"] for item in run.images])
    assert run.space.encode(images).std().item() == pytest.approx(1, rel=0.1)


def test_the_scale_is_saved_with_the_weights_and_with_their_average(tmp_path):
    run = Run(tmp_path)
    run.trainer.run()
    factor = run.network.scale_factor
    assert factor > 0
    for name in "model.pt", "model_raw.pt":
        assert torch.load(tmp_path / name, weights_only=True)["scale_factor"] == factor
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    assert last["network"]["scale_factor"] == last["ema"]["scale_factor"] == factor
    assert run.ema.ema_model.scale_factor == factor


def test_a_resumed_run_keeps_its_own(tmp_path):
    first = Run(tmp_path)
    first.trainer.run()
    resumed = Run(tmp_path, contrast=30.0, epochs=2, resume=True)
    resumed.trainer.run()
    assert resumed.trainer.state.epoch == 2
    assert resumed.network.scale_factor == resumed.ema.ema_model.scale_factor == first.network.scale_factor


def test_its_place_among_the_handlers_changes_nothing(tmp_path):
    usual, other = Run(tmp_path / "usual"), Run(tmp_path / "other", arrange=lambda handlers: handlers[::-1])
    for run in usual, other:
        run.trainer.run()
    weights = other.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in usual.network.state_dict().items())
    first = Run(tmp_path, arrange=lambda handlers: handlers[::-1])
    first.trainer.run()
    resumed = Run(tmp_path, contrast=30.0, epochs=2, resume=True, arrange=lambda handlers: handlers[::-1])
    resumed.trainer.run()
    assert resumed.network.scale_factor == first.network.scale_factor


def test_images_without_contrast_are_refused_before_training(tmp_path):
    run = Run(tmp_path)
    run.autoencoder.encode_stage_2_inputs = lambda images: torch.ones(len(images), 2, 2, 2)
    with pytest.raises(ValueError, match=r"have a deviation of 0\.0; train the autoencoder"):
        run.trainer.run()
    assert run.trainer.state.iteration == 0


class Pixels(torch.nn.Module):
    """An autoencoder whose latents are the images."""

    latent_channels = 1

    def __init__(self) -> None:
        super().__init__()
        self.batches = []

    def encode_stage_2_inputs(self, images):
        self.batches.append(len(images))
        return images


def scale_of(images, seed=0, batch_size=100):
    denoiser = torch.nn.Module()
    denoiser.backbone = SimpleNamespace(in_channels=1)
    denoiser.register_buffer("scale_factor", torch.zeros(()))
    autoencoder = Pixels()
    LatentScale(LatentSpace(autoencoder, denoiser), Dataset(images), batch_size, seed)(None)
    return denoiser.scale_factor.item(), autoencoder.batches


def test_the_scale_is_that_of_all_classes_and_not_of_the_list_s_first():
    deviations = [0.1] * 512 + [1.0] * 512
    images = [{"image": d * torch.randn(1, 8, 8)} for d in deviations]
    factor, batches = scale_of(images)
    assert factor == pytest.approx(1.40, rel=0.05)  # 1 / sqrt((0.1² + 1²) / 2)
    assert batches == [100, 100, 100, 100, 100, 12]
    assert scale_of(images)[0] == factor
    assert scale_of(images, seed=1)[0] != factor


def test_the_scale_leaves_the_random_state_of_the_run_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    scale_of([{"image": image} for image in torch.linspace(-1, 1, 640).view(10, 1, 8, 8)])
    assert torch.equal(torch.rand(3), expected)
