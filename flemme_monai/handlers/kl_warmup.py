"""Let the divergence of a VAE's loss grow."""

from __future__ import annotations

from ignite.engine import Engine, Events

from ..losses import VAELoss


class KLWarmup:
    """Raises the weight of the divergence linearly from 0 to the loss's own (Bowman et al. 2016).

    The weight is a function of the iteration, so that a resumed run goes on as an uninterrupted one.

    Args:
        loss: its ``kl_weight`` is reached.
        epochs: epochs that it takes; 0 for none.

    Raises:
        ValueError: for a negative number of epochs.
    """

    def __init__(self, loss: VAELoss, epochs: float) -> None:
        if epochs < 0:
            raise ValueError(f"kl_warmup_epochs is {epochs}; expected 0 or more.")
        self.loss, self.epochs = loss, epochs
        self.weight = loss.kl_weight

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``, the trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        done = (engine.state.iteration - 1) / engine.state.epoch_length
        self.loss.kl_weight = self.weight * (min(done / self.epochs, 1.0) if self.epochs else 1.0)
