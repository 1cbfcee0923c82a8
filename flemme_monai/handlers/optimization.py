"""Handlers of a trainer's steps: random state, bounds, schedules and averages."""

from __future__ import annotations

import logging
import math
import random

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from monai.data import Dataset
from monai.data.utils import set_rnd
from monai.engines import SupervisedTrainer, Workflow
from monai.handlers import LrScheduleHandler
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Subset

from ..diffusion import LatentSpace
from ..losses import VAELoss
from ..named_schedules import NamedSchedule
from ..optim import WarmupLR
from .events import before_epochs

NUM_IMAGES = 512
_logger = logging.getLogger(__name__)


class EpochSeed:
    """Seeds all random state at the start of each epoch, so that a resumed run draws what an uninterrupted one does.

    MONAI's ``set_determinism`` seeds a process once; Ignite's ``DeterministicEngine`` is another class of engine, which
    ``MonaiAlgo`` does not take. It seeds Python, NumPy and PyTorch (dropout), the loader's generator (order) and the
    random transforms of the loader's dataset. Persistent worker processes keep a random state of their own and are out
    of its reach.

    Args:
        seed: the run's seed; epochs and ranks get different numbers from it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Workflow) -> None:
        """Seed at the start of each epoch of ``engine``, the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Workflow) -> None:
        sequence = np.random.SeedSequence([self.seed, engine.state.epoch, engine.state.rank])
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        loader = engine.data_loader
        assert isinstance(loader, DataLoader), "expected a DataLoader, whose order and dataset can be seeded"
        if loader.generator is not None:
            loader.generator.manual_seed(seed)
        set_rnd(loader.dataset, seed)


class ClipGradients:
    """Scales the gradient down to ``max_norm`` just before each step of the optimizer, which no trainer of MONAI does.

    It sits in the optimizer's step and not in the engine's events, so it sees the sum of accumulated gradients, and
    with mixed precision the gradients that ``GradScaler`` has already unscaled.

    Args:
        max_norm: the largest 2-norm of the gradient of all parameters together.

    Raises:
        ValueError: If ``max_norm`` is not above 0.
    """

    def __init__(self, max_norm: float) -> None:
        if max_norm <= 0:
            raise ValueError(f"max_norm is {max_norm}; expected a number above 0")
        self.max_norm = max_norm
        self._hooked = False

    def attach(self, engine: Workflow) -> None:
        """Clip in each step of the trainer's optimizer."""
        engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: SupervisedTrainer) -> None:
        if not self._hooked:
            self._hooked = True
            engine.optimizer.register_step_pre_hook(self._clip)

    def _clip(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        # a fused optimizer unscales inside its step and is handed the scale
        scale = getattr(optimizer, "grad_scale", None)
        limit = self.max_norm if scale is None else self.max_norm * float(scale)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, limit)


