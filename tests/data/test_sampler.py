"""Sharing cases among processes."""

from __future__ import annotations

import pytest
from torch import distributed

from flemme_monai.data import rank_sampler


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "get_world_size", lambda *_: 2)
    monkeypatch.setattr(distributed, "get_rank", lambda *_: 0)


@pytest.mark.usefixtures("two_processes")
def test_every_process_trains_on_as_many_cases_and_validates_its_share() -> None:
    assert len(list(rank_sampler(range(5), "train"))) == 3
    assert list(rank_sampler(range(5), "val")) == [0, 2, 4]


@pytest.mark.usefixtures("two_processes")
def test_fewer_cases_than_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="1 val cases for 2 processes"):
        rank_sampler(range(1), "val")
