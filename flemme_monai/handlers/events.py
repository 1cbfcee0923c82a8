"""The start of epochs, their end and a run's in an order that no place in a list of handlers changes.

Ignite calls the handlers of an event in the order in which they were attached and has no priorities, so what must come
before or after all others is arranged here.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import ignite.distributed as idist
from ignite.engine import Events
from ignite.engine.events import EventEnum
from monai.engines import Workflow

from ..utils import hold_folder, release_folders, user_path, writable_dir


class EpochEnd(EventEnum):
    """Events that follow an epoch, after everything that is attached to its end: validation, and what the user adds."""

    NUMBERS = "epoch_end_numbers"  # History makes the epoch's row
    REPORT = "epoch_end_report"  # the row is shown
    EXAMPLES = "epoch_end_examples"  # pictures of the best validation are drawn
    SAVE = "epoch_end_save"  # the run is saved as it is, to go on from


def at_epoch_end(engine: Workflow, event: EpochEnd, handler: Callable[[Workflow], None]) -> None:
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


def at_end(engine: Workflow, handler: Callable[[Workflow], None]) -> None:
    """Call ``handler`` when the engine is done, after what is attached to ``Events.COMPLETED`` before it starts."""
    engine.add_event_handler(Events.STARTED, _come_last, Events.COMPLETED, handler)


def _come_last(engine: Workflow, event: Events, handler: Callable[[Workflow], None]) -> None:
    """Attach a handler behind those that are there; a second run of an engine finds it attached and moves it."""
    if engine.has_event_handler(handler, event):
        engine.remove_event_handler(handler, event)
    engine.add_event_handler(event, handler)


def _fire(engine: Workflow) -> None:
    for event in EpochEnd:
        engine.fire_event(event)


def before_epochs(engine: Workflow, handler: Callable[[Workflow], None]) -> None:
    """Call ``handler`` at the start of each epoch, after all of ``Events.STARTED`` and before the epoch's others."""
    engine.add_event_handler(Events.EPOCH_STARTED, handler)
    _come_first(engine, Events.EPOCH_STARTED, handler)


def _come_first(engine: Workflow, event: Events, handler: Callable) -> None:
    engine._event_handlers[event].sort(key=lambda entry: entry[0] is not handler)


def hold_while_running(engine: Workflow, folder: str | os.PathLike) -> None:
    """Make a folder and keep it from other runs, from the engine's start until it is done or fails.

    The first process of a distributed run does it for all.

    Args:
        engine: a trainer.
        folder: a folder that it writes.
    """
    engine.add_event_handler(Events.STARTED, _hold, user_path(folder))
    if engine.has_event_handler(_let_go, Events.EXCEPTION_RAISED):
        return
    at_end(engine, release_folders)
    engine.add_event_handler(Events.EXCEPTION_RAISED, _let_go)
    _come_first(engine, Events.EXCEPTION_RAISED, _let_go)  # others may raise and so end the event


def _hold(engine: Workflow, folder: os.PathLike) -> None:
    if idist.get_rank() == 0:
        hold_folder(writable_dir(folder), engine)


def _let_go(engine: Workflow, error: BaseException) -> None:
    release_folders(engine)
    if engine._event_handlers[Events.EXCEPTION_RAISED][-1][0] is _let_go:  # Ignite leaves it to the last one to raise
        raise error
