"""What an optimizer needs: which parameters decay, and how the learning rate goes."""

from __future__ import annotations

import math
import warnings
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    """A network's parameters, those without weight decay in a group of their own.

    Args:
        network: modules may name such parameters in an attribute ``undecayed``, as those of a selective scan do: to
            pull a decay rate or a skip to 0 is no regularisation.

    Returns:
        Groups for any optimizer of ``torch.optim``.
    """
    undecayed = {id(getattr(m, name)) for m in network.modules() for name in getattr(m, "undecayed", ())}
    decayed: list[nn.Parameter] = [p for p in network.parameters() if id(p) not in undecayed]
    others = [p for p in network.parameters() if id(p) in undecayed]
    return [{"params": decayed}] + ([{"params": others, "weight_decay": 0.0}] if others else [])


def warmup_schedule(optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, decay: str = "cosine") -> LambdaLR:
    """Linear warm-up from near 0 to the optimizer's learning rate, then decay to 0 at ``total_steps``.

    Args:
        optimizer: its learning rate is the peak.
        total_steps: calls of ``step()``, one a batch, in the whole run.
        warmup_steps: calls of ``step()`` until the peak.
        decay: "cosine" or "linear".

    Returns:
        The scheduler; its state holds numbers only and so loads with ``weights_only=True``.

    Raises:
        ValueError: an unknown decay, or a warm-up that is negative or longer than the run.
    """
    if decay not in ("cosine", "linear"):
        raise ValueError(f"decay is {decay!r}, expected 'cosine' or 'linear'")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps is {warmup_steps}, expected 0 to the {total_steps} steps of the run")

    # it counts batches, also those whose gradients wait for a step of the optimizer
    warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        done = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
        return 1.0 - done if decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)
