"""The loader that prepares batches beside the network and does not lose an error on the way."""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from monai.data import ThreadBuffer, ThreadDataLoader
from torch.utils.data import DataLoader


class CaseLoader(ThreadDataLoader):
    """MONAI's ThreadDataLoader, except that an error in its thread is raised where the batches are used.

    That of MONAI 1.6.1 ends the epoch early instead, as if there were no more data: its ``ThreadBuffer`` stops when the
    thread has died, for whatever reason. An error in a worker process has its own words here, without the worker's
    traceback. The arguments are the same.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator, as MONAI's own is
        batches = _with_error(DataLoader.__iter__(self))
        buffer = ThreadBuffer(batches, self.buffer_size, self.buffer_timeout)
        atexit.register(buffer.stop)  # a thread that is inside PyTorch when the interpreter ends would abort it
        try:
            for batch in buffer:
                if isinstance(batch, _Failure):
                    raise batch.error
                for _ in range(self.repeats):
                    yield batch
        finally:
            buffer.stop()
            atexit.unregister(buffer.stop)


class _Failure(NamedTuple):
    """Stands in the place of the batch that could not be made."""

    error: Exception


def _with_error(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches, and the error that ends them as the last item."""
    try:
        yield from batches
    except Exception as error:
        yield _Failure(_of_worker(error))


def _of_worker(error: Exception) -> Exception:
    """An error of a worker process, of which PyTorch makes one whose words are a traceback, as it was raised there."""
    text = str(error).rstrip()
    if "DataLoader worker process" not in text.partition("\n")[0]:
        return error
    _, found, words = text.rpartition(f"{type(error).__name__}: ")
    return type(error)(words) if found else error
