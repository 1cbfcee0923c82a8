"""The end of an epoch in an order that no place in a list of handlers changes."""

from __future__ import annotations

from collections.abc import Callable

from ignite.engine import Engine, Events
from ignite.engine.events import EventEnum


class EpochEnd(EventEnum):
    """What follows an epoch, after everything that is attached to its end: validation, and what the user adds."""

    NUMBERS = "epoch_end_numbers"  # History makes the epoch's row
    REPORT = "epoch_end_report"  # the row is shown
    SAVE = "epoch_end_save"  # the run is saved as it is, to go on from


def at_epoch_end(engine: Engine, event: EpochEnd, handler: Callable[[Engine], None]) -> None:
    """Call ``handler`` at an event of the end of each epoch.

    Args:
        engine: a trainer.
        event: when, among the handlers that come after all others.
        handler: takes the engine.
    """
    if event not in engine._allowed_events:
        engine.register_events(*EpochEnd)
        engine.add_event_handler(Events.STARTED, _come_last, Events.EPOCH_COMPLETED, _fire)
    engine.add_event_handler(event, handler)


def at_end(engine: Engine, handler: Callable[[Engine], None]) -> None:
    """Call ``handler`` when the engine is done, after what is attached to ``Events.COMPLETED`` before it starts."""
    engine.add_event_handler(Events.STARTED, _come_last, Events.COMPLETED, handler)


def _come_last(engine: Engine, event: Events, handler: Callable[[Engine], None]) -> None:
    """Attach a handler behind those that are there; a second run of an engine finds it attached and moves it."""
    if engine.has_event_handler(handler, event):
        engine.remove_event_handler(handler, event)
    engine.add_event_handler(event, handler)


def _fire(engine: Engine) -> None:
    for event in EpochEnd:
        engine.fire_event(event)
