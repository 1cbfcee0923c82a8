"""Keep the norm of the gradient within a bound."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events


class ClipGradients:
    """Scales the gradient down to ``max_norm`` just before each step of the optimizer.

    It sits in the optimizer's step and not in the engine's events, so it sees the sum of accumulated gradients, and
    with mixed precision the gradients that ``GradScaler`` has already unscaled.

    Args:
        max_norm: the largest 2-norm of the gradient of all parameters together.

    Raises:
        ValueError: ``max_norm`` is not above 0.
    """

    def __init__(self, max_norm: float) -> None:
        if max_norm <= 0:
            raise ValueError(f"max_norm is {max_norm}, expected a number above 0")
        self.max_norm = max_norm
        self._hooked = False

    def attach(self, engine: Engine) -> None:
        """Clip in each step of the trainer's optimizer."""
        engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: Engine) -> None:
        if self._hooked:
            return
        self._hooked = True
        engine.optimizer.register_step_pre_hook(self._clip)

    def _clip(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        # a fused optimizer unscales inside its step and is handed the scale
        scale = getattr(optimizer, "grad_scale", None)
        limit = self.max_norm if scale is None else self.max_norm * float(scale)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, limit)
