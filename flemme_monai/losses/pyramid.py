"""The pyramid loss of the hierarchical architectures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from monai.losses import DeepSupervisionLoss


class PyramidLoss(DeepSupervisionLoss):
    """MONAI's loss of several levels, for targets of any type: integers are resized as what they are.

    Args:
        loss: the loss of one level.
        weights: of the levels, the finest first.
        interp_mode: how the target is resized.

    Attributes:
        recorded: of the last call, each term of a loss that is a sum of terms, times the weights of the levels.
    """

    def __init__(
        self, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], weights: list[float], interp_mode: str
    ) -> None:
        super().__init__(loss, weights=weights)  # type: ignore[arg-type]  # MONAI only calls it, whatever it is
        self.interp_mode = interp_mode
        self.recorded: dict[str, torch.Tensor] = {}
        self._of_levels: list[dict[str, torch.Tensor]] = []

    def forward(self, input: torch.Tensor | list[torch.Tensor] | None, target: torch.Tensor) -> torch.Tensor:
        """Loss of ``[final, level_0, ...]`` or of one tensor, and a target at full size."""
        self._of_levels = []
        total = super().forward(input, target)
        levels = self._of_levels or [getattr(self.loss, "recorded", {})]
        weights = self.get_weights(len(levels))
        self.recorded = {n: torch.stack([w * of[n] for w, of in zip(weights, levels)]).sum() for n in levels[0]}
        return total

    def get_loss(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of a level (B, C, *s) and a target (B, C', *S), or (B, *S) as cross-entropy takes classes."""
        loss = self._loss_of_level(input, target)
        self._of_levels.append(getattr(self.loss, "recorded", {}))
        return loss

    def _loss_of_level(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        spatial = input.ndim - 2
        if target.shape[-spatial:] == input.shape[2:]:
            return self.loss(input, target)
        if not target.is_floating_point() and self.interp_mode in ("nearest", "nearest-exact"):
            for axis, size in enumerate(input.shape[2:], start=target.ndim - spatial):
                places = torch.arange(float(target.shape[axis]), device=target.device)[None, None]
                chosen = F.interpolate(places, size=size, mode=self.interp_mode)[0, 0].long()
                target = target.index_select(axis, chosen)
            return self.loss(input, target)
        axes = target.ndim - input.ndim  # -1 without an axis of channels
        resized = target.unsqueeze(1) if axes else target
        resized = F.interpolate(
            resized if resized.is_floating_point() else resized.to(input.dtype), input.shape[2:], mode=self.interp_mode
        )
        return self.loss(input, resized.squeeze(1) if axes else resized)


def pyramid_loss(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    num_levels: int,
    interp_mode: str = "nearest-exact",
    level_weights: Sequence[float] | None = None,
) -> PyramidLoss:
    """L(final, y) + the sum over the levels of w_i L(level_i, y resized to level_i).

    Args:
        loss: the loss L of a prediction (B, C, *s) and a target (B, C', *s), or classes (B, *s).
        num_levels: levels beside the final output; 0 for networks that have none.
        interp_mode: how the target is resized: ``nearest-exact`` for labels (of any type), ``area`` for images.
        level_weights: the weight w_i of each level; None takes the mean over the levels.

    Returns:
        a loss of ``[final, level_0, ...]`` or of one tensor, and a target at full size.

    Raises:
        ValueError: If the number is negative, or there are more or fewer weights than levels.
    """
    if num_levels < 0:
        raise ValueError(f"num_levels is {num_levels}; expected the network's num_levels, which is 0 or more.")
    weights = [1.0 / max(num_levels, 1)] * num_levels if level_weights is None else list(level_weights)
    if len(weights) != num_levels:
        raise ValueError(f"level_weights are {weights}; expected {num_levels}, one for each level of the network.")
    return PyramidLoss(loss, [1.0, *weights], interp_mode)
