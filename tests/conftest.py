"""What all tests share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread a worker, and in the processes that it starts
    os.environ["OMP_NUM_THREADS"] = "1"

import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="run the slow tests too: whole tables, every bundle, several processes"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Bundles run in process set up logging by their logging.conf; each test starts as Python does."""
    yield
    loggers = [logging.getLogger(name) for name in ("", "flemme_monai", "ignite")]
    for logger in loggers:
        logger.handlers = [handler for handler in logger.handlers if type(handler) is not logging.StreamHandler]
        logger.setLevel(logging.WARNING if logger is logging.root else logging.NOTSET)
        logger.propagate = True


@pytest.fixture(autouse=True)
def _scripts() -> Iterator[None]:
    """TorchScript keeps what it compiled for each class for ever: gigabytes over a table of networks."""
    yield
    torch._C._jit_clear_class_registry()
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    torch.jit._state._clear_class_state()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real images; tests that ask for it are skipped where it is not named."""
    folder = os.environ.get("FLEMME_DATA_DIR")
    if not folder:
        pytest.skip("FLEMME_DATA_DIR is not set: no real images")
    return Path(folder)
