"""The output of a training iteration in the engine's state, decollated or not, and the loss of a validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from ignite.metrics.metric import MetricUsage
from monai.engines import IterationEvents, Workflow
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric
from monai.transforms import Decollated


class ValidationLoss(Average):
    """Ignite's ``Average`` of the loss of what the network gives, before postprocessing changes it.

    MONAI's ``IgniteMetricHandler`` takes a loss too, and what postprocessing has made of the prediction.

    Args:
        loss: takes prediction (B, C, *S) and label (B, C', *S).
    """

    def __init__(self, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__(output_transform=lambda output: loss(output["pred"].float(), output["label"]).mean().item())

    def attach(self, engine: Engine, name: str) -> None:  # type: ignore[override]  # its usage is fixed
        """Add the metric to ``engine``, an evaluator."""
        usage = MetricUsage(Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, IterationEvents.FORWARD_COMPLETED)
        super().attach(engine, name, usage)


class LogitMetric(IgniteMetricHandler):
    """MONAI's ``IgniteMetricHandler`` of what the network gives, before postprocessing changes it.

    Args:
        metric_fn: takes prediction (B, C, *S) and label (B, C', *S), and gives a value per case and class.
    """

    def __init__(self, metric_fn: CumulativeIterationMetric) -> None:
        super().__init__(metric_fn, output_transform=lambda output: (output["pred"], output["label"]))

    def attach(self, engine: Engine, name: str) -> None:  # type: ignore[override]  # its usage is fixed
        """Add the metric to ``engine``, an evaluator."""
        super().attach(engine, name)
        engine.remove_event_handler(self.iteration_completed, Events.ITERATION_COMPLETED)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.iteration_completed)


def decollate_output(engine: Workflow) -> None:
    """Cut a trainer's output into items where the trainer has left it whole.

    MONAI's handlers read the loss of the first item; of a whole batch ``from_engine`` gives them a tuple of one, which
    MLflow's handler cannot log.
    """
    if isinstance(engine.state.output, dict):
        engine.state.output = Decollated(keys=None, detach=True)(engine.state.output)


def batch_loss(output: Any) -> tuple[float, int]:
    """The loss of one training iteration, from decollated output (a list with an item per image) or from a dict.

    Args:
        output: ``engine.state.output`` of a trainer.

    Returns:
        The batch's mean loss and its number of images.
    """
    if isinstance(output, dict):
        return output["loss"].detach().mean().item(), len(output["image"])
    return float(output[0]["loss"]), len(output)


def pred_and_label(
    argmax: bool = False, threshold: float | None = None
) -> Callable[[Any], tuple[torch.Tensor, torch.Tensor]]:
    """An ``output_transform`` for metrics of a training's batches, with a gradient for none of them.

    MONAI's ``from_engine`` gives tensors from a dict and lists from decollated output; images of a training are of one
    size, and as one tensor metrics take them faster.

    Args:
        argmax: turn the prediction's channels into the class of the largest.
        threshold: turn the prediction into masks of what is not below it; None: not used.

    Returns:
        A function of ``engine.state.output`` that gives prediction (B, C, *S), or (B, 1, *S) of classes, and label.
    """

    def transform(output: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(output, dict):
            pred, label = output["pred"].detach(), output["label"]
        else:
            pred = torch.stack([item["pred"].detach() for item in output])
            # the decollated label of a whole image is a number
            label = torch.stack([torch.as_tensor(item["label"], device=pred.device) for item in output])
        if threshold is not None:
            return (pred >= threshold).to(pred), label
        return pred.argmax(1, keepdim=True) if argmax else pred, label

    return transform
