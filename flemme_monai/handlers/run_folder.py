"""A training's folders are its own while it runs."""

from __future__ import annotations

import os

import ignite.distributed as idist
from ignite.engine import Engine, Events

from ..utils import hold_folder, release_folders, user_path, writable_dir
from .epoch_end import at_end


def hold_while_running(engine: Engine, folder: str | os.PathLike) -> None:
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
    # in front of others, which may raise and so end the event
    engine._event_handlers[Events.EXCEPTION_RAISED].sort(key=lambda entry: entry[0] is not _let_go)


def _hold(engine: Engine, folder: os.PathLike) -> None:
    if idist.get_rank() == 0:
        hold_folder(writable_dir(folder), engine)


def _let_go(engine: Engine, error: BaseException) -> None:
    release_folders(engine)
    if engine._event_handlers[Events.EXCEPTION_RAISED][-1][0] is _let_go:  # Ignite leaves it to the last one to raise
        raise error
