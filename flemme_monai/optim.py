"""Groups of parameters with and without weight decay, and the schedule of the learning rate."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from .named_schedules import NamedSchedule
from .utils import unwrap_model


def parameter_groups(
    network: nn.Module, learning_rate: float | None = None, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """A network's parameters that learn, those without weight decay in groups of their own.

    Args:
        network: wrapped or not; modules may name parameters without weight decay in an attribute ``no_weight_decay``,
            as those of a selective scan do: to pull a decay rate or a skip to 0 is no regularisation.
        learning_rate: of the output layers, and of what an architecture adds to its backbone; needed with a
            ``layer_decay``.
        layer_decay: factor of the learning rate from each layer to the one before it (Bao et al. 2022), counted along
            the way of an image through the backbone's stages; 1: one rate.

    Returns:
        Groups for any optimizer of ``torch.optim``, the fastest first.

    Raises:
        ValueError: If the decay is no factor up to 1, or has no learning rate, or the network names no layers.
    """
    network = unwrap_model(network)
    exempt = {id(getattr(m, name)) for m in network.modules() for name in getattr(m, "no_weight_decay", ())}
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay is {layer_decay}; expected a factor above 0 and up to 1: 1 is one rate for all")
    if layer_decay < 1 and learning_rate is None:
        raise ValueError(f"layer_decay is {layer_decay} without a learning_rate; expected that of the output layers")
    depths = _depths(network, layer_decay) if layer_decay < 1 else {}
    groups: list[dict[str, Any]] = []
    for depth in sorted({0, *depths.values()}):
        learning = [p for p in network.parameters() if p.requires_grad and depths.get(id(p), 0) == depth]
        rate = {} if not depths or learning_rate is None else {"lr": learning_rate * layer_decay**depth}
        decayed = [p for p in learning if id(p) not in exempt]
        others = [p for p in learning if id(p) in exempt]
        groups += [{"params": decayed, **rate}] if decayed else []
        groups += [{"params": others, "weight_decay": 0.0, **rate}] if others else []
    return groups


def _depths(network: nn.Module, layer_decay: float) -> dict[int, int]:
    """The number of layers from each parameter of a backbone to the output, by identity; of others it is 0."""
    declared: Any = network
    backbone: Any = getattr(network, "backbone", network)
    order = backbone.forward_order() if hasattr(backbone, "forward_order") else []
    layers = [list(_parameters(modules)) for modules in order]
    layer_of = {id(p): i for i, layer in enumerate(layers) for p in layer}  # of several the last
    used = sorted(set(layer_of.values()))
    if len(used) < 2:
        raise ValueError(
            f"layer_decay is {layer_decay}; expected 1 for {type(backbone).__name__}, whose layers are not known"
        )
    depths = {p: len(used) - used.index(i) for p, i in layer_of.items()}
    return depths | {id(p): 0 for p in _parameters(declared.output_layers())}


def _parameters(modules: Iterable[nn.Module]) -> Iterator[nn.Parameter]:
    for module in modules:
        yield from module.parameters()


class WarmupLR(LambdaLR):
    """Linear warm-up from near 0 to the optimizer's learning rate, then decay to 0 at ``total_steps``.

    Its state holds numbers only and so loads with ``weights_only=True``; the number of steps is no part of it, so that
    a run that is taken up for more epochs has a longer schedule.

    Args:
        optimizer: its learning rate is the peak.
        total_steps: calls of ``step()``, one per batch, in the whole run.
        warmup_steps: calls of ``step()`` until the peak.
        decay: "cosine" or "linear".
        floor: share of the peak below which the decay does not go.
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup_steps: int, decay: str = "cosine", floor: float = 0.0
    ) -> None:
        self.plan = (total_steps, warmup_steps, decay, floor)
        super().__init__(optimizer, lambda step: self._factor(step))

    @property
    def total_steps(self) -> int:
        """Calls of ``step()`` until the end of the decay."""
        return self.plan[0]

    def stretch(self, total_steps: int) -> None:
        """End the decay at another step, from the next one on."""
        self.plan = (total_steps, *self.plan[1:])
        self._last_lr = [rate * self._factor(self.last_epoch) for rate in self.base_lrs]
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's position, without its plan."""
        return {name: value for name, value in super().state_dict().items() if name != "plan"}

    def _factor(self, step: int) -> float:
        total_steps, warmup_steps, decay, floor = self.plan
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        done = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
        return max(1.0 - done if decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * done)), floor)


def warmup_schedule(
    optimizer: Optimizer,
    total_steps: int,
    warmup_steps: int = 0,
    decay: str = "cosine",
    floor: float = 0.0,
    steps_per_epoch: int = 1,
    options: Mapping[str, Any] | None = None,
) -> WarmupLR | NamedSchedule:
    """A :class:`WarmupLR`, or a schedule of PyTorch by its name, of settings that are checked.

    Args:
        optimizer: as of :class:`WarmupLR`, and the others.
        decay: "cosine", "linear", or a name as of :class:`.NamedSchedule`.
        steps_per_epoch, options: as of :class:`.NamedSchedule`.

    Returns:
        The scheduler.

    Raises:
        ValueError: If the decay is unknown, the floor is no share, the warm-up is negative or longer than the run, or
            an option is not taken.
    """
    if not 0 <= floor < 1:
        raise ValueError(f"floor is {floor}, expected a share of the learning rate from 0 to below 1")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps is {warmup_steps}, expected 0 to the {total_steps} steps of the run")

    # it counts batches, also those whose gradients wait for a step of the optimizer
    warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
    if decay not in ("cosine", "linear"):
        return NamedSchedule(optimizer, decay, total_steps, warmup_steps, steps_per_epoch, options)
    if options:
        raise ValueError(f"decay_options are {dict(options)} of decay {decay!r}; expected none: it takes floor alone")
    return WarmupLR(optimizer, total_steps, warmup_steps, decay, floor)


def run_length(epochs: int, max_steps: int | None, steps_per_epoch: int) -> int:
    """The epochs of a run, the last of which may be cut short.

    Args:
        epochs: that are set.
        max_steps: batches in all; None for those of the epochs.
        steps_per_epoch: batches of an epoch.

    Raises:
        ValueError: If the number is not above 0.
    """
    if max_steps is None:
        return epochs
    if not isinstance(max_steps, int) or isinstance(max_steps, bool) or max_steps < 1:
        raise ValueError(f"max_steps is {max_steps!r}; expected a whole number above 0, or none for epochs")
    return -(-max_steps // steps_per_epoch)
