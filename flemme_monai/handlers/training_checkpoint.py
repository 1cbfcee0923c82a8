"""Save a run after each epoch, take it up again, and load what it has trained."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler
from monai.engines import IterationEvents, Workflow

from ..data.split_record import save_split, settle_split
from ..finetune import keep_weights
from ..inferers import Ensemble
from ..utils import atomic_write, load_weights, unwrap_model, user_path
from ..utils.files import each_path, write_through
from ..utils.record import (
    check_record,
    checked_record,
    make_record,
    read_record,
    record_path,
    write_record,
)
from ..utils.weights import BEST, LAST, check_fit
from .events import EpochEnd, at_epoch_end, hold_while_running
from .model_selection import EarlyStop
from .saved_run import EMA, check_frozen, check_optimizer, frozen_names, read_run

if TYPE_CHECKING:
    from torch.distributed.checkpoint.stateful import Stateful

RAW = "model_raw.pt"
KEPT = "model_best_{:04d}.pt"
_logger = logging.getLogger(__name__)


class TrainingCheckpoint:
    """Keeps ``model.pt`` (the unwrapped network at its best validation) and ``last.pt`` (all a run needs to go on).

    MONAI's ``CheckpointSaver`` numbers its files, knows nothing of what weights mean, and saves at its place in the
    list of handlers, before or after others have changed what it saves; its ``CheckpointLoader`` restores no best
    metric of the evaluator and compares no settings.

    What the weights mean, the network and the settings, is kept beside ``model.pt`` as ``network.json``.
    ``split.json``, written when a run starts, holds the cases of its split, see ``data.split_record``. Where an
    average of the weights is kept, ``model.pt`` holds it and ``model_raw.pt`` the network's own weights.

    Files are replaced in one step, so a kill leaves the previous ones whole. A loss that is not finite stops the run
    before it reaches the weights. Random state is not saved: ``EpochSeed`` makes it a function of the epoch. Whatever
    its place among the trainer's handlers, it saves after the others. It saves and resumes the history and the counter
    of the early stop too, which it finds in the trainer's state.

    Args:
        ckpt_dir: folder of both files.
        network: the network, wrapped or not.
        optimizer: its optimizer.
        lr_scheduler: its learning rate schedule.
        evaluator: its key metric chooses the best; without one ``model.pt`` is written at the end of the run.
        ema: average of the network's weights, which is what ``evaluator`` evaluates.
        snapshot_interval: epochs after which ``model.pt`` is also kept as ``model_epoch_<epoch>.pt``; 0 keeps none.
        resume: start from ``last.pt``.
        settings: settings by name that give the weights their meaning; a run under others is not resumed.
        keep_best: weights of that many of the best validations are kept as ``model_best_<epoch>.pt`` too; 1 keeps
            ``model.pt`` alone.

    Raises:
        ValueError: If ``resume`` is set and there is no ``last.pt``.
    """

    def __init__(
        self,
        ckpt_dir: str | os.PathLike,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler,
        evaluator: Workflow | None = None,
        ema: EMAHandler | None = None,
        snapshot_interval: int = 0,
        resume: bool = False,
        settings: Mapping[str, Any] | None = None,
        keep_best: int = 1,
    ) -> None:
        self.folder = user_path(ckpt_dir)
        self.keep_best = keep_best
        self._kept: dict[int, float] = {}  # the key metric of the validations whose weights are kept, by epoch
        self.network = network
        self.settings = settings or {}
        self.ema = ema
        self.snapshot_interval = snapshot_interval
        self.evaluator = evaluator
        self.parts: dict[str, Stateful] = {"optimizer": optimizer, "lr_scheduler": lr_scheduler}
        self.resume = resume
        self.saved_epoch = 0
        if resume and not (self.folder / LAST).is_file():
            raise ValueError(f"resume found no {self.folder / LAST}: train without resume first, or name its ckpt_dir")

    def attach(self, engine: Workflow) -> None:
        """Save and resume ``engine``, the trainer."""
        hold_while_running(engine, self.folder)
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._check_loss)
        at_epoch_end(engine, EpochEnd.SAVE, self._save)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Workflow) -> None:
        found = {name: getattr(engine.state, name, None) for name in ("history", "early_stop")}
        self.parts |= {name: part for name, part in found.items() if part is not None}
        if idist.get_rank() == 0 and not self.resume:
            keep_weights(self.folder)
            save_split(engine.data_loader, self.folder)
        if self.resume:
            self._load(engine)

    def _check_loss(self, engine: Workflow) -> None:
        loss = engine.state.output["loss"]
        if torch.isfinite(loss):
            return
        epoch, iteration = engine.state.epoch, (engine.state.iteration - 1) % engine.state.epoch_length + 1
        good = f"{self.folder / LAST} (epoch {self.saved_epoch})" if self.saved_epoch else "none yet"
        raise ValueError(
            f"training loss is {loss.item()} at epoch {epoch}, iteration {iteration}; "
            f"last good checkpoint: {good}; lower learning_rate or switch amp off"
        )

    def _save(self, engine: Workflow) -> None:
        best = self._best()
        is_best, is_first = best["best_metric_epoch"] == engine.state.epoch, not (self.folder / LAST).exists()
        if is_best:
            if not is_first:
                self._write_best()
            if self.evaluator is not None and math.isnan(best["best_metric"]):  # nothing compares as better than NaN
                self.evaluator.state.best_metric_epoch = -1
                best = self._best()
        self._keep_best(engine)
        if self.snapshot_interval and engine.state.epoch % self.snapshot_interval == 0:
            self._write(f"model_epoch_{engine.state.epoch:04d}.pt", self._evaluated().state_dict())
        state: dict[str, Any] = {name: part.state_dict() for name, part in self.parts.items()}
        state["network"] = unwrap_model(self.network).state_dict()
        if self.ema is not None:
            state[EMA] = self.ema.ema_model.state_dict()
        state["frozen"] = {"names": frozen_names(self.network)}
        state["trainer"] = {"epoch": engine.state.epoch, "kept": self._kept} | best
        state["record"] = make_record(self.network, self.settings)
        if engine.scaler is not None:
            state["scaler"] = engine.scaler.state_dict()
        self._write(LAST, state)
        if is_best and is_first:  # weights without a last.pt would be taken for those that the bundle came with
            self._write_best()
        self.saved_epoch = engine.state.epoch

    def _keep_best(self, engine: Workflow) -> None:
        """Keep this epoch's weights if they are among the best, in place of the worst that are kept."""
        if self.keep_best < 2 or self.evaluator is None or self.evaluator.state.epoch != engine.state.epoch:
            return
        name, better = self.evaluator.state.key_metric_name, self.evaluator.metric_cmp_fn
        value = math.nan if name is None else float(self.evaluator.state.metrics[name])
        if math.isnan(value):
            return
        sign = 1 if better(1.0, 0.0) else -1
        worst = min(self._kept, key=lambda epoch: sign * self._kept[epoch], default=0)
        full = len(self._kept) >= self.keep_best
        if full and not better(value, self._kept[worst]):
            return
        self._write(KEPT.format(engine.state.epoch), self._evaluated().state_dict())
        self._kept[engine.state.epoch] = value
        if full:
            del self._kept[worst]
            if idist.get_rank() == 0:
                (self.folder / KEPT.format(worst)).unlink(missing_ok=True)

    def _best(self) -> dict[str, Any]:
        if self.evaluator is None:
            return {"best_metric": -1.0, "best_metric_epoch": -1}
        state = self.evaluator.state
        return {"best_metric": float(state.best_metric), "best_metric_epoch": int(state.best_metric_epoch)}

    def _evaluated(self) -> torch.nn.Module:
        """The network, or the average of its weights where one is kept."""
        return unwrap_model(self.network) if self.ema is None else self.ema.ema_model

    def _write_best(self) -> None:
        self._write(BEST, self._evaluated().state_dict())
        if idist.get_rank() == 0:
            settle_split(self.folder)
        if self.ema is not None:
            self._write(RAW, unwrap_model(self.network).state_dict())

    def _write(self, name: str, state: dict[str, Any]) -> None:
        if idist.get_rank() == 0:
            with atomic_write(self.folder / name) as part:
                torch.save(state, part)
                write_through(part)
                if name != LAST:  # not before there is room for the weights: earlier ones keep their record
                    write_record(self.folder, make_record(self.network, self.settings))

    def _load(self, engine: Workflow) -> None:
        path = self.folder / LAST
        averaged = () if self.ema is None else (EMA,)
        state = read_run(path, ["network", "trainer", *self.parts, *averaged])
        record = checked_record(state["record"], path) if "record" in state else None
        check_record(record, path, self.network, self.settings)
        check_fit(self.network, state["network"], path)
        unwrap_model(self.network).load_state_dict(state["network"])
        if self.ema is not None:
            check_fit(self.ema.ema_model, state[EMA], path)
            self.ema.ema_model.load_state_dict(state[EMA])
        check_frozen(self.network, state.get("frozen", {}), path)
        optimizer = self.parts["optimizer"]
        assert isinstance(optimizer, torch.optim.Optimizer), "it is what the run was made with"
        check_optimizer(optimizer, state["optimizer"], path)
        for name, part in self.parts.items():
            try:
                part.load_state_dict(state[name])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"the {name} in {path} is not this run's ({error}): give the settings that the run began with, "
                    "such as --layer_decay, or train without resume"
                ) from error
        if engine.scaler is not None and "scaler" in state:
            engine.scaler.load_state_dict(state["scaler"])
        trainer = state["trainer"]
        self.saved_epoch = trainer["epoch"]
        kept = trainer.get("kept", {})
        self._kept = {epoch: kept[epoch] for epoch in kept if (self.folder / KEPT.format(epoch)).is_file()}
        engine.state.epoch = trainer["epoch"]
        engine.state.iteration = trainer["epoch"] * engine.state.epoch_length
        if self.evaluator is not None:
            self.evaluator.state.best_metric = trainer["best_metric"]
            self.evaluator.state.best_metric_epoch = trainer["best_metric_epoch"]
        if trainer["epoch"] == trainer["best_metric_epoch"] == 1:  # the run may have died before they were written
            self._write_best()
        if idist.get_rank() == 0:
            _logger.info("goes on after epoch %d of %d from %s", engine.state.epoch, engine.state.max_epochs, path)
        early_stop: EarlyStop | None = getattr(engine.state, "early_stop", None)
        if early_stop is not None and early_stop.spent:
            engine.terminate()

    def _finish(self, engine: Workflow) -> None:
        if self._best()["best_metric_epoch"] == -1 and self.saved_epoch:
            self._write_best()


class CheckpointLoader:
    """Loads a state dict into the network when the engine starts, all of it or an error.

    MONAI's ``CheckpointLoader`` knows the keys of a state dict and not under which settings it was trained. Where a
    ``network.json`` lies beside the file, the network and the settings must be those that it names.

    Args:
        load_path: the file, such as ``model.pt``; or several, one for each network of an ``Ensemble``.
        network: the network to fill.
        settings: this run's settings by name that give weights their meaning; None compares the network alone.
    """

    def __init__(
        self,
        load_path: str | os.PathLike | Sequence[str],
        network: torch.nn.Module,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.load_path = load_path
        self.network = network
        self.settings = settings

    def attach(self, engine: Workflow) -> None:
        """Load when ``engine`` starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Workflow) -> None:
        paths, inner = each_path(self.load_path), unwrap_model(self.network)
        networks = inner.networks if isinstance(inner, Ensemble) else [self.network]
        for path, network in zip(paths, networks, strict=True):
            check_record(read_record(path), record_path(path), network, self.settings)
            load_weights(network, path)
            if idist.get_rank() == 0:
                _logger.info("weights: %s", path)
