"""Save a pretraining: all that it needs to go on, and the encoder that others begin with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import torch
from monai.engines import Workflow
from torch import nn

from ..architectures.architecture import Architecture
from ..backbones.backbone import Backbone
from ..handlers.training_checkpoint import TrainingCheckpoint
from ..utils import atomic_write, user_path
from ..utils.files import write_through
from ..utils.record import make_record, write_record
from ..utils.weights import PRETRAINED, PRETRAINING


class PretrainingCheckpoint(TrainingCheckpoint):
    """Keeps ``pretrained.pt``, the encoder of the last epoch, and in ``pretraining/`` all that a run needs to go on.

    The encoder has the names that it has in the network that is trained afterwards, for ``--pretrained``. What did not
    learn, such as stages past the level that was compared, is not in the file. In ``pretraining/`` lie ``last.pt`` (the
    network with the bank, the second encoder and the projection heads, and the optimizer) and, of ``pretrained.pt``,
    ``network.json`` and ``split.json``: beside it are those of other trainings.

    Args:
        ckpt_dir: folder of ``pretrained.pt``.
        network: the network that is pretrained.
        architecture: the network that is trained afterwards, which has the same backbone.
        optimizer, lr_scheduler, resume, settings: as of :class:`.TrainingCheckpoint`.

    Raises:
        ValueError: If ``resume`` is set and there is no ``last.pt``.
    """

    def __init__(
        self,
        ckpt_dir: str | os.PathLike,
        network: nn.Module,
        architecture: Architecture,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler,
        resume: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.architecture, self.models = architecture, user_path(ckpt_dir)
        super().__init__(self.models / PRETRAINING, network, optimizer, lr_scheduler, resume=resume, settings=settings)

    def _start(self, engine: Workflow) -> None:
        if idist.get_world_size() > 1:
            raise ValueError(
                f"pretraining runs in {idist.get_world_size()} processes; expected one, whose bank and batch have all "
                "negatives: start it without torchrun"
            )
        super()._start(engine)

    def _save(self, engine: Workflow) -> None:
        super()._save(engine)
        self._write_encoder()

    def _finish(self, engine: Workflow) -> None:
        """There is no best epoch: the encoder is the last one's."""

    def _write_encoder(self) -> None:
        with atomic_write(self.models / PRETRAINED) as part:
            torch.save(encoder_state(self.architecture), part)
            write_through(part)
            write_record(self.folder, make_record(self.architecture, self.settings))


def encoder_state(network: Architecture) -> dict[str, torch.Tensor]:
    """The tensors of a network's encoder that learn, and the buffers of layers that do, by their names in it."""
    backbone = network.backbone
    half = backbone.without_decoder() if isinstance(backbone, Backbone) else backbone
    learned = {id(tensor) for layer in half.modules() if _learns(layer) for tensor in _own(layer)}
    every = network.state_dict(keep_vars=True).items()
    return {name: tensor.detach() for name, tensor in every if id(tensor) in learned}


def _own(layer: nn.Module) -> list[torch.Tensor]:
    """The parameters that learn and the buffers of a layer, without those of layers inside it."""
    return [*(p for p in layer.parameters(recurse=False) if p.requires_grad), *layer.buffers(recurse=False)]


def _learns(layer: nn.Module) -> bool:
    """Whether a layer has parameters of its own that learn, or none at all."""
    own = list(layer.parameters(recurse=False))
    return not own or any(p.requires_grad for p in own)