class LearningRate(LrScheduleHandler):
    """MONAI's ``LrScheduleHandler``, stepped after each iteration; a :class:`WarmupLR` ends where the trainer does.

    Clients of a bundle train it for another number of epochs than its ``epochs``. The first run of a trainer follows
    the trainer's own maximum. Further runs are rounds, as those of federated learning, whose number is not known:
    they go along the schedule as it was made, and past its end stay at its floor. Both are logged.

    Args:
        lr_scheduler: any schedule that is stepped once per batch.
        evaluator: its key metric is that of a schedule which waits for a plateau.
    """

    def __init__(self, lr_scheduler: LRScheduler | NamedSchedule, evaluator: Workflow | None = None) -> None:
        super().__init__(
            lr_scheduler,  # type: ignore[arg-type]  # MONAI names the private class that PyTorch's schedules had
            print_lr=False,
            epoch_level=False,
        )
        self.planned_steps = getattr(lr_scheduler, "total_steps", 0)
        self.evaluator = evaluator
        self._runs = 0

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``, the trainer."""
        super().attach(engine)
        if isinstance(self.lr_scheduler, WarmupLR):
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.EPOCH_STARTED, self._follow, self.lr_scheduler)
        if isinstance(self.lr_scheduler, NamedSchedule) and self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._validated, self.lr_scheduler)

    def _validated(self, evaluator: Workflow, schedule: NamedSchedule) -> None:
        name = evaluator.state.key_metric_name
        if name is not None and not math.isnan(value := float(evaluator.state.metrics[name])):
            schedule.validated(value, better=evaluator.metric_cmp_fn(1.0, 0.0))

    def _start(self, engine: Workflow) -> None:
        self._runs += 1
        self._logged = False

    def _follow(self, engine: Workflow, schedule: WarmupLR) -> None:
        # at an epoch's start, when a run that is taken up again has its state
        epochs, length = engine.state.max_epochs, engine.state.epoch_length
        as_planned = self._runs > 1 or -(-self.planned_steps // length) == epochs  # the last epoch may be cut short
        schedule.stretch(self.planned_steps if as_planned else epochs * length)
        total = schedule.total_steps
        if self._logged or idist.get_rank() != 0:
            return
        if schedule.last_epoch >= total:
            self._logged = True
            rate = schedule.get_last_lr()[0]
            _logger.info("the learning rate stays at %.3g after the %d epochs of its schedule", rate, total // length)
        elif total != self.planned_steps:
            self._logged = True
            _logger.info("the learning rate follows the trainer's %d epochs", epochs)


class StopAfterSteps:
    """Ends the epoch in which a number of batches is reached; the run's last epoch is then that one.

    Ignite's ``TerminateOnNan`` and ``TimeLimit`` end a run without the rest of the epoch's handlers, which write what
    it has reached.

    Args:
        max_steps: batches in all; None for no end but that of the epochs.
    """

    def __init__(self, max_steps: int | None) -> None:
        self.max_steps = max_steps

    def attach(self, engine: Workflow) -> None:
        """Watch ``engine``, the trainer."""
        if self.max_steps is not None:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        if engine.state.iteration == self.max_steps:
            engine.terminate_epoch()


class UpdateEMA:
    """Moves Ignite's ``EMAHandler`` once per step of the optimizer, where its own ``attach`` does once per batch.

    Its warm-up counts the same steps. Which one comes next follows from the trainer's epoch, also after a resume.

    Args:
        ema: the average of the weights.
    """

    def __init__(self, ema: EMAHandler) -> None:
        self.ema = ema

    def attach(self, engine: Workflow) -> None:
        """Follow the optimizer of ``engine``, a MONAI trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._count)
        self.ema.attach(engine, event=Events.ITERATION_COMPLETED(event_filter=_has_stepped))

    def _count(self, engine: SupervisedTrainer) -> None:
        warmup = getattr(self.ema, "momentum_scheduler", None)
        if warmup is not None:
            steps = -(-engine.state.epoch_length // engine.accumulation_steps)  # per epoch
            warmup.event_index = (engine.state.epoch - 1) * steps


def _has_stepped(engine: SupervisedTrainer, event: int) -> bool:
    """Whether the optimizer makes a step in iteration ``event``; MONAI's trainer makes one at an epoch's end too."""
    batch = (event - 1) % engine.state.epoch_length + 1
    return batch % engine.accumulation_steps == 0 or batch == engine.state.epoch_length


class KLWarmup:
    """Raises the weight of a VAE's divergence linearly from 0 to the loss's own (Bowman et al. 2016).

    MONAI's ``ParamSchedulerHandler`` counts iterations, and how many an epoch has is known to the engine alone. The
    weight is a function of the iteration, so that a resumed run goes on as an uninterrupted one.

    Args:
        loss: its ``kl_weight`` is reached.
        epochs: epochs that it takes; 0 for none.

    Raises:
        ValueError: If the number of epochs is negative.
    """

    def __init__(self, loss: VAELoss, epochs: float) -> None:
        if epochs < 0:
            raise ValueError(f"kl_warmup_epochs is {epochs}; expected 0 or more")
        self.loss, self.epochs = loss, epochs
        self.weight = loss.kl_weight

    def attach(self, engine: Workflow) -> None:
        """Follow ``engine``, the trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Workflow) -> None:
        done = (engine.state.iteration - 1) / engine.state.epoch_length
        self.loss.kl_weight = self.weight * (min(done / self.epochs, 1.0) if self.epochs else 1.0)


class LatentScale:
    """Computes a latent diffusion's scale factor from up to 512 training images; a resumed run keeps its own.

    MONAI's ``LatentDiffusionInferer`` takes the factor as a number. The images are drawn from the whole of the set, for
    a list's first may be of one class; of several processes those of the first count. Whatever its place among the
    trainer's handlers, it comes after those that load the autoencoder or resume the run.

    Args:
        latent_space: its denoiser keeps the factor.
        dataset: training images.
        batch_size: images that are encoded at a time.
        seed: of the images that are drawn, their random transforms and their latents.
        condition_key: of an item's context, of an autoencoder that takes one; None: not used.
    """

    def __init__(
        self,
        latent_space: LatentSpace,
        dataset: Dataset,
        batch_size: int,
        seed: int = 0,
        condition_key: str | None = None,
    ) -> None:
        self.latent_space, self.dataset, self.batch_size, self.seed = latent_space, dataset, batch_size, seed
        self.condition_key = condition_key

    def attach(self, engine: Workflow) -> None:
        """Compute before the first epoch of ``engine``, the trainer."""
        before_epochs(engine, self)

    def __call__(self, engine: Workflow) -> None:
        if self.latent_space.scale_factor != 0:
            return
        set_rnd(self.dataset, self.seed)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            drawn = torch.randperm(len(self.dataset))[:NUM_IMAGES].tolist()
            images = DataLoader(Subset(self.dataset, drawn), self.batch_size)
            self.latent_space.fit_scale(images, self.condition_key)
        if idist.get_world_size() > 1:  # each process has images of its own
            torch.distributed.broadcast(self.latent_space.scale_factor, 0)
        if idist.get_rank() == 0:
            _logger.info("latents are multiplied by %.4f", float(self.latent_space.scale_factor))
