"""The loss of validation, as a metric."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from ignite.metrics.metric import MetricUsage
from monai.engines import IterationEvents


class ValidationLoss(Average):
    """Mean over the batches of the loss of what the network gives, before postprocessing changes it.

    Args:
        loss: takes prediction (B, C, *S) and label (B, C', *S).
    """

    def __init__(self, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__(output_transform=lambda output: loss(output["pred"].float(), output["label"]).mean().item())

    def attach(self, engine: Engine, name: str) -> None:
        """Add the metric to ``engine``, an evaluator."""
        usage = MetricUsage(Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, IterationEvents.FORWARD_COMPLETED)
        super().attach(engine, name, usage)
