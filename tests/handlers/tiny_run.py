"""A training that is small enough to be run many times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler
from monai.data import Dataset, MetaTensor, ThreadDataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice, ValidationHandler, from_engine
from monai.losses import DiceCELoss
from monai.transforms import AsDiscreted, Compose, RandFlipd, RandGaussianNoised, RandSpatialCropd

from flemme_monai.handlers import EarlyStop, EpochSeed, History, LearningRate, TrainingCheckpoint, UpdateEMA
from flemme_monai.inferers import WindowInferer
from flemme_monai.optim import warmup_schedule

TRAIN, VAL, BATCH = 10, 3, 4


class Run:
    """One process's training: network, engines and handlers as a bundle has them."""

    def __init__(self, folder: Path, epochs: int = 4, handlers: Callable = lambda run: [], **options: Any) -> None:
        torch.manual_seed(7)
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 6, 3, padding=1),
            torch.nn.BatchNorm2d(6),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.3),
            torch.nn.Conv2d(6, 2, 1),
        )
        augment = Compose(
            [
                RandFlipd(["image", "label"], prob=0.5),
                RandGaussianNoised("image", prob=0.5),
                RandSpatialCropd(["image", "label"], (16, 16), random_size=False),
            ]
        )
        train_loader = ThreadDataLoader(
            Dataset(discs(TRAIN, 0), augment), batch_size=BATCH, shuffle=True, num_workers=0, buffer_size=2
        )
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 2e-2)
        self.scheduler = warmup_schedule(self.optimizer, 4 * 3, 2)
        average = options.pop("ema", None)
        self.ema = None if average is None else EMAHandler(self.network, **average)
        self.evaluator = SupervisedEvaluator(
            "cpu",
            ThreadDataLoader(Dataset(options.pop("validation", discs(VAL, 1))), batch_size=1, num_workers=0),
            self.network if self.ema is None else self.ema.ema_model,
            inferer=WindowInferer([16, 16]),
            postprocessing=Compose([AsDiscreted(["pred", "label"], argmax=(True, False), to_onehot=2)]),
            key_val_metric={
                "val_mean_dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))
            },
            additional_metrics=options.pop("metrics", None),
        )
        self.history = History(folder / "out", self.evaluator)
        self.early_stop = EarlyStop(self.evaluator, options.pop("patience", 50))
        self.state = TrainingCheckpoint(
            folder / "ckpt",
            self.network,
            self.optimizer,
            self.scheduler,
            self.evaluator,
            self.ema,
            options.pop("snapshot_interval", 0),
            resume=options.pop("resume", False),
            keep_best=options.pop("keep_best", 1),
        )
        self.trainer = SupervisedTrainer(
            "cpu",
            epochs,
            train_loader,
            self.network,
            self.optimizer,
            DiceCELoss(to_onehot_y=True, softmax=True),
            train_handlers=options.pop("arrange", list)(
                [
                    EpochSeed(3),
                    LearningRate(self.scheduler),
                    ValidationHandler(options.pop("val_interval", 1), self.evaluator),
                    self.early_stop,
                    self.history,
                    *handlers(self),
                    self.state,
                    *([] if self.ema is None else [UpdateEMA(self.ema)]),
                ]
            ),
            **options,
        )

    def kill_at(self, iteration: int) -> None:
        """Raise in the middle of an epoch, as a kill would end it."""

        def kill(engine: SupervisedTrainer) -> None:
            raise KeyboardInterrupt

        self.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=iteration), kill)


def discs(count: int, seed: int) -> list[dict[str, Any]]:
    """Bright rectangles on noise, as the items of a data list."""
    random = np.random.RandomState(seed)
    items = []
    for i in range(count):
        label = np.zeros((1, 24, 20), np.float32)
        x, y = random.randint(2, 12, 2)
        label[:, x : x + 8, y : y + 8] = 1
        image = random.rand(1, 24, 20).astype(np.float32) * 0.3 + label * 0.6
        items.append({"image": MetaTensor(image), "label": MetaTensor(label), "case": f"case_{i}"})
    return items
